"""`LogSpectra`: the positions of tones and clicks, and causality."""

import pytest
import torch

from chirrup.lab.audit.complexity import receptive_field_samples
from chirrup.lab.export.folding import replace_layers
from chirrup.lab.nn import LogSpectra, Sequential
from chirrup.lab.nn.stft import MatrixSTFT
from one_stream import streamed

FRAME = 320


def noise(frames: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(2, 1, frames * FRAME, generator=generator)


def test_a_tone_is_in_its_bins() -> None:
    """250 Hz at 16 kHz is bin 10 of the long windows and lies between bins of the short ones."""
    layer = LogSpectra(FRAME)
    tone = 0.3 * (2 * torch.pi * 250 / 16_000 * torch.arange(20 * FRAME)).sin()
    levels = layer.offline(tone[None, None])[0, :, 5:]
    assert levels.shape == (64 + 4 * 81, 15)
    assert bool((levels[:64].argmax(dim=0) == 10).all())
    assert bool((levels[64:].unflatten(0, (81, 4)).argmax(dim=0) <= 3).all())


def test_a_click_is_in_its_quarter() -> None:
    """A click is in two short windows; the second one ends a quarter frame later."""
    layer, click = LogSpectra(FRAME), torch.zeros(1, 1, 10 * FRAME)
    click[0, 0, 5 * FRAME + 200] = 1  # in the third quarter
    levels = layer.offline(click)[0, 64:].unflatten(0, (81, 4)).mean(0).T.flatten()
    loud = (levels > levels.min() + 0.5).nonzero()[:, 0]
    assert loud.tolist() == [4 * 5 + 2, 4 * 5 + 3]


def test_silence_is_the_least_there_is() -> None:
    layer = LogSpectra(FRAME)
    silent = layer.offline(torch.zeros(1, 1, 4 * FRAME))
    assert bool((silent == silent.min()).all())
    assert float(layer.offline(noise(4)).min()) > float(silent.min())


@pytest.mark.parametrize("frames", [1, 4, 7])
def test_in_chunks(frames: int) -> None:
    audio = noise(28)
    live = streamed(LogSpectra(FRAME), audio.split(frames * FRAME, dim=2))
    torch.testing.assert_close(live, LogSpectra(FRAME).offline(audio), rtol=0, atol=1e-5)


def test_a_frame_sees_itself_and_the_one_before() -> None:
    layer = LogSpectra(FRAME)
    assert receptive_field_samples(Sequential(layer)) == 2 * FRAME
    audio = noise(8)[:1].requires_grad_()
    (gradient,) = torch.autograd.grad(layer.offline(audio)[0, :, 5].sum(), audio)
    seen = gradient[0, 0].nonzero()[:, 0]
    assert int(seen[0]) >= 4 * FRAME
    assert int(seen[-1]) == 6 * FRAME - 1


def test_exported_its_transforms_are_products() -> None:
    layer = Sequential(LogSpectra(FRAME))
    expected = layer.offline(noise(8))
    replace_layers(layer, lambda inner: inner.exported())
    assert sum(isinstance(module, MatrixSTFT) for module in layer.modules()) == 2
    torch.testing.assert_close(layer.offline(noise(8)), expected, rtol=0, atol=1e-4)
