"""A corpus in memory, with one channel and with several."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from torch.testing import assert_close

from chirrup.errors import FileError, ModelError
from chirrup.lab.training.batches.audio_files import list_recordings, read_mono
from chirrup.lab.training.batches.corpus import build_sampler, open_recordings
from chirrup.lab.training.batches.recordings import Recordings, load_recordings
from chirrup.lab.training.batches.sampler import CONDITIONS
from chirrup.lab.training.data_config import NEEDS_NOISE, Conditions, DataConfig
from small_batches import CROP, frequency_hz, recordings, sampler, tone
from small_model import RATE_HZ, speech_like
from tiny_training import write_corpus


def test_a_folder_of_the_manifest_is_decoded_and_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest = write_corpus(tmp_path)
    loaded = load_recordings(manifest, "speech_train", RATE_HZ, tmp_path / "cache")
    assert capfd.readouterr() == ("", "")  # a bar on a terminal only
    assert loaded.length.tolist() == [RATE_HZ] * 3
    assert loaded.start.tolist() == [0, RATE_HZ, 2 * RATE_HZ]
    assert loaded.audio.dtype == torch.int16
    second = loaded.audio[0, RATE_HZ : 2 * RATE_HZ].float() / 32767
    assert np.abs(second.numpy() - speech_like(RATE_HZ, 1)).max() < 2e-4
    about = (tmp_path / "speech_train" / "0.wav").stat()
    (tmp_path / "speech_train" / "0.wav").write_bytes(bytes(about.st_size))
    os.utime(tmp_path / "speech_train" / "0.wav", ns=(about.st_atime_ns, about.st_mtime_ns))
    again = load_recordings(manifest, "speech_train", RATE_HZ, tmp_path / "cache")
    assert torch.equal(again.audio, loaded.audio)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_file_that_changed_is_decoded_anew(tmp_path: Path) -> None:
    manifest, cache = write_corpus(tmp_path), tmp_path / "cache"
    load_recordings(manifest, "speech_train", RATE_HZ, cache)
    path = tmp_path / "speech_train" / "0.wav"
    soundfile.write(path, speech_like(RATE_HZ, 7), RATE_HZ, subtype=soundfile.info(path).subtype)
    loaded = load_recordings(manifest, "speech_train", RATE_HZ, cache)
    first = loaded.audio[0, :RATE_HZ].float() / 32767
    assert np.abs(first.numpy() - speech_like(RATE_HZ, 7)).max() < 2e-4


def with_seconds(manifest: Path) -> Path:
    """Return a manifest in which each recording has one second."""
    head, *lines = manifest.read_text().split()
    lines = [line for line in lines if line.startswith("speech_train")]
    manifest.write_text("\n".join([f"{head},seconds", *(f"{line},1.0" for line in lines)]))
    return manifest


def test_a_damaged_cache_is_decoded_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The stored samples may be fewer than the recordings have."""
    manifest, cache = with_seconds(write_corpus(tmp_path)), tmp_path / "cache"
    whole = load_recordings(manifest, "speech_train", RATE_HZ, cache)
    (kept,) = cache.iterdir()
    data, arrays = kept.read_bytes(), dict(np.load(kept))
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    cut = {"audio": arrays["audio"][:, 1000:], "length": arrays["length"] - [1000, 0, 0]}
    more = {"audio": arrays["audio"][:, 1000:], "length": arrays["length"]}
    for damage in (b"", data[:100], bytes(changed), b"no archive" * 9, cut, more):
        caplog.clear()
        if isinstance(damage, bytes):
            kept.write_bytes(damage)
        else:
            np.savez(kept, **damage)
        again = load_recordings(manifest, "speech_train", RATE_HZ, cache)
        assert torch.equal(again.audio, whole.audio)
        assert f"{kept} is damaged, decoding anew" in caplog.text
        assert list(cache.iterdir()) == [kept]


