"""`HarmonicNoise` returns pulses and noise with the pitch, spectrum and time of its controls."""

import numpy as np
import pytest
import torch
from torch import Tensor

from chirrup.lab.nn import HarmonicNoise
from chirrup.lab.nn.harmonic_noise import PITCHES, SILENT, TURN, pitch_index
from chirrup.lab.training.losses.pitch import pitch
from one_stream import streamed

RATE_HZ, FRAME = 24_000, 480
PULSES, NOISE = 0, 1


def layer() -> HarmonicNoise:
    return HarmonicNoise(RATE_HZ, FRAME)


VOICED = (-2 - 0.2 * torch.arange(40.0))[:, None]
"""Gains of pulses that fall with frequency like a voice."""


def controls(frames: int, pitch_hz: float = 200.0, **gains: float | Tensor) -> Tensor:
    """Return controls with a pitch and log gains.

    Args:
        pulses, noise: log gains, a number for all bands and pieces, or ``[pieces, bands, frames]``.
    """
    made = torch.zeros(1, layer().channels, frames)
    made[:, round(float(pitch_index(torch.tensor(pitch_hz))))] = 1
    levels = made[:, PITCHES:].view(4, 2, 40, frames)
    levels[:, PULSES] = gains.get("pulses", SILENT)
    levels[:, NOISE] = gains.get("noise", SILENT)
    return made


def synthesised(made: Tensor) -> Tensor:
    return layer().offline(made)[0, 0]


@pytest.mark.parametrize("pitch_hz", [60, 123, 250, 500])
def test_pulses_have_the_pitch(pitch_hz: float) -> None:
    """The error is within half the step of 16 cents plus the error of YIN."""
    audio = synthesised(controls(50, pitch_hz, pulses=VOICED))
    found = pitch(audio[None], RATE_HZ, FRAME)[0, 10:-10]
    assert float((found / pitch_hz).log2().abs().max()) < 12 / 1200


def test_a_pitch_is_reached_at_its_frames_end() -> None:
    """The pitch rises by an octave in 60 frames, without steps."""
    rise_hz = 150 * 2 ** (torch.arange(60) / 60)
    made = controls(60, pulses=VOICED)
    made[:, :PITCHES] = 0
    made[0, pitch_index(rise_hz).round().long(), torch.arange(60)] = 1
    found = pitch(synthesised(made)[None], RATE_HZ, FRAME)[0]
    assert found[4:-4].numpy() == pytest.approx(rise_hz[4:-4].numpy(), rel=0.012)


@pytest.mark.parametrize("source", ["pulses", "noise"])
def test_both_are_white_and_as_loud_as_the_gain(source: str) -> None:
    audio = synthesised(controls(100, **{source: -4.0}))[FRAME:].double()
    assert float(audio.std()) == pytest.approx(np.exp(-4), rel=0.03)
    power = torch.fft.rfft(audio[: 40 * FRAME]).abs().square()[1:]
    bands_db = 10 * power.unflatten(0, (12, -1)).mean(1).log10()
    assert float(bands_db.max() - bands_db.min()) < 1


def test_a_filter_is_its_gains() -> None:
    """A peak of 35 dB in one band of the noise lies at the frequency of its mel band."""
    peak = torch.full((4, 40, 200), -6.0)
    peak[:, 15] = -2.0
    power = torch.fft.rfft(synthesised(controls(200, noise=peak))[FRAME:]).abs().square()
    where_hz = np.linspace(0, RATE_HZ / 2, len(power))
    top = np.log1p(RATE_HZ / 2 / 700)
    centre_hz, next_hz = 700 * np.expm1(np.array([15, 16]) / 39 * top)

    def level_db(low: float, high: float) -> float:
        return float(10 * power[(where_hz > low) & (where_hz < high)].mean().log10())

    near = level_db(centre_hz - 20, centre_hz + 20)
    for low, high in ((200, 500), (2 * next_hz - centre_hz, 3000), (8000, 11_000)):
        assert near - level_db(low, high) == pytest.approx(20 * 4 / np.log(10), abs=4.5)


def test_nothing_comes_before_its_piece_and_little_is_late() -> None:
    """A burst of noise in the third piece of a frame lies in this piece of the audio."""
    burst = torch.full((4, 40, 10), SILENT)
    burst[2, :, 5] = 0
    energy = synthesised(controls(10, noise=burst)).square().unflatten(0, (-1, 120)).sum(1)
    rise = 4 * 5 + 2  # to the gain at the piece's end, and back in the next
    share = energy / energy.sum()
    assert float(share[:rise].sum()) < 1e-6
    assert float(share[rise : rise + 2].sum()) > 0.98


@pytest.mark.parametrize("frames", [1, 4, 7])
@torch.no_grad()
def test_in_chunks(frames: int) -> None:
    torch.manual_seed(0)
    made = torch.randn(2, layer().channels, 300) - torch.tensor(2.0)
    whole = layer().offline(made)
    live = streamed(layer(), made.split(frames, dim=2))
    torch.testing.assert_close(live, whole, rtol=0, atol=2e-5)


@pytest.mark.parametrize("forget", ["phase", "pitch", "round", "gains", "overlap"])
@torch.no_grad()
def test_each_state_is_needed(forget: str) -> None:
    torch.manual_seed(0)
    made = torch.randn(1, layer().channels, 40) - torch.tensor(2.0)
    wrong = streamed(layer(), made.split(4, dim=2), forget)
    assert float((wrong - layer().offline(made)).abs().max()) > 1e-2


@torch.no_grad()
def test_phases_are_exact_after_a_minute() -> None:
    """Phases are whole numbers, so rounding errors do not add up."""
    model, frames = layer(), 3000
    made = controls(1, 331.0, pulses=VOICED).expand(-1, -1, frames)
    _, state = model(made, model.initial_state(1))
    steps = model.get_buffer("steps")
    first, step = int(steps[0]), int(steps[int(state["pitch"])])
    assert step / TURN == pytest.approx(331 / RATE_HZ, rel=0.005)
    turned = FRAME // 2 * (first + step) + (frames - 1) * FRAME * step
    assert int(state["phase"]) == turned % int(TURN)


def test_gradients_reach_the_gains_and_not_the_pitch() -> None:
    made = (torch.randn(1, layer().channels, 8) - 2).requires_grad_()
    layer().offline(made).square().mean().backward()
    assert made.grad is not None
    assert not made.grad[:, :PITCHES].any()
    assert made.grad[:, PITCHES:].abs().amin() > 0


def test_not_in_half_precision_where_the_rest_of_a_model_is() -> None:
    made = torch.randn(1, layer().channels, 8) - 2
    with torch.autocast("cpu", torch.bfloat16):
        half = layer().offline(made.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, layer().offline(made.bfloat16().float()))
