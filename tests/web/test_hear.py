"""The page Hear in a browser."""

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.cli.demo import CLIP
from chirrup.files import decode_file, encode_file

if TYPE_CHECKING:
    from playwright.sync_api import Download, Page

PATIENCE_MS = 60_000


def card(page: "Page", name: str):
    return page.get_by_role("article", name=name, exact=True)


def ready(page: "Page", *names: str) -> None:
    """Wait until copies can be played."""
    for name in names:
        card(page, name).get_by_role("button", name="WAV").wait_for(timeout=PATIENCE_MS)


def only(page: "Page", codec: str, bitrate: str) -> str:
    """Choose one codec only, and return the name of its copy."""
    page.get_by_role("button", name="Remove Opus").wait_for()
    while page.locator("#chosen button").count():
        page.locator("#chosen button").first.click()
    page.get_by_role("combobox", name="Codec").select_option(codec)
    page.get_by_role("combobox", name="Bitrate").select_option(label=bitrate)
    page.get_by_role("button", name="Add", exact=True).click()
    return f"{codec}, {bitrate}"


def downloaded(page: "Page", name: str, kind: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        card(page, name).get_by_role("button", name=f"as {kind}").click()
    found: Download = waiting.value
    path = folder / found.suggested_filename
    found.save_as(path)
    return path


def test_the_example_is_coded_and_the_download_is_that_of_python(
    page: "Page", tmp_path: Path
) -> None:
    page.goto("")
    page.get_by_role("button", name="Use the example").click()
    ready(page, "Original", "iris-t1, 6 kbit/s", "iris-t1, 1 kbit/s", "Opus, 6 kbit/s")
    assert page.locator("#about").inner_text() == "joe.flac: 7.0 s, 24 kHz, 1 channel."
    codec = chirrup.load("iris-t1")
    for bitrate in (1000, 6000):
        path = downloaded(page, f"iris-t1, {bitrate // 1000} kbit/s", ".chirrup", tmp_path)
        expected = io.BytesIO()
        encode_file(codec, CLIP, expected, bitrate_bps=bitrate)
        assert path.name == f"joe.iris-t1-{bitrate // 1000}-kbit-s.chirrup"
        assert path.read_bytes() == expected.getvalue()
    facts = card(page, "iris-t1, 6 kbit/s").locator(".facts").inner_text()
    assert facts.startswith(f"{len(expected.getvalue()):,} bytes · 6.")
    assert re.search(r"encoded in [\d.]+ s, decoded in [\d.]+ s: [\d.]+ . real time", facts)
    wav = downloaded(page, "iris-t1, 6 kbit/s", "WAV", tmp_path)
    decoded = io.BytesIO()
    decode_file(codec, io.BytesIO(expected.getvalue()), decoded)
    decoded.seek(0)
    audio, rate = soundfile.read(wav, dtype="int16")
    assert rate == 24_000
    difference = audio.astype(int) - soundfile.read(decoded, dtype="int16")[0]
    assert np.abs(difference).max() <= 2


def test_opus_is_aligned_with_the_original(page: "Page", tmp_path: Path) -> None:
    page.goto("")
    page.get_by_role("button", name="Use the example").click()
    ready(page, "Opus, 6 kbit/s")
    opus = soundfile.read(downloaded(page, "Opus, 6 kbit/s", "WAV", tmp_path))[0]
    clip = soundfile.read(CLIP)[0]
    assert opus.shape == clip.shape
    spectrum = np.fft.rfft(clip) * np.fft.rfft(opus).conj()
    lag = int(np.argmax(np.fft.irfft(spectrum)))
    assert min(lag, len(clip) - lag) <= 5  # 0.2 ms


def test_a_stereo_file_of_another_rate_has_copies_of_its_rate_and_length(
    page: "Page", tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "noise.wav"
    soundfile.write(path, 0.1 * rng.standard_normal((44_100, 2)), 44_100)
    page.goto("")
    name = only(page, "tq-small", "62 kbit/s")
    page.locator("#file").set_input_files(path)
    ready(page, name)
    audio, rate = soundfile.read(downloaded(page, name, "WAV", tmp_path))
    assert (rate, audio.shape) == (44_100, (44_100, 2))
    coded = downloaded(page, name, ".chirrup", tmp_path)
    decode_file(None, coded, tmp_path / "again.wav")
    assert np.abs(soundfile.read(tmp_path / "again.wav")[0] - audio).max() < 1e-3


def test_a_file_that_the_browser_resamples_is_shown_with_a_note(page: "Page") -> None:
    content = wave(0.1 * np.random.default_rng(1).standard_normal(192_000), 192_000)
    page.goto("")
    page.locator("#file").set_input_files(
        {"name": "high.wav", "mimeType": "audio/wav", "buffer": content}
    )
    ready(page, "Original", "Opus, 6 kbit/s")
    facts = "high.wav: 1.0 s, 48 kHz, 1 channel."
    note = "The page resampled it from 192 kHz to 48 kHz."
    assert page.locator("#about").inner_text() == f"{facts} {note}"


def test_a_sound_of_one_sample_has_no_bitrate(page: "Page") -> None:
    page.goto("")
    name = only(page, "lrac-t1", "6 kbit/s")
    content = wave(np.full(1, 0.5), 24_000)
    page.locator("#file").set_input_files(
        {"name": "one.wav", "mimeType": "audio/wav", "buffer": content}
    )
    ready(page, name)
    facts = card(page, name).locator(".facts").inner_text()
    assert re.fullmatch(r"\d+ bytes · encoded in [\d.]+ s, decoded in [\d.]+ s", facts)
    assert page.locator("#about").inner_text() == "one.wav: 0.04 ms, 24 kHz, 1 channel."


@pytest.mark.parametrize(
    "model", [name for name in chirrup.models(earlier=True) if name.partition("@")[0] == "iris-t1"]
)
def test_a_chirrup_file_is_decoded_and_a_damaged_one_is_played_with_a_note(
    page: "Page", tmp_path: Path, model: str
) -> None:
    path = tmp_path / "joe.chirrup"
    encode_file(chirrup.load(model), CLIP, path, bitrate_bps=6000)
    page.goto("")
    only(page, "iris-t1", "1 kbit/s")
    page.locator("#file").set_input_files(path)
    ready(page, "joe.chirrup", "iris-t1, 1 kbit/s")
    assert "kbit/s · decoded in" in card(page, "joe.chirrup").locator(".facts").inner_text()
    decode_file(None, path, tmp_path / "python.wav")
    expected = soundfile.read(tmp_path / "python.wav", dtype="int16")[0]
    audio = soundfile.read(downloaded(page, "joe.chirrup", "WAV", tmp_path), dtype="int16")[0]
    assert np.abs(audio.astype(int) - expected).max() <= 2

    damaged = bytearray(path.read_bytes())
    damaged[2000] ^= 1
    path.write_bytes(damaged)
    page.locator("#file").set_input_files(path)
    about = page.locator("#about", has_text="It is damaged: ")
    lost = about.filter(has_text="frames 100 to 199 are lost, 1.99 to 3.99 s.")
    lost.wait_for(timeout=PATIENCE_MS)
    ready(page, "joe.chirrup", "iris-t1, 1 kbit/s")  # and the note stays
    assert re.search(r"is damaged: bytes \d+ to \d+ .*; frames 100 to 199", about.inner_text())


def wave(audio: "np.ndarray", rate_hz: int, subtype: str = "PCM_16") -> bytes:
    """Return a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, audio, rate_hz, format="WAV", subtype=subtype)
    return file.getvalue()


NOT_FINITE = np.where(np.arange(24_000) < 12_000, 0.1, np.nan).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        (
            "nan.wav",
            wave(NOT_FINITE, 24_000, "FLOAT"),
            "nan.wav has a sample that is not a finite number at 0.500 s. Repair it first.",
        ),
        ("notes.txt", b"no sound", "notes.txt is not a .chirrup file, and this browser cannot"),
        ("none.wav", wave(NOT_FINITE[:0], 24_000), "none.wav has no samples."),
        ("empty.wav", b"", "empty.wav is empty."),
        ("cut.chirrup", b"\x8fCHIRRUP\1\0", "The file is too short for a .chirrup file."),
    ],
)
def test_a_file_that_is_no_sound_is_an_error_and_the_page_goes_on(
    name: str, content: bytes, text: str, page: "Page"
) -> None:
    page.goto("")
    page.locator("#file").set_input_files(
        {"name": name, "mimeType": "audio/wav", "buffer": content}
    )
    page.locator("#status.error").filter(has_text=text).wait_for()
    page.get_by_role("button", name="Use the example").click()
    ready(page, "Original")


def test_the_error_of_a_file_stays_when_copies_become_ready(page: "Page") -> None:
    page.goto("")
    page.get_by_role("button", name="Remove Opus").wait_for()
    page.get_by_role("button", name="Use the example").click()
    page.get_by_text("Loaded joe.flac.").wait_for()
    page.locator("#file").set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"text"}
    )
    ready(page, "iris-t1, 6 kbit/s", "iris-t1, 1 kbit/s", "Opus, 6 kbit/s")
    assert "notes.txt is not a .chirrup file" in page.locator("#status.error").inner_text()


def test_a_chirrup_file_that_is_too_large_is_not_read(page: "Page", tmp_path: Path) -> None:
    path = tmp_path / "large.chirrup"
    with path.open("wb") as file:
        file.write(b"\x8fCHIRRUP\1")
        file.truncate(501_000_000)
    page.goto("")
    page.locator("#file").set_input_files(path)
    page.get_by_text("large.chirrup has 501 MB. Give a file of at most 500 MB.").wait_for()


def test_a_list_of_models_that_is_damaged_is_an_error_that_stays(page: "Page") -> None:
    page.route("**/models.json", lambda route: route.fulfill(body="{"))
    page.goto("")
    page.locator("#status.error").filter(has_text="The list of models is damaged").wait_for()
    page.get_by_role("button", name="Use the example").click()
    ready(page, "Original")
    assert page.get_by_text("There are no codecs: The list of models is damaged").is_visible()
    assert page.get_by_role("button", name="Add", exact=True).is_disabled()


def test_a_recording_becomes_the_original(page: "Page") -> None:
    page.goto("")
    only(page, "lrac-t1", "6 kbit/s")
    page.get_by_role("button", name="Record").click()
    page.locator("#about", has_text=re.compile(r"Recording: [1-9]")).wait_for()
    page.get_by_role("button", name="Stop").click()
    ready(page, "Original", "lrac-t1, 6 kbit/s")
    assert re.match(
        r"recording .*: [\d.]+ s, [\d.]+ kHz, 1 channel", page.locator("#about").inner_text()
    )


def test_keys_switch_play_and_pause(page: "Page") -> None:
    page.goto("")
    page.get_by_role("button", name="Use the example").click()
    ready(page, "iris-t1, 6 kbit/s", "iris-t1, 1 kbit/s", "Opus, 6 kbit/s")
    playing = page.locator(".pick[aria-pressed=true]")
    page.locator("h1").click()
    page.keyboard.press("2")
    playing.filter(has_text="iris-t1, 6 kbit/s").wait_for()
    page.keyboard.press("ArrowRight")
    playing.filter(has_text="iris-t1, 1 kbit/s").wait_for()
    page.keyboard.press(" ")
    page.get_by_role("button", name="Play", exact=True).wait_for()
    page.keyboard.press("1")
    playing.filter(has_text="Original").wait_for()
    page.get_by_role("button", name="Pause", exact=True).wait_for()


def test_a_copy_can_be_cancelled_and_removed(page: "Page", tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(24_000 * 250), 24_000)
    page.goto("")
    name = only(page, "iris-t2", "6 kbit/s")
    page.locator("#file").set_input_files(path)
    page.get_by_text(re.compile("Encoding: [1-9]")).wait_for(timeout=PATIENCE_MS)
    card(page, name).get_by_role("button", name="Cancel").click()
    page.get_by_text(f"{name} was cancelled.").wait_for()
    assert card(page, name).count() == 0
    page.get_by_role("button", name="Use the example").click()


def test_a_copy_that_failed_can_be_tried_again(page: "Page") -> None:
    damaged = {"body": b"damaged", "content_type": "application/octet-stream"}
    page.route("**/model.chirp", lambda route: route.fulfill(**damaged))
    page.goto("")
    name = only(page, "lrac-t1", "6 kbit/s")
    page.get_by_role("button", name="Use the example").click()
    page.locator("#status.error").filter(has_text="The file of lrac-t1 is damaged").wait_for()
    page.unroute("**/model.chirp")
    card(page, name).get_by_role("button", name="Try again").click()
    ready(page, name)
    card(page, name).get_by_role("button", name=f"Remove {name}").click()
    assert page.evaluate("document.activeElement.textContent.trim()") == "1 Original"