def test_a_recording_shorter_than_in_the_manifest_is_an_error(tmp_path: Path) -> None:
    manifest, path = with_seconds(write_corpus(tmp_path)), tmp_path / "speech_train" / "1.wav"
    soundfile.write(path, speech_like(RATE_HZ, 1)[: RATE_HZ // 2], RATE_HZ)
    with pytest.raises(ModelError, match=r"1.wav has 0.500 s, less than the 1.000 s of the mani"):
        load_recordings(manifest, "speech_train", RATE_HZ, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_full_disk_leaves_no_partial_cache(
    tmp_path: Path, limited_size: Callable[[int], None]
) -> None:
    manifest, cache = write_corpus(tmp_path), tmp_path / "cache"
    limited_size(10_000)
    with pytest.raises(FileError, match=r"npz cannot be written: File too large"):
        load_recordings(manifest, "speech_train", RATE_HZ, cache)
    assert list(cache.iterdir()) == []


def test_another_list_of_files_is_decoded_anew(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path)
    load_recordings(manifest, "speech_train", RATE_HZ, tmp_path / "cache")
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if "speech_train/1" not in line))
    loaded = load_recordings(manifest, "speech_train", RATE_HZ, tmp_path / "cache")
    assert loaded.length.tolist() == [RATE_HZ] * 2


def test_files_are_left_out_by_their_names(tmp_path: Path) -> None:
    manifest, cache = write_corpus(tmp_path), tmp_path / "cache"
    load_recordings(manifest, "speech_train", RATE_HZ, cache)
    some = load_recordings(manifest, "speech_train", RATE_HZ, cache, leave_out=("0.*", "9*"))
    assert some.length.tolist() == [RATE_HZ] * 2
    first = some.audio[0, :RATE_HZ].float() / 32767
    assert np.abs(first.numpy() - speech_like(RATE_HZ, 1)).max() < 2e-4


LICENCES = ["CC0-1.0", "CC-BY-3.0", "CC-BY-3.0 / CC-BY-SA-3.0", "GPL-2", ""]


@pytest.mark.parametrize("column", ["licence", "license"])
def test_recordings_are_chosen_by_their_licences(tmp_path: Path, column: str) -> None:
    manifest = tmp_path / "MANIFEST.csv"
    rows = [f"speech_train/{number}.wav,{text}" for number, text in enumerate(LICENCES)]
    manifest.write_text("\n".join([f"path,{column}", *rows]) + "\n")

    def chosen(*licences: str) -> list[str]:
        found = list_recordings(manifest, "speech_train", licences=licences)
        return [Path(entry.path).stem for entry in found]

    assert chosen() == ["0", "1", "2", "3", "4"]
    assert chosen("CC0*", "CC-BY-3.0") == ["0", "1"]
    assert chosen("GPL*") == ["3"]
    with pytest.raises(ModelError, match=r"data.licences; the licences there are: CC-BY-3.0; CC-"):
        chosen("MIT")


def test_a_recipe_chooses_licences(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path)
    paths = manifest.read_text().split()[1:]
    rows = [f"{path},{'GPL-2' if '0.' in path else 'CC0-1.0'}" for path in paths]
    manifest.write_text("\n".join(["path,licence", *rows]) + "\n")
    for memory_gb in (None, 1e-9):  # decoded or streamed
        data = DataConfig(
            manifest=manifest, cache=tmp_path / "cache", licences=("CC0*",), memory_gb=memory_gb
        )
        found = open_recordings(data, "speech_train", RATE_HZ, torch.device("cpu"))
        assert found.length.tolist() == [RATE_HZ] * 2


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path)
    with pytest.raises(ModelError, match="no file in talks/, only in noise_test, noise_train, rir"):
        load_recordings(manifest, "talks", RATE_HZ, tmp_path / "cache")


def test_a_name_without_a_split_is_its_training_part(tmp_path: Path) -> None:
    """So `rir` also names the rooms of a prepared corpus."""
    manifest = write_corpus(tmp_path)
    found = {entry.path.partition("/")[0] for entry in list_recordings(manifest, "speech")}
    assert found == {"speech_train"}
    assert [entry.path for entry in list_recordings(manifest, "rir")] == ["rir/0.wav"]


