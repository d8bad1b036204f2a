"""YIN on voices of known pitch, and the loss of pitch scores."""

import pytest
import torch
from torch import Tensor

from chirrup.lab.nn.harmonic_noise import PITCHES, pitch_index
from chirrup.lab.training.losses.pitch import pitch, pitch_loss, with_pitch

RATE_HZ, FRAME = 16_000, 320


def voice(pitch_hz: Tensor) -> Tensor:
    """Return ten harmonics that fall by 6 dB an octave; the pitch is given for each sample."""
    phase = 2 * torch.pi * (pitch_hz.double() / RATE_HZ).cumsum(0)
    return sum((k * phase).cos() / k for k in range(1, 11)).float()[None]  # pyright: ignore


@pytest.mark.parametrize("pitch_hz", [60, 90, 145, 233, 377, 540])
def test_steady_pitch(pitch_hz: float) -> None:
    audio = voice(torch.full((RATE_HZ,), float(pitch_hz)))
    audio += 0.03 * torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))
    found = pitch(audio, RATE_HZ, FRAME)
    assert found.shape == (1, 50)
    assert found[0, 3:-3].numpy() == pytest.approx(pitch_hz, rel=0.006)


def test_a_pitch_is_that_at_the_frames_end() -> None:
    rise = torch.linspace(100, 300, 2 * RATE_HZ)
    found = pitch(voice(rise), RATE_HZ, FRAME)[0]
    expected = rise[FRAME - 1 :: FRAME]
    assert found[3:-3].numpy() == pytest.approx(expected[3:-3].numpy(), rel=0.02)


def test_noise_and_silence_have_none() -> None:
    noise = torch.randn(4, RATE_HZ, generator=torch.Generator().manual_seed(1))
    assert not pitch(noise, RATE_HZ, FRAME).any()
    assert not pitch(torch.zeros(1, RATE_HZ), RATE_HZ, FRAME).any()


def test_loss_is_least_at_the_pitch_and_without_unvoiced_frames() -> None:
    wanted = torch.tensor([[0.0, 120.0, 240.0]])
    places = pitch_index(wanted.clamp(min=55)).round().long()[0]

    def scored(shift: int) -> Tensor:
        distance = torch.arange(PITCHES)[:, None] - (places + shift)
        return (-0.5 * (distance / 5).square())[None]

    losses = [float(pitch_loss(scored(shift), wanted)) for shift in (0, 1, 4, 100)]
    assert losses == sorted(losses)
    assert losses[0] < losses[-1] - 1
    other = scored(0)
    other[:, :, 0] = torch.randn(PITCHES)
    assert float(pitch_loss(other, wanted)) == pytest.approx(losses[0])
    assert float(pitch_loss(other, torch.zeros(1, 3))) == 0


def test_scores_with_a_pitch_have_it_where_there_is_one() -> None:
    scores = torch.randn(1, PITCHES, 3)
    highest = with_pitch(scores, torch.tensor([[0.0, 120.0, 55.1]])).argmax(dim=1)[0]
    assert highest.tolist() == [int(scores[0, :, 0].argmax()), 86, 0]
