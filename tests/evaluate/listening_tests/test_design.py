"""Listening tests that are made from an evaluation: what listeners get, and what they must not."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from chirrup.errors import FileError, UsageError
from chirrup.evaluate.listening_tests.design import AUDIO, KEY, PAGE, TEST, make_test
from chirrup.evaluate.listening_tests.items import Settings
from chirrup.evaluate.listening_tests.sounds import loudness_db, low_passed
from chirrup.evaluate.listening_tests.words import FEATURES, PAIRS
from listening_samples import evaluated

CLIPS = [f"{speaker}__{index}" for speaker in ("ann", "bob") for index in range(3)]

FEW = PAIRS[::8]
"""Two pairs of each feature."""


def made(tmp_path: Path, settings: Settings, clips: list[str] = CLIPS, **more: Any) -> Any:
    """Return test.json and key.json of a test."""
    results = evaluated(tmp_path / "results", clips, **more)
    make_test(results, tmp_path / "test", settings, {})
    test = json.loads((tmp_path / "test" / PAGE / TEST).read_text())
    return test, json.loads((tmp_path / "test" / KEY).read_text())


def test_mushra_has_hidden_reference_and_anchors(tmp_path: Path) -> None:
    test, key = made(tmp_path, Settings("mushra", limit=2))
    assert len(test["trials"]) == 2
    for trial in (*test["training"], *test["trials"]):
        hidden = sorted(key["sounds"][sound]["system"] for sound in trial["sounds"])
        assert hidden == ["anchor-3500", "anchor-7000", "bad-1000", "good-6000", "reference"]
        assert key["sounds"][trial["reference"]]["system"] == "reference"
        assert trial["reference"] not in trial["sounds"]
    clips = [key["sounds"][trial["reference"]]["clip"] for trial in test["trials"]]
    assert sorted(clips) == ["ann__0", "bob__2"]
    assert key["sounds"][test["training"][0]["reference"]]["clip"] not in clips


def test_a_full_disk_leaves_no_test_and_is_named(
    tmp_path: Path, limited_size: Callable[[int], None]
) -> None:
    results = evaluated(tmp_path / "results", CLIPS[:1])
    limited_size(2_000_000)
    with pytest.raises(FileError, match="test cannot be written: File too large"):
        make_test(results, tmp_path / "test", Settings("mushra"), {"big.js": bytes(2_000_001)})
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


@pytest.mark.parametrize(("rate_hz", "anchors"), [(8000, 0), (16_000, 1), (48_000, 2)])
def test_anchors_need_a_band(tmp_path: Path, rate_hz: int, anchors: int) -> None:
    test, _ = made(tmp_path, Settings("mushra"), CLIPS[:1], rate_hz=rate_hz)
    assert len(test["trials"][0]["sounds"]) == 3 + anchors


@pytest.mark.parametrize("kind", ["mushra", "abx", "drt"])
def test_nothing_reveals_a_system(tmp_path: Path, kind: str) -> None:
    clips = CLIPS if kind != "drt" else ["ann__veal", "ann__feel"]
    test, key = made(tmp_path, Settings(kind), clips)
    page = tmp_path / "test" / PAGE
    assert set(key["sounds"]) == {path.name for path in (page / AUDIO).iterdir()}
    text = json.dumps(test).replace("training", "")
    for name in (test["id"], *key["sounds"]):  # random hexadecimal digits, which may spell "bad"
        text = text.replace(name, "")
    for word in ("good", "bad", "anchor", "ann", "clean"):
        assert word not in text
    for path in (page / AUDIO).iterdir():
        assert b"good" not in path.read_bytes() + path.name.encode()


def test_sounds_of_a_trial_are_equally_loud_and_long(tmp_path: Path) -> None:
    test, key = made(tmp_path, Settings("mushra", limit=1))
    sounds, rate_hz = {}, 0
    for name in test["trials"][0]["sounds"]:
        audio, rate_hz = soundfile.read(tmp_path / "test" / PAGE / AUDIO / name)
        sounds[key["sounds"][name]["system"]] = audio
    levels = {name: loudness_db(audio[None], rate_hz) for name, audio in sounds.items()}
    assert levels == pytest.approx(dict.fromkeys(levels, levels["reference"]), abs=0.05)
    assert len({len(audio) for audio in sounds.values()}) == 1
    gains = {fact["system"]: fact["gain_db"] for fact in key["sounds"].values()}
    assert gains["bad-1000"] == pytest.approx(5.4, abs=0.2)


@pytest.mark.parametrize(("frequency", "lkfs"), [(100, -4.8), (997, -3.01), (10_000, 0.3)])
def test_loudness_is_of_bs1770(frequency: int, lkfs: float) -> None:
    """BS.1770 states -3.01 LKFS for a sine of 997 Hz at full scale in one channel."""
    sine = np.sin(2 * np.pi * frequency * np.arange(48_000) / 48_000)
    assert loudness_db(sine[None], 48_000) == pytest.approx(lkfs, abs=0.3)
    if frequency == 997:
        assert loudness_db(sine[None], 48_000) == pytest.approx(lkfs, abs=0.01)


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 48_000])
def test_the_anchor_has_the_slope_of_bs1534(rate_hz: int) -> None:
    impulse = np.zeros((1, 4096), np.float32)
    impulse[0, 2048] = 1
    response = np.abs(np.fft.rfft(low_passed(impulse, rate_hz, 3500)[0]))
    level = 20 * np.log10(response + 1e-9)
    frequency = np.fft.rfftfreq(4096, 1 / rate_hz)
    assert np.abs(level[frequency < 3500]).max() < 0.1
    assert level[frequency > 4000].max() < -25
    assert level[frequency > 4500].max() < -50


def test_abx_hides_x(tmp_path: Path) -> None:
    test, key = made(tmp_path, Settings("abx", limit=1, repeats=20), seconds=0.02)
    assert len(test["trials"]) == 2 * 20
    sounds = {name: fact["system"] for name, fact in key["sounds"].items()}
    for trial in test["trials"]:
        assert "answer" not in trial
        assert sounds[trial["x"]] in {sounds[name] for name in trial["choices"]}
        assert "reference" in {sounds[name] for name in trial["choices"]}
        assert trial["x"] not in trial["choices"]
    share = np.mean([sounds[trial["x"]] == "reference" for trial in test["trials"]])
    assert 0.3 < share < 0.7
    answer = test["training"][0]["answer"]
    assert sounds[answer] == sounds[test["training"][0]["x"]]


def test_abx_of_two_systems(tmp_path: Path) -> None:
    test, key = made(tmp_path, Settings("abx", against="good-6000"))
    systems = {
        key["sounds"][name]["system"] for trial in test["trials"] for name in trial["choices"]
    }
    assert systems == {"good-6000", "bad-1000"}
    assert len(test["trials"]) == len(CLIPS)


def test_the_words_of_the_rhyme_test() -> None:
    assert len(PAIRS) == 96
    assert len({pair.name for pair in PAIRS}) == 96
    for feature in FEATURES:
        assert sum(pair.feature == feature for pair in PAIRS) == 16


def test_drt_takes_a_word_of_each_pair_for_each_system(tmp_path: Path) -> None:
    words = [f"{who}__{word}" for pair in FEW for word in pair.words for who in ("ann", "bob")]
    test, key = made(tmp_path, Settings("drt", limit=6), [*words, "noise"], seconds=0.02)
    assert len(test["trials"]) == 6 * 2 * 3
    facts = [key["sounds"][trial["sound"]] for trial in test["trials"]]
    for trial, fact in zip(test["trials"], facts):
        assert "answer" not in trial
        assert fact["word"] in trial["words"]
        assert fact["clip"] == f"{fact['speaker']}__{fact['word']}"
    for feature in FEATURES:
        assert sum(fact["feature"] == feature for fact in facts) == 2 * 3
    same = {
        (fact["speaker"], fact["pair"]): {
            other["word"]
            for other in facts
            if (other["speaker"], other["pair"]) == (fact["speaker"], fact["pair"])
        }
        for fact in facts
    }
    assert any(len(words) == 2 for words in same.values()), "a system gives away another's answer"


def test_the_seed_decides(tmp_path: Path) -> None:
    words = [word for pair in FEW for word in pair.words]
    results = evaluated(tmp_path / "results", words, seconds=0.02)
    drawn = []
    for seed in (1, 1, 2):
        out = tmp_path / f"test-{len(drawn)}"
        make_test(results, out, Settings("drt", limit=6, seed=seed), {})
        key = json.loads((out / KEY).read_text())
        trials = key["test"]["trials"]
        drawn.append([key["sounds"][trial["sound"]]["word"] for trial in trials])
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (Settings("mos"), UsageError, "'mos' is not a kind of test: use mushra, abx, drt"),
        (Settings("abx", systems=("opus-1",)), UsageError, "use good-6000, bad-1000"),
        (Settings("abx", conditions=("noise",)), UsageError, "no condition 'noise'.* use clean"),
        (Settings("abx", against="x"), UsageError, "no system 'x'"),
        (Settings("drt"), FileError, "SPEAKER__WORD"),
        (Settings("mushra", against="bad-1000"), UsageError, "--against is not an option"),
        (Settings("drt", repeats=2), UsageError, "--repeats is not an option of drt: leave it out"),
        (
            Settings("abx", systems=("bad-1000",), against="bad-1000"),
            UsageError,
            "bad-1000 is the only system",
        ),
    ],
)
def test_settings_that_the_results_do_not_have(
    tmp_path: Path, settings: Settings, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        made(tmp_path, settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]


def test_a_link_to_a_folder_that_does_not_exist_is_followed(tmp_path: Path) -> None:
    results = evaluated(tmp_path / "results", ["ann__0"], seconds=0.02)
    (tmp_path / "link").symlink_to("test")
    make_test(results, tmp_path / "link", Settings("abx"), {})
    assert (tmp_path / "test" / KEY).is_file()


def test_results_without_clips(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text('{"kind": "run"}\n')
    with pytest.raises(FileError, match="has no clips: run chirrup evaluate again"):
        make_test(tmp_path, tmp_path / "test", Settings("mushra"), {})


def test_audio_that_is_missing_or_of_another_length(tmp_path: Path) -> None:
    results = evaluated(tmp_path / "results", CLIPS[:2])
    path = results / "audio" / "clean" / CLIPS[0] / "bad-1000.flac"
    path.unlink()
    notes: list[str] = []
    made = make_test(results, tmp_path / "one", Settings("mushra"), {}, notes.append)
    assert len(made["trials"]) == 1
    assert notes == ["left out: 1 clip without the audio of all systems"]
    soundfile.write(path, np.zeros(10), 24_000)
    with pytest.raises(FileError, match="length, rate and channels"):
        make_test(results, tmp_path / "two", Settings("mushra"), {})
    with pytest.raises(FileError, match="exists: give another folder"):
        make_test(results, tmp_path / "one", Settings("mushra"), {})
    with pytest.raises(
        FileError, match=r"has no results\.jsonl: give a folder of chirrup evaluate"
    ):
        make_test(tmp_path, tmp_path / "three", Settings("mushra"), {})


def test_hidden_and_open_reference_are_the_same_sound(tmp_path: Path) -> None:
    test, key = made(tmp_path, Settings("mushra", limit=1))
    trial = test["trials"][0]
    hashes = {
        hashlib.sha256((tmp_path / "test" / PAGE / AUDIO / name).read_bytes()).hexdigest()
        for name in (trial["reference"], *trial["sounds"])
        if key["sounds"][name]["system"] == "reference"
    }
    assert len(hashes) == 1
