"""Batches: crops, speed, noise, rooms, second talkers, levels."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from chirrup.lab.training.batches.mixing import reverberate
from chirrup.lab.training.batches.recordings import cutoff_at, interpolate
from chirrup.lab.training.batches.sampler import CONDITIONS
from chirrup.lab.training.batches.windows import SlidingWindows
from chirrup.lab.training.data_config import NEEDS_ROOMS, Conditions
from small_batches import CROP, ROOM, frequency_hz, recordings, sampler, tone
from small_model import RATE_HZ, speech_like


def amplitude(audio: Tensor, hz: float) -> Tensor:
    """Return the amplitude of a tone with whole periods in the crop: ``[batch]``."""
    turn = torch.exp(-2j * torch.pi * hz * torch.arange(audio.shape[-1]) / RATE_HZ)
    return 2 * (audio.to(turn.dtype) @ turn).abs() / audio.shape[-1]


# --- crops ---------------------------------------------------------------------------------------


def test_crops_stay_inside_a_recording() -> None:
    """A recording that is shorter than a crop is repeated."""
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


@pytest.mark.parametrize("loud", [False, True])
def test_a_level_is_kept_up_to_full_scale(loud: bool) -> None:
    """Two talkers at once can exceed full scale."""
    level = 0.95 if loud else 0.3
    signal = recordings(-torch.full((RATE_HZ,), level))
    changes: dict[str, Any] = {"conditions": Conditions(two_talkers=1)} if loud else {}
    audio, target = sampler(speech=signal, keep_level=True, **changes).batch(4)
    assert torch.equal(audio, target)
    expected = torch.full_like(audio, -1.0 if loud else -round(level * 32767) / 32768)
    assert_close(audio, expected, atol=1e-6, rtol=0)


def test_a_step_takes_its_sliding_windows() -> None:
    ramps = [torch.arange(n) / 20_000 for n in (2 * CROP + 1, 700)]
    several = recordings(*ramps)
    made = sampler(speech=several, keep_level=True)
    settings = {"recordings": 2, "batch": 2, "seed": 0}
    made.windows = SlidingWindows(several.length, CROP, **settings)
    found = [made.step_batch(step, 2)[0][:, 0] for step in range(2)]
    starts = torch.cat(found)[:, 0] * 20_000
    assert sorted(starts.round().int().tolist()) == [0, 0, CROP // 2, CROP]
    again, _ = made.batch(100)
    assert len(again[:, 0, 0].unique()) > 10, "other clips begin anywhere"


# --- speed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.9, 1.0001, 1.12])
def test_speed_changes_the_pitch_by_its_factor(speed: float) -> None:
    crop = sampler().crops(recordings(tone(1000)), 1, torch.tensor([[speed]]))[0, 0]
    assert frequency_hz(crop) == pytest.approx(1000 * speed, rel=1e-3)


def test_interpolation_is_exact_on_tones() -> None:
    position = 100 + torch.arange(2000, dtype=torch.float64)[None] * 1.0713
    value = interpolate(recordings(tone(2000)), position, cutoff_at(torch.tensor([[1.0713]])))[0, 0]
    expected = 0.5 * torch.sin(2 * torch.pi * 2000 * position[0] / RATE_HZ).float()
    assert_close(value, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("speed", [1 / 1.12, 1.05, 1.12])
def test_a_change_of_speed_does_not_alias(speed: float) -> None:
    """Frequencies that are moved beyond half the sample rate are removed, the others stay."""
    factor = torch.tensor([[speed]])
    for hz in range(500, RATE_HZ // 2, 250):
        crop = sampler().crops(recordings(tone(hz)), 1, factor)[0, 0, 100:-100]
        level_db = 20 * float((crop.square().mean().sqrt() / (0.5 * 0.5**0.5)).log10())
        moved = hz * max(speed, 1) / (RATE_HZ / 2)
        if moved < 0.8:
            assert abs(level_db) < 0.1
        if moved > 1.05:
            assert level_db < -40


def test_interpolation_ends_with_the_recording() -> None:
    """Neighbouring recordings have no influence."""
    levels = (0.5, -0.25, 0.75)
    several = recordings(*(torch.full((1000,), level) for level in levels))
    inside = torch.tensor([[0.3, 500.5, 998.9]], dtype=torch.float64)
    passed = cutoff_at(torch.tensor([[1.0]]))
    for index, level in enumerate(levels):
        alone = interpolate(recordings(torch.full((1000,), level)), inside, passed)
        found = interpolate(several, inside + 1000 * index, passed)
        assert_close(found, alone, rtol=0, atol=1e-6)
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


def test_the_level_of_noise_is_in_its_range() -> None:
    audio = sampler(conditions=Conditions(noisy=1)).batch(100)[0][:, 0]
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
    wet, _ = sampler(speech=speech, conditions=Conditions(reverberant=1)).batch(4)
    assert torch.isfinite(wet).all()
    assert not torch.allclose(clean, wet, atol=1e-2)


def test_the_early_part_of_a_room_is_its_first_50_ms() -> None:
    """1,200 samples, counted from the direct sound."""
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
    """Return ``dry [batch, samples]`` in the room `ECHO`, at its level."""
    wet = dry + 0.25 * torch.nn.functional.pad(dry, (1800, 0))[:, : dry.shape[1]]
    return wet * (dry.square().mean(1, True) / wet.square().mean(1, True)).sqrt()


@pytest.mark.parametrize("kind", CONDITIONS)
def test_the_target_is_the_input_or_speech_alone(kind: str) -> None:
    """This holds in every condition, at the level of the speech in the input."""
    conditions = Conditions.model_validate({kind: 1})
    changes: dict[str, Any] = {"conditions": conditions, "rooms": recordings(ECHO)}
    audio, target = sampler(**changes).batch(20)
    assert torch.equal(audio, target)

    audio, target = (x[:, 0] for x in sampler(**changes, enhance=True).batch(20))
    if kind in ("clean", "two_talkers"):
        assert torch.equal(audio, target)
        return
    assert float(amplitude(target, 3000).max()) < 1e-3
    speech = with_echo(target) if kind in NEEDS_ROOMS else target
    noise = audio - speech
    if kind == "reverberant":
        assert float(noise.abs().max()) < 1e-3
        return
    assert_close(amplitude(noise, 500), torch.zeros(20), atol=1e-3, rtol=0)
    snr_db = 10 * (speech.square().mean(1) / noise.square().mean(1)).log10()
    assert float(snr_db.min()) > 9.9
    assert float(snr_db.max()) < 20.1
    assert float(snr_db.max() - snr_db.min()) > 4


def test_noise_comes_to_a_room_and_not_out_of_it() -> None:
    """The tone of the noise has no echo, the speech has one."""
    crop = sampler(conditions=Conditions(noisy_reverberant=1), rooms=recordings(ECHO)).batch(20)[0][
        :, 0
    ]
    before, after = crop[:, :1800], crop[:, 1800:4800]
    grows = [amplitude(after, hz) / amplitude(before, hz) for hz in (500, 3000)]
    assert float((grows[0] - 1).abs().min()) > 0.1
    assert_close(grows[1], torch.ones(20), atol=0.05, rtol=0)


def test_a_second_talker_is_added() -> None:
    tones = [500, 1000, 1500, 2000]
    speech = recordings(*(tone(hz) for hz in tones))
    audio = sampler(speech=speech, conditions=Conditions(two_talkers=1)).batch(60)[0][:, 0]
    found = torch.stack([amplitude(audio, hz) for hz in tones]).sort(dim=0, descending=True)[0]
    two = found[1] > 1e-2 * found[0]
    assert float(two.float().mean()) == pytest.approx(0.75, abs=0.2)
    assert (found[2] < 1e-2 * found[0]).all()
    ratio_db = 20 * (found[0] / found[1])[two].log10()
    assert float(ratio_db.max()) < 5.1


def test_conditions_come_as_often_as_weighted() -> None:
    loud = recordings(tone(3000))
    audio = sampler(conditions=Conditions(clean=3, noisy=1), noise=loud).batch(400)[0][:, 0]
    noisy = amplitude(audio, 3000) > 0.01 * amplitude(audio, 500)
    assert float(noisy.float().mean()) == pytest.approx(0.25, abs=0.07)


def test_conditions_can_be_weighed_anew() -> None:
    made = sampler(conditions=Conditions(clean=1, noisy=1), noise=recordings(tone(3000)))
    made.set_conditions(Conditions(clean=1))
    audio = made.batch(50)[0][:, 0]
    assert bool((amplitude(audio, 3000) < 0.01 * amplitude(audio, 500)).all())


# --- levels and chance ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CONDITIONS)
def test_levels_are_within_their_range_in_every_condition(kind: str) -> None:
    speech = recordings(torch.from_numpy(speech_like(2 * RATE_HZ)))
    conditions = Conditions.model_validate({kind: 1})
    audio, _ = sampler(speech=speech, conditions=conditions, speed_range=1.12).batch(24)
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
    for kind in CONDITIONS:
        conditions = Conditions.model_validate({kind: 1})
        silence = recordings(torch.zeros(RATE_HZ))
        audio, _ = sampler(speech=silence, conditions=conditions).batch(3)
        assert torch.isfinite(audio).all()
        assert float(audio.abs().max()) <= 1.0


def test_the_generator_alone_decides() -> None:
    settings: dict[str, Any] = {
        "speech": recordings(torch.from_numpy(speech_like(2 * RATE_HZ))),
        "conditions": Conditions(
            clean=1, noisy=1, reverberant=1, two_talkers=1, noisy_reverberant=1
        ),
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
