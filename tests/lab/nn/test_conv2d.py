"""Layers over spectrograms: streaming equals offline.

The padding is TensorFlow's "same" along frequency, and causal in time.
"""

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from chirrup.lab.nn import (
    ISTFT,
    STFT,
    Conv2d,
    ConvTranspose2d,
    Fold2d,
    LookAhead,
    PerChannel,
    Pool2d,
    Repeat2d,
    Residual,
    Sequential,
    Streaming,
    Unfold2d,
    hann,
    hann_dual,
)

BINS = 12
STRIDES = ((1, 1), (1, 2), (1, 3), (2, 2), (2, 1))


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.double)


def kernel(stride: tuple[int, int]) -> tuple[int, int]:
    return max(3, 2 * stride[0]), max(3, 2 * stride[1])


def down(stride: tuple[int, int]) -> Conv2d:
    torch.manual_seed(0)
    return Conv2d(2, 3, kernel(stride), BINS, stride=stride).double()


def up(stride: tuple[int, int]) -> ConvTranspose2d:
    torch.manual_seed(0)
    layer = ConvTranspose2d(2, 3, kernel(stride), BINS, stride=stride).double()
    torch.nn.init.normal_(layer.bias)
    return layer


def layers() -> dict[str, Streaming]:
    every: dict[str, Streaming] = {f"down {stride}": down(stride) for stride in STRIDES}
    every |= {f"up {stride}": up(stride) for stride in STRIDES}
    every["level"] = Residual(2, down((2, 2)), Sequential(Pool2d((2, 2)), Conv2d(2, 3, (1, 1), 6)))
    every["mirrored"] = Residual(
        2, up((2, 3)), Sequential(Conv2d(2, 3, (1, 1), 12), Repeat2d((2, 3)))
    )
    every["folded"] = Residual(2, down((2, 2)), Sequential(Fold2d((2, 2)), Conv2d(8, 3, (1, 1), 6)))
    every["unfolded"] = Residual(
        2, up((2, 3)), Sequential(Conv2d(2, 18, (1, 1), 12), Unfold2d((2, 3)))
    )
    every["each"] = PerChannel(1, Sequential(down((2, 2)), LookAhead(Fraction(2))))
    return {name: layer.double() for name, layer in every.items()}


LAYERS = layers()


@pytest.mark.parametrize("name", LAYERS)
@given(chunks=st.lists(st.integers(1, 5), min_size=2, max_size=6), seed=st.integers(0, 2**32))
@settings(max_examples=5)
def test_stream_equals_offline(name: str, chunks: list[int], seed: int) -> None:
    layer, x = LAYERS[name], noise(2, 2, 2 * sum(chunks), BINS, seed=seed)
    whole = layer.offline(x)
    assert whole.shape[2] == x.shape[2] / layer.ratio

    def streamed(forget: bool) -> Tensor:
        start = {key: value.double() for key, value in layer.initial_state(2).items()}
        state, pieces = start, []
        for piece in x.split([2 * n for n in chunks], dim=2):
            y, state = layer(piece, start if forget else state)
            assert {key: v.shape for key, v in state.items()} == {
                k: v.shape for k, v in start.items()
            }
            pieces.append(y)
        return torch.cat(pieces, dim=2)

    assert_close(streamed(False), whole)
    if layer.initial_state(1):
        assert not torch.allclose(streamed(True), whole)


@pytest.mark.parametrize("stride", STRIDES)
def test_a_convolution_is_causal_and_padded_at_both_ends(stride: tuple[int, int]) -> None:
    layer, x = down(stride), noise(1, 2, 8, BINS)
    (time, frequency), both = kernel(stride), kernel(stride)[1] - stride[1]
    padded = F.pad(x, (both // 2, both - both // 2, time - stride[0], 0))
    expected = F.conv2d(padded, layer.conv.weight, layer.conv.bias, stride)
    assert frequency >= stride[1]
    assert expected.shape[3] == BINS // stride[1]
    assert_close(layer.offline(x), expected)


@pytest.mark.parametrize("stride", STRIDES)
def test_a_transposed_convolution_is_the_adjoint_of_the_convolution(
    stride: tuple[int, int],
) -> None:
    """It is the adjoint of the convolution, mirrored in time."""
    layer, x = up(stride), noise(1, 2, 4, BINS)
    fine = noise(1, 3, 4 * stride[0], BINS * stride[1], seed=1)
    both = kernel(stride)[1] - stride[1]
    ahead = F.pad(fine, (both // 2, both - both // 2, 0, kernel(stride)[0] - stride[0]))
    weighted = F.conv2d(ahead, layer.conv.weight, None, stride)
    assert_close(((layer.offline(x) - layer.bias) * fine).sum(), (x * weighted).sum())


def test_invalid_strides_raise() -> None:
    with pytest.raises(ValueError, match="does not divide"):
        Conv2d(1, 1, (3, 10), BINS, stride=(1, 5))
    with pytest.raises(ValueError, match="skip samples"):
        Conv2d(1, 1, (3, 2), BINS, stride=(1, 3))
    with pytest.raises(ValueError, match="holes"):
        ConvTranspose2d(1, 1, (1, 3), BINS, stride=(2, 1))
    with pytest.raises(ValueError, match="rate of its input or shortcut"):
        Residual(2, down((2, 2)), Conv2d(2, 3, (1, 1), BINS))


def test_groups_do_not_affect_each_other() -> None:
    torch.manual_seed(0)
    layer = PerChannel(2, Conv2d(2, 3, (3, 3), BINS)).double()
    x = noise(2, 4, 6, BINS)
    y = layer.offline(x)
    assert y.shape == (2, 6, 6, BINS)
    assert_close(y[:, :3], layer.inner.offline(x[:, :2]))
    assert_close(y[:, 3:], layer.inner.offline(x[:, 2:]))
    assert {value.shape for value in layer.initial_state(5).values()} == {(5, 2, 2, 2, BINS)}


def test_repeats_undo_averages() -> None:
    x = noise(1, 2, 4, BINS)
    assert_close(Pool2d((2, 3)).offline(Repeat2d((2, 3)).offline(x)), x)
    assert_close(
        Repeat2d((2, 3)).offline(x), x.repeat_interleave(2, dim=2).repeat_interleave(3, dim=3)
    )


def test_folding_keeps_everything() -> None:
    x = noise(2, 3, 4, BINS)
    folded = Fold2d((2, 3)).offline(x)
    assert folded.shape == (2, 18, 2, BINS // 3)
    assert_close(folded[1, :6, 1, 2], x[1, 0, 2:4, 6:9].flatten())
    assert_close(Unfold2d((2, 3)).offline(folded), x)


def test_the_dual_window_undoes_the_hann_window() -> None:
    x = noise(2, 1, 40 * 24)
    stft, istft = STFT(48, 24, hann(48)).double(), ISTFT(48, hann_dual(48)).double()
    frames = x.float()
    back = istft.float().offline(stft.float().offline(frames))
    assert stft.delay + istft.delay * 24 == 24
    assert_close(back[:, :, 24:], frames[:, :, :-24], rtol=1e-5, atol=1e-5)