@pytest.mark.parametrize("damage", ["nothing", "no audio", "1 Hz"])
def test_an_unreadable_recording_is_named(tmp_path: Path, damage: str) -> None:
    manifest = write_corpus(tmp_path)
    path = tmp_path / "speech_train" / "1.wav"
    path.unlink()
    if damage == "no audio":
        path.write_bytes(b"no audio" * 100)
    elif damage == "1 Hz":
        soundfile.write(path, np.zeros(9), 1)
    with pytest.raises(ModelError, match=r"speech_train/1.wav cannot be read"):
        load_recordings(manifest, "speech_train", RATE_HZ, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("memory_gb", [None, 0.0], ids=["in memory", "streamed"])
@pytest.mark.parametrize("samples", [0, 1])
def test_a_recording_without_samples_is_named(
    tmp_path: Path, samples: int, memory_gb: float | None
) -> None:
    """No batch can be drawn from such recordings."""
    manifest = write_corpus(tmp_path)
    soundfile.write(tmp_path / "speech_train" / "1.wav", np.zeros(samples), RATE_HZ)
    data = DataConfig(manifest=manifest, cache=tmp_path / "cache", memory_gb=memory_gb)
    with pytest.raises(ModelError, match=rf"speech_train/1.wav has {samples} samples? at"):
        build_sampler(data, RATE_HZ, CROP, torch.Generator(), torch.device("cpu"))


def test_any_rate_and_channels_become_mono(tmp_path: Path) -> None:
    both = np.stack([tone(440, 48_000).numpy(), np.zeros(48_000)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, 48_000)
    audio = read_mono(tmp_path / "a.wav", RATE_HZ)
    assert (audio.shape, audio.dtype) == ((24_000,), np.float32)
    assert frequency_hz(torch.from_numpy(audio)) == pytest.approx(880, abs=1)
    assert np.abs(audio).max() == pytest.approx(0.25, abs=0.01)


def stereo_corpus(folder: Path) -> Path:
    """Return a corpus of a stereo and a mono recording at 48 kHz."""
    (folder / "music_train").mkdir(parents=True)
    both = np.stack([tone(440, 48_000).numpy(), tone(880, 48_000).numpy()], axis=1)
    soundfile.write(folder / "music_train" / "a.wav", both, 48_000)
    soundfile.write(folder / "music_train" / "b.wav", tone(1000, 24_000).numpy(), 48_000)
    manifest = folder / "MANIFEST.csv"
    manifest.write_text("path\nmusic_train/a.wav\nmusic_train/b.wav\n")
    return manifest


def test_each_channel_is_a_recording_of_its_own(tmp_path: Path) -> None:
    """They are stored beside the average of the channels."""
    manifest, cache = stereo_corpus(tmp_path / "corpus"), tmp_path / "cache"
    mixed = load_recordings(manifest, "music_train", RATE_HZ, cache)
    (kept,) = cache.iterdir()
    assert re.fullmatch(rf"music_train-{RATE_HZ}-[0-9a-f]{{16}}\.npz", kept.name)
    each = load_recordings(manifest, "music_train", RATE_HZ, cache, each_channel=True)
    assert len(list(cache.iterdir())) == 2
    assert mixed.length.tolist() == [24_000, 12_000]
    assert each.length.tolist() == [24_000, 24_000, 12_000]
    assert each.start.tolist() == [0, 24_000, 48_000]
    assert [
        round(frequency_hz(each.audio[0, start : start + length].float()))
        for start, length in zip(each.start.tolist(), each.length.tolist())
    ] == [880, 1760, 2000]
    left, right = each.audio[0, :24_000].float(), each.audio[0, 24_000:48_000].float()
    assert_close(mixed.audio[0, :24_000].float(), (left + right) / 2, atol=2, rtol=0)
    assert_close(mixed.audio[0, 24_000:], each.audio[0, 48_000:])


def test_a_recipe_chooses_the_channels(tmp_path: Path) -> None:
    manifest = stereo_corpus(tmp_path)
    basis = DataConfig(
        manifest=manifest,
        cache=tmp_path / "cache",
        speech="music_train",
        conditions=Conditions(clean=1),
    )
    for channels, recordings_of_it in (("mix", 2), ("each", 3)):
        data = basis.model_copy(update={"channels": channels})
        made = build_sampler(data, RATE_HZ, 480, torch.Generator(), torch.device("cpu"))
        assert len(made.speech.length) == recordings_of_it
        assert made.crop_samples == RATE_HZ
        assert made.batch(2)[0].shape == (2, 1, RATE_HZ)


@pytest.mark.parametrize(
    ("conditions", "decoded"),
    [
        (Conditions(clean=1), {"speech_train"}),
        (Conditions(clean=1, two_talkers=1), {"speech_train"}),
        (Conditions(clean=1, noisy=2), {"speech_train", "noise_train"}),
        (Conditions(clean=1, reverberant=0.1), {"speech_train", "rir"}),
        (Conditions(clean=1, noisy_reverberant=1), {"speech_train", "noise_train", "rir"}),
    ],
)
def test_only_recordings_that_a_condition_needs_are_decoded(
    tmp_path: Path, conditions: Conditions, decoded: set[str]
) -> None:
    data = DataConfig(
        manifest=write_corpus(tmp_path), cache=tmp_path / "cache", conditions=conditions
    )
    made = build_sampler(data, RATE_HZ, 480, torch.Generator(), torch.device("cpu"))
    assert {path.name.split("-")[0] for path in (tmp_path / "cache").iterdir()} == decoded
    assert torch.isfinite(made.batch(20)[0]).all()


# --- several channels, as they are ---------------------------------------------------------------


def test_kept_channels_stay_together_and_mono_is_in_all_of_them(tmp_path: Path) -> None:
    manifest, cache = stereo_corpus(tmp_path / "corpus"), tmp_path / "cache"
    kept = load_recordings(manifest, "music_train", RATE_HZ, cache, channels=2)
    each = load_recordings(manifest, "music_train", RATE_HZ, cache, each_channel=True)
    assert kept.audio.shape == (2, 36_000)
    assert kept.length.tolist() == [24_000, 12_000]
    assert torch.equal(kept.audio[:, :24_000], each.audio[0, :48_000].view(2, -1))
    assert torch.equal(kept.audio[0, 24_000:], kept.audio[1, 24_000:])
    again = load_recordings(manifest, "music_train", RATE_HZ, cache, channels=2)
    assert torch.equal(again.audio, kept.audio)
    with pytest.raises(ValueError, match=r"a\.wav has 2 channels, the model codes 3 jointly"):
        load_recordings(manifest, "music_train", RATE_HZ, cache, channels=3)


def panned(signal: Tensor, right: float = -0.5) -> Recordings:
    """Return ``signal`` on the left, and multiplied by ``right`` on the right."""
    mono = recordings(signal)
    return Recordings(
        torch.cat([mono.audio, (right * mono.audio).short()]), mono.start, mono.length
    )


@pytest.mark.parametrize("kind", CONDITIONS)
@pytest.mark.parametrize("speed_range", [1.0, 1.12])
def test_both_channels_have_one_place_speed_and_gain(kind: str, speed_range: float) -> None:
    """In every condition, the ratio between the channels is kept. Both have equal noise."""
    conditions = Conditions.model_validate({kind: 1})
    speech = panned(torch.from_numpy(speech_like(2 * RATE_HZ)))
    made = sampler(speech=speech, conditions=conditions, speed_range=speed_range, enhance=True)
    audio, target = made.batch(20)
    assert audio.shape == target.shape == (20, 2, CROP)
    assert_close(target[:, 1], -0.5 * target[:, 0], atol=2e-4, rtol=0)
    peak_db = 20 * audio.abs().amax((1, 2)).log10()
    assert -24.01 < float(peak_db.min()) < float(peak_db.max()) < -0.49
    if kind not in NEEDS_NOISE:
        assert_close(audio[:, 1], -0.5 * audio[:, 0], atol=2e-4, rtol=0)
    if kind == "noisy":
        noise = audio - target
        assert_close(noise[:, 0], noise[:, 1], atol=1e-5, rtol=0)
        snr_db = 10 * (target.square().mean((1, 2)) / noise.square().mean((1, 2))).log10()
        assert float(snr_db.min()) > 9.9
        assert float(snr_db.max()) < 20.1


def test_a_model_of_two_channels_keeps_them_if_the_recipe_does(tmp_path: Path) -> None:
    manifest = stereo_corpus(tmp_path)
    shapes = {"mix": (2, 1, RATE_HZ), "each": (2, 1, RATE_HZ), "keep": (2, 2, RATE_HZ)}
    for channels, shape in shapes.items():
        data = DataConfig(
            manifest=manifest,
            cache=tmp_path / "cache",
            speech="music_train",
            noise="music_train",
            conditions=Conditions(noisy=1),
            channels=channels,  # type: ignore[arg-type]
        )
        made = build_sampler(data, RATE_HZ, 480, torch.Generator(), torch.device("cpu"), channels=2)
        assert made.batch(2)[0].shape == shape
        assert made.noise is not None
        assert len(made.noise.audio) == 1
