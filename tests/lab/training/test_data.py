"""The corpus in memory, and batches: crops, speed, noise, rooms, second talkers, levels."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from torch.testing import assert_close

from chirrup.lab.training.config import DataConfig
from chirrup.lab.training.corpus import sampler_of
from chirrup.lab.training.data import Recordings, Sampler, interpolate, load_recordings, reverberate
from chirrup.lab.training.reading import listed, read_mono
from chirrup.runtime.errors import ModelError
from small_model import RATE_HZ, speech_like
from tiny_training import write_corpus

CROP = 4800


def recordings(*signals: Tensor | np.ndarray) -> Recordings:
    tensors = [torch.as_tensor(signal) for signal in signals]
    length = torch.tensor([len(tensor) for tensor in tensors])
    audio = torch.cat([(tensor * 32767).round().to(torch.int16) for tensor in tensors])
    return Recordings(audio[None], length.cumsum(0) - length, length)


def tone(hz: float, samples: int = RATE_HZ, level: float = 0.5) -> Tensor:
    return level * torch.sin(2 * torch.pi * hz * torch.arange(samples) / RATE_HZ)


ROOM = torch.zeros(2000)
ROOM[100], ROOM[400], ROOM[1900] = 0.8, -0.4, 0.2


def sampler(seed: int = 0, **changes: Any) -> Sampler:
    settings: dict[str, Any] = {
        "speech": recordings(tone(500)),
        "noise": recordings(tone(3000, level=0.01)),
        "rooms": recordings(ROOM),
        "sample_rate_hz": RATE_HZ,
        "crop_samples": CROP,
        "conditions": (1, 0, 0, 0, 0),
        "enhance": False,
        "speed_range": 1.0,
        "level_db": (-24.0, -0.5),
        "noise_snr_db": (10.0, 20.0),
        "generator": torch.Generator().manual_seed(seed),
    }
    return Sampler(**settings | changes)


def amplitude(audio: Tensor, hz: float) -> Tensor:
    """Of a tone with whole periods in the crop: ``[batch]``."""
    turn = torch.exp(-2j * torch.pi * hz * torch.arange(audio.shape[-1]) / RATE_HZ)
    return 2 * (audio.to(turn.dtype) @ turn).abs() / audio.shape[-1]


def frequency_hz(audio: Tensor) -> float:
    """Of a pure tone, from the turn of its phase."""
    bins = torch.fft.rfft(audio * torch.hann_window(len(audio)), 1 << 20).abs()
    return float(bins.argmax()) * RATE_HZ / (1 << 20)


# --- the corpus ----------------------------------------------------------------------------------


def test_a_folder_of_the_manifest_is_decoded_and_kept(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path)
    loaded = load_recordings(manifest, "speech_train", RATE_HZ, tmp_path / "cache")
    assert loaded.length.tolist() == [RATE_HZ] * 3
    assert loaded.start.tolist() == [0, RATE_HZ, 2 * RATE_HZ]
    assert loaded.audio.dtype == torch.int16
    second = loaded.audio[0, RATE_HZ : 2 * RATE_HZ].float() / 32767
    assert np.abs(second.numpy() - speech_like(RATE_HZ, 1)).max() < 2e-4
    (tmp_path / "speech_train" / "0.wav").unlink()
    again = load_recordings(manifest, "speech_train", RATE_HZ, tmp_path / "cache")
    assert torch.equal(again.audio, loaded.audio)
    assert len(list((tmp_path / "cache").iterdir())) == 1


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


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path)
    with pytest.raises(ModelError, match="no file in talks/ but in noise_test, noise_train, rir"):
        load_recordings(manifest, "talks", RATE_HZ, tmp_path / "cache")


def test_a_name_without_a_split_is_its_training_part(tmp_path: Path) -> None:
    """So `rir` are the rooms of a prepared corpus too."""
    manifest = write_corpus(tmp_path)
    found = {entry.path.partition("/")[0] for entry in listed(manifest, "speech")}
    assert found == {"speech_train"}
    assert [entry.path for entry in listed(manifest, "rir")] == ["rir/0.wav"]


@pytest.mark.parametrize("damage", ["nothing", "no audio"])
def test_what_cannot_be_read_is_named(tmp_path: Path, damage: str) -> None:
    manifest = write_corpus(tmp_path)
    path = tmp_path / "speech_train" / "1.wav"
    path.unlink()
    if damage == "no audio":
        path.write_bytes(b"no audio" * 100)
    with pytest.raises(ModelError, match=r"speech_train/1.wav cannot be read"):
        load_recordings(manifest, "speech_train", RATE_HZ, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_any_rate_and_channels_become_mono(tmp_path: Path) -> None:
    both = np.stack([tone(440, 48_000).numpy(), np.zeros(48_000)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, 48_000)
    audio = read_mono(tmp_path / "a.wav", RATE_HZ)
    assert (audio.shape, audio.dtype) == ((24_000,), np.float32)
    assert frequency_hz(torch.from_numpy(audio)) == pytest.approx(880, abs=1)
    assert np.abs(audio).max() == pytest.approx(0.25, abs=0.01)


def stereo_corpus(folder: Path) -> Path:
    """A recording of two channels that differ, and one of one channel, at 48 kHz."""
    (folder / "music_train").mkdir(parents=True)
    both = np.stack([tone(440, 48_000).numpy(), tone(880, 48_000).numpy()], axis=1)
    soundfile.write(folder / "music_train" / "a.wav", both, 48_000)
    soundfile.write(folder / "music_train" / "b.wav", tone(1000, 24_000).numpy(), 48_000)
    manifest = folder / "MANIFEST.csv"
    manifest.write_text("path\nmusic_train/a.wav\nmusic_train/b.wav\n")
    return manifest


def test_each_channel_is_a_recording_of_its_own(tmp_path: Path) -> None:
    """Kept beside the average of the channels, whose file has the name that it always had."""
    manifest, cache = stereo_corpus(tmp_path / "corpus"), tmp_path / "cache"
    mixed = load_recordings(manifest, "music_train", RATE_HZ, cache)
    (kept,) = cache.iterdir()
    paths = [str(manifest.parent / f"music_train/{name}.wav") for name in "ab"]
    content = hashlib.sha256("\n".join(paths).encode()).hexdigest()[:8]
    assert kept.name == f"music_train-{RATE_HZ}-{content}.npz"
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
        conditions=(1, 0, 0, 0),
    )
    for channels, recordings_of_it in (("mix", 2), ("each", 3)):
        data = basis.model_copy(update={"channels": channels})
        made = sampler_of(data, RATE_HZ, 480, torch.Generator(), torch.device("cpu"))
        assert len(made.speech.length) == recordings_of_it
        assert made.crop_samples == RATE_HZ
        assert made.batch(2)[0].shape == (2, 1, RATE_HZ)


@pytest.mark.parametrize(
    ("conditions", "decoded"),
    [
        ((1, 0, 0, 0, 0), {"speech_train"}),
        ((1, 0, 0, 1), {"speech_train"}),
        ((1, 2, 0, 0), {"speech_train", "noise_train"}),
        ((1, 0, 0.1, 0, 0), {"speech_train", "rir"}),
        ((1, 0, 0, 0, 1), {"speech_train", "noise_train", "rir"}),
    ],
)
def test_only_what_a_condition_needs_is_decoded(
    tmp_path: Path, conditions: tuple[float, ...], decoded: set[str]
) -> None:
    data = DataConfig(
        manifest=write_corpus(tmp_path), cache=tmp_path / "cache", conditions=conditions
    )
    made = sampler_of(data, RATE_HZ, 480, torch.Generator(), torch.device("cpu"))
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
    """``signal`` on the left, and on the right so many times as loud."""
    mono = recordings(signal)
    return Recordings(
        torch.cat([mono.audio, (right * mono.audio).short()]), mono.start, mono.length
    )


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("speed_range", [1.0, 1.12])
def test_both_channels_have_one_place_speed_and_gain(kind: int, speed_range: float) -> None:
    """In every condition: what lies between the channels is as it was, but for the noise, which
    both have alike."""
    weights = [float(kind == k) for k in range(5)]
    speech = panned(torch.from_numpy(speech_like(2 * RATE_HZ)))
    made = sampler(speech=speech, conditions=weights, speed_range=speed_range, enhance=True)
    audio, target = made.batch(20)
    assert audio.shape == target.shape == (20, 2, CROP)
    assert_close(target[:, 1], -0.5 * target[:, 0], atol=2e-4, rtol=0)
    peak_db = 20 * audio.abs().amax((1, 2)).log10()
    assert -24.01 < float(peak_db.min()) < float(peak_db.max()) < -0.49
    if kind in (0, 2, 3):
        assert_close(audio[:, 1], -0.5 * audio[:, 0], atol=2e-4, rtol=0)
    if kind == 1:
        noise = audio - target
        assert_close(noise[:, 0], noise[:, 1], atol=1e-5, rtol=0)
        snr_db = 10 * (target.square().mean((1, 2)) / noise.square().mean((1, 2))).log10()
        assert float(snr_db.min()) > 9.9
        assert float(snr_db.max()) < 20.1


def test_a_model_of_two_channels_keeps_them_if_the_recipe_says_so(tmp_path: Path) -> None:
    manifest = stereo_corpus(tmp_path)
    shapes = {"mix": (2, 1, RATE_HZ), "each": (2, 1, RATE_HZ), "keep": (2, 2, RATE_HZ)}
    for channels, shape in shapes.items():
        data = DataConfig(
            manifest=manifest,
            cache=tmp_path / "cache",
            speech="music_train",
            noise="music_train",
            conditions=(0, 1, 0, 0),
            channels=channels,  # type: ignore[arg-type]
        )
        made = sampler_of(data, RATE_HZ, 480, torch.Generator(), torch.device("cpu"), channels=2)
        assert made.batch(2)[0].shape == shape
        assert made.noise is not None
        assert len(made.noise.audio) == 1


# --- crops ---------------------------------------------------------------------------------------


def test_crops_stay_inside_a_recording() -> None:
    """Also in one that is shorter than a crop, which is repeated."""
    levels = torch.tensor([0.1, -0.2, 0.3, -0.4])
    lengths = (6000, 4801, 30_000, 1000)
    several = recordings(*(level.expand(n) for level, n in zip(levels, lengths)))
    crops = sampler().crops(several, 300)
    assert crops.shape == (300, 1, CROP)
    crops = crops[:, 0]
    assert (crops == crops[:, :1]).all()
    assert len(crops[:, 0].unique()) == 4


def test_a_short_recording_is_repeated() -> None:
    ramp = torch.arange(1000) / 1000
    crop = sampler().crops(recordings(ramp), 1)[0, 0]
    steps = crop.diff()
    assert (steps < 0).sum() in (4, 5)
    assert crop.max() - crop.min() > 0.99


def test_long_recordings_come_as_often_as_they_are_long() -> None:
    several = recordings(torch.full((10_000,), 0.1), torch.full((30_000,), 0.2))
    crops = sampler().crops(several, 2000)[:, 0]
    assert float((crops[:, 0] > 0.15).float().mean()) == pytest.approx(0.75, abs=0.04)


def test_crops_begin_anywhere() -> None:
    ramp = torch.arange(CROP + 1001) / (CROP + 1001)
    starts = sampler().crops(recordings(ramp), 500)[:, 0, 0] * (CROP + 1001)
    assert float(starts.min()) < 50
    assert float(starts.max()) > 950
    assert float(starts.mean()) == pytest.approx(500, abs=60)


# --- speed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.9, 1.0001, 1.12])
def test_speed_changes_the_pitch_by_its_factor(speed: float) -> None:
    crop = sampler().crops(recordings(tone(1000)), 1, torch.tensor([[speed]]))[0, 0]
    assert frequency_hz(crop) == pytest.approx(1000 * speed, rel=1e-3)


def test_interpolation_is_exact_on_tones() -> None:
    position = 100 + torch.arange(2000, dtype=torch.float64)[None] * 1.0713
    value = interpolate(recordings(tone(2000)), position)[0, 0]
    expected = 0.5 * torch.sin(2 * torch.pi * 2000 * position[0] / RATE_HZ).float()
    assert_close(value, expected, atol=1e-3, rtol=0)


def test_interpolation_ends_with_the_recording() -> None:
    """It knows nothing of the recordings beside."""
    levels = (0.5, -0.25, 0.75)
    several = recordings(*(torch.full((1000,), level) for level in levels))
    inside = torch.tensor([[0.3, 500.5, 998.9]], dtype=torch.float64)
    for index, level in enumerate(levels):
        alone = interpolate(recordings(torch.full((1000,), level)), inside)
        assert_close(interpolate(several, inside + 1000 * index), alone, rtol=0, atol=1e-6)
        assert_close(alone, torch.full((1, 1, 3), level), rtol=0.01, atol=0)


def test_batches_are_of_many_speeds_within_the_range() -> None:
    audio = sampler(speech=recordings(tone(1000)), speed_range=1.12).batch(40)[0][:, 0]
    pitches = torch.tensor([frequency_hz(row) for row in audio]) / 1000
    assert float(pitches.min()) >= 1 / 1.12 - 1e-3
    assert float(pitches.max()) <= 1.12 + 1e-3
    assert float(pitches.min()) < 0.93
    assert float(pitches.max()) > 1.07


# --- conditions ----------------------------------------------------------------------------------


def test_clean_speech_is_only_scaled() -> None:
    audio = sampler().batch(8)[0][:, 0]
    peaks = audio.abs().amax(1)
    assert_close(amplitude(audio, 500), peaks, atol=1e-3, rtol=0.01)
    assert float(amplitude(audio, 3000).max()) < 1e-3


def test_noise_is_as_loud_as_the_range_says() -> None:
    audio = sampler(conditions=(0, 1, 0, 0, 0)).batch(100)[0][:, 0]
    snr_db = 20 * (amplitude(audio, 500) / amplitude(audio, 3000)).log10()
    assert float(snr_db.min()) > 9.9
    assert float(snr_db.max()) < 20.1
    assert float(snr_db.max() - snr_db.min()) > 8


def test_a_room_is_a_convolution_from_its_direct_path_on() -> None:
    speech = torch.from_numpy(speech_like(CROP))[None]
    wet = reverberate(speech, sampler().responses(1), RATE_HZ)[0][0]
    expected = np.convolve(speech[0].numpy(), ROOM[100:].numpy())[:CROP]
    expected *= np.sqrt(np.square(speech[0].numpy()).mean() / np.square(expected).mean())
    assert_close(wet, torch.from_numpy(expected).float(), atol=1e-4, rtol=0)


def test_a_room_longer_than_a_crop() -> None:
    room = torch.zeros(3 * CROP)
    room[10], room[CROP], room[2 * CROP] = 0.9, 0.3, 0.3
    impulse = torch.zeros(1, CROP)
    impulse[0, 0] = 1.0
    wet = reverberate(impulse, sampler(rooms=recordings(room)).responses(1), RATE_HZ)[0][0]
    assert (wet.abs() > 0.01).nonzero()[:, 0].tolist() == [0, CROP - 10]


def test_reverberant_speech_differs_from_clean() -> None:
    speech = recordings(torch.from_numpy(speech_like(RATE_HZ)))
    clean, _ = sampler(speech=speech).batch(4)
    wet, _ = sampler(speech=speech, conditions=(0, 0, 1, 0, 0)).batch(4)
    assert torch.isfinite(wet).all()
    assert not torch.allclose(clean, wet, atol=1e-2)


def test_the_early_part_of_a_room_is_its_first_50_ms() -> None:
    """Counted from the direct path on; 1200 samples."""
    rooms = torch.zeros(2, 3000)
    rooms[:, 0] = 0.9
    rooms[0, 1199], rooms[0, 2000] = 0.5, -0.3
    rooms[1, 1200] = 0.5
    impulses = torch.zeros(2, CROP)
    impulses[:, 7] = 1.0
    whole, early = (rows.abs() > 0.01 for rows in reverberate(impulses, rooms, RATE_HZ))
    assert [row.nonzero()[:, 0].tolist() for row in whole] == [[7, 1206, 2007], [7, 1207]]
    assert [row.nonzero()[:, 0].tolist() for row in early] == [[7, 1206], [7]]


@pytest.mark.parametrize("level", [0.0, 1e-3, 1.0])
def test_rooms_are_as_strong_as_the_speech(level: float) -> None:
    speech = level * torch.stack([torch.from_numpy(speech_like(CROP, i)) for i in range(3)])
    rooms = torch.randn(3, 3000, generator=torch.Generator().manual_seed(0))
    for heard in reverberate(speech, 5 * rooms, RATE_HZ):
        assert heard.shape == speech.shape
        assert_close(heard.square().mean(1), speech.square().mean(1), rtol=1e-3, atol=1e-12)
    whole, early = reverberate(speech, rooms, RATE_HZ)
    assert level == 0 or not torch.allclose(whole, early, rtol=0.1, atol=0)


ECHO = torch.zeros(2000)
ECHO[100], ECHO[1900] = 0.8, 0.2


def with_echo(dry: Tensor) -> Tensor:
    """What the room `ECHO` makes of ``[batch, samples]``, at the level of ``dry``."""
    wet = dry + 0.25 * torch.nn.functional.pad(dry, (1800, 0))[:, : dry.shape[1]]
    return wet * (dry.square().mean(1, True) / wet.square().mean(1, True)).sqrt()


@pytest.mark.parametrize("kind", range(5))
def test_the_target_is_the_input_or_speech_alone(kind: int) -> None:
    """In every condition; at the level that the speech has in the input."""
    weights = [float(kind == k) for k in range(5)]
    changes: dict[str, Any] = {"conditions": weights, "rooms": recordings(ECHO)}
    audio, target = sampler(**changes).batch(20)
    assert torch.equal(audio, target)

    audio, target = (x[:, 0] for x in sampler(**changes, enhance=True).batch(20))
    if kind in (0, 3):
        assert torch.equal(audio, target)
        return
    assert float(amplitude(target, 3000).max()) < 1e-3
    speech = with_echo(target) if kind in (2, 4) else target
    noise = audio - speech
    if kind == 2:
        assert float(noise.abs().max()) < 1e-3
        return
    assert_close(amplitude(noise, 500), torch.zeros(20), atol=1e-3, rtol=0)
    snr_db = 10 * (speech.square().mean(1) / noise.square().mean(1)).log10()
    assert float(snr_db.min()) > 9.9
    assert float(snr_db.max()) < 20.1
    assert float(snr_db.max() - snr_db.min()) > 4


def test_noise_comes_to_a_room_and_not_out_of_it() -> None:
    """The fifth condition: the noise tone has no echo, the speech has one."""
    crop = sampler(conditions=(0, 0, 0, 0, 1), rooms=recordings(ECHO)).batch(20)[0][:, 0]
    before, after = crop[:, :1800], crop[:, 1800:4800]
    grows = [amplitude(after, hz) / amplitude(before, hz) for hz in (500, 3000)]
    assert float((grows[0] - 1).abs().min()) > 0.1
    assert_close(grows[1], torch.ones(20), atol=0.05, rtol=0)


def test_a_second_talker_is_added() -> None:
    tones = [500, 1000, 1500, 2000]
    speech = recordings(*(tone(hz) for hz in tones))
    audio = sampler(speech=speech, conditions=(0, 0, 0, 1, 0)).batch(60)[0][:, 0]
    found = torch.stack([amplitude(audio, hz) for hz in tones]).sort(dim=0, descending=True)[0]
    two = found[1] > 1e-2 * found[0]
    assert float(two.float().mean()) == pytest.approx(0.75, abs=0.2)
    assert (found[2] < 1e-2 * found[0]).all()
    ratio_db = 20 * (found[0] / found[1])[two].log10()
    assert float(ratio_db.max()) < 5.1


def test_conditions_come_as_often_as_weighted() -> None:
    loud = recordings(tone(3000))
    audio = sampler(conditions=(3, 1, 0, 0, 0), noise=loud).batch(400)[0][:, 0]
    noisy = amplitude(audio, 3000) > 0.01 * amplitude(audio, 500)
    assert float(noisy.float().mean()) == pytest.approx(0.25, abs=0.07)


def test_conditions_can_be_weighed_anew() -> None:
    made = sampler(conditions=(1, 1, 0, 0, 0), noise=recordings(tone(3000)))
    made.weigh((1, 0, 0, 0))
    audio = made.batch(50)[0][:, 0]
    assert bool((amplitude(audio, 3000) < 0.01 * amplitude(audio, 500)).all())


# --- levels and chance ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", range(5))
def test_levels_are_within_their_range_in_every_condition(kind: int) -> None:
    speech = recordings(torch.from_numpy(speech_like(2 * RATE_HZ)))
    weights = [float(kind == k) for k in range(5)]
    audio, _ = sampler(speech=speech, conditions=weights, speed_range=1.12).batch(24)
    assert audio.shape == (24, 1, CROP)
    assert audio.dtype == torch.float32
    peak_db = 20 * audio.abs().amax((1, 2)).log10()
    assert float(peak_db.min()) > -24.01
    assert float(peak_db.max()) < -0.49
    assert float(peak_db.max() - peak_db.min()) > 8


def test_both_polarities_come() -> None:
    speech = recordings(torch.full((RATE_HZ,), 0.3))
    signs = sampler(speech=speech).batch(100)[0][:, 0, 0].sign()
    assert 25 < int((signs > 0).sum()) < 75
    assert (signs != 0).all()


def test_silence_stays_silent() -> None:
    for kind in range(5):
        weights = [float(kind == k) for k in range(5)]
        silence = recordings(torch.zeros(RATE_HZ))
        audio, _ = sampler(speech=silence, conditions=weights).batch(3)
        assert torch.isfinite(audio).all()
        assert float(audio.abs().max()) <= 1.0


def test_the_generator_alone_decides() -> None:
    settings: dict[str, Any] = {
        "speech": recordings(torch.from_numpy(speech_like(2 * RATE_HZ))),
        "conditions": (1, 1, 1, 1, 1),
        "speed_range": 1.12,
    }
    first, other = sampler(3, **settings), sampler(4, **settings)
    torch.manual_seed(0)
    batches = [first.batch(6)[0], first.batch(6)[0]]
    torch.manual_seed(1)
    again = sampler(3, **settings)
    assert torch.equal(again.batch(6)[0], batches[0])
    assert torch.equal(again.batch(6)[0], batches[1])
    assert not torch.equal(*batches)
    assert not torch.equal(other.batch(6)[0], batches[0])
