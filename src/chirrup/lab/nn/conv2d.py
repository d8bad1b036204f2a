"""Streaming 2-D convolutions over spectrograms ``[batch, channels, time, bins]``.

They are causal in time and centred along frequency, where both ends are padded with zeros like
TensorFlow's "same" padding.

Tensors are in PyTorch's channels-last memory format, which is faster on a CPU. The convolutions
have a fast form, which also computes the ELU before them.
"""

from fractions import Fraction
from math import prod
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from chirrup.lab.fast.conv_2d import conv_2d, conv_transposed_2d, number_type, rows_of
from chirrup.lab.nn.streaming import Sequential, Span, State, Streaming, strided, transposed

Pair = tuple[int, int]
"""A size along time and a size along frequency."""


def channels_last(x: Tensor) -> Tensor:
    """Return ``x`` in PyTorch's channels-last memory format."""
    return x.contiguous(memory_format=torch.channels_last)


def edge_padding(kernel: int, stride: int) -> Pair:
    """Return the numbers of zeros before the first and after the last bin."""
    both = kernel - stride
    return both // 2, both - both // 2


class Conv2d(Streaming):
    """Causal 2-D convolution from ``bins`` to ``bins / stride`` frequency bins.

    Like in `Conv1d`, output step t depends on input up to the last step of its stride. The
    state is the last ``kernel - stride`` input steps.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Pair,
        bins: int,
        *,
        stride: Pair = (1, 1),
        normalise_weight: bool = False,
    ) -> None:
        super().__init__()
        self.context, self.bins = kernel[0] - stride[0], bins
        if self.context < 0 or kernel[1] < stride[1]:
            raise ValueError(
                f"a stride of {stride} is longer than the kernel and would skip samples"
            )
        if bins % stride[1]:
            raise ValueError(f"a stride of {stride[1]} does not divide {bins} bins")
        low, high = edge_padding(kernel[1], stride[1])
        self.padding, self.edges = (0, high - low), (low, high)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=(0, low))
        if normalise_weight:
            weight_norm(self.conv)
        self.fast = False

    @property
    def ratio(self) -> Fraction:
        return Fraction(self.conv.stride[0])

    def span(self, span: Span) -> Span:
        return strided(span, int(self.ratio), self.context)

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        if self.context == 0:
            return {}
        shape = (batch, self.conv.in_channels, self.context, self.bins)
        return {"past": channels_last(torch.zeros(shape, device=device))}

    def takes_elu(self, x: Tensor) -> bool:
        return self.fast and number_type(x, self.conv) is not None

    def forward(self, x: Tensor, state: State, elu: bool = False) -> tuple[Tensor, State]:
        if self.fast and (dtype := number_type(x, self.conv)):
            return self._fast_form(x, state, dtype, elu)
        after: State = {}
        x = channels_last(x)
        if self.context:
            x = torch.cat([state["past"], x], dim=2)
            after["past"] = x[:, :, x.shape[2] - self.context :].clone()
        return self.conv(F.pad(x, self.padding) if any(self.padding) else x), after

    def _fast_form(
        self, x: Tensor, state: State, dtype: torch.dtype, elu: bool
    ) -> tuple[Tensor, State]:
        rows = rows_of(x, dtype)
        past = rows.detach()[:, :0]
        if self.context:
            past = rows_of(state["past"], dtype)
        conv = self.conv
        stride, bias = cast(Pair, conv.stride), cast(Tensor, conv.bias)
        y, after = conv_2d(rows, past, conv.weight, bias, stride, self.edges, elu)
        return y.permute(0, 3, 1, 2), {"past": after.permute(0, 3, 1, 2)} if self.context else {}


class ConvTranspose2d(Streaming):
    """Causal transposed 2-D convolution from ``bins`` to ``bins * stride`` frequency bins.

    Like in `ConvTranspose1d`, the state is the sum so far of the ``kernel - stride`` output steps
    to which later inputs still contribute.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Pair,
        bins: int,
        *,
        stride: Pair,
        normalise_weight: bool = False,
    ) -> None:
        super().__init__()
        self.overlap, self.bins = kernel[0] - stride[0], bins * stride[1]
        if self.overlap < 0 or kernel[1] < stride[1]:
            raise ValueError(
                f"a kernel of {kernel} is shorter than the stride and would leave holes"
            )
        self.low, high = edge_padding(kernel[1], stride[1])
        trimmed = self.low if self.low == high else 0
        self.whole = trimmed == self.low
        self.conv = nn.ConvTranspose2d(
            in_channels, out_channels, kernel, stride=stride, padding=(0, trimmed), bias=False
        )
        if normalise_weight:
            weight_norm(self.conv)
        self.bias = nn.Parameter(torch.zeros(out_channels, 1, 1))
        self.fast = False

    @property
    def ratio(self) -> Fraction:
        return Fraction(1, self.conv.stride[0])

    def span(self, span: Span) -> Span:
        return transposed(span, int(1 / self.ratio), self.overlap)

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        if self.overlap == 0:
            return {}
        shape = (batch, self.conv.out_channels, self.overlap, self.bins)
        return {"overlap": channels_last(torch.zeros(shape, device=device))}

    def takes_elu(self, x: Tensor) -> bool:
        return self.fast and number_type(x, self.conv) is not None

    def forward(self, x: Tensor, state: State, elu: bool = False) -> tuple[Tensor, State]:
        if self.fast and (dtype := number_type(x, self.conv)):
            return self._fast_form(x, state, dtype, elu)
        y = self.conv(channels_last(x))
        if not self.whole:
            y = y[:, :, :, self.low : self.low + self.bins]
        after: State = {}
        if self.overlap:
            cut = y.shape[2] - self.overlap
            y = y + F.pad(state["overlap"], (0, 0, 0, cut))
            after["overlap"] = y[:, :, cut:].clone()
            y = y[:, :, :cut]
        return y + self.bias, after

    def _fast_form(
        self, x: Tensor, state: State, dtype: torch.dtype, elu: bool
    ) -> tuple[Tensor, State]:
        rows, conv = rows_of(x, dtype), self.conv
        none = rows.new_empty((len(x), 0, self.bins, conv.out_channels))
        before = none if self.overlap == 0 else rows_of(state["overlap"], dtype)
        stride, bias = cast(Pair, conv.stride), self.bias.view(1, -1)
        y, after = conv_transposed_2d(rows, before, conv.weight, bias, stride, self.low, elu)
        y, after = y.permute(0, 3, 1, 2), after.permute(0, 3, 1, 2)
        return y, {"overlap": after} if self.overlap else {}


class Pool2d(Streaming):
    """Average over ``stride`` time steps and bins, for the shortcut past a strided convolution."""

    def __init__(self, stride: Pair) -> None:
        super().__init__()
        self.stride = stride

    @property
    def ratio(self) -> Fraction:
        return Fraction(self.stride[0])

    def span(self, span: Span) -> Span:
        return strided(span, self.stride[0], 0)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return F.avg_pool2d(x, self.stride), state


class Repeat2d(Streaming):
    """Repeat values in time and frequency, for the shortcut past a transposed convolution."""

    def __init__(self, stride: Pair) -> None:
        super().__init__()
        self.stride = stride

    @property
    def ratio(self) -> Fraction:
        return Fraction(1, self.stride[0])

    def span(self, span: Span) -> Span:
        return transposed(span, self.stride[0], 0)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return F.interpolate(x, scale_factor=self.stride), state


class Fold2d(Pool2d):
    """Move ``stride`` time steps and bins into the channels: an invertible `Pool2d`."""

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        time, frequency = self.stride
        x = x.unflatten(3, (-1, frequency)).unflatten(2, (-1, time))
        return x.permute(0, 1, 3, 5, 2, 4).flatten(1, 3), state


class Unfold2d(Repeat2d):
    """The inverse of `Fold2d`."""

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        x = x.unflatten(1, (-1, *self.stride)).permute(0, 1, 4, 2, 5, 3)
        return x.flatten(4, 5).flatten(2, 3), state


class Sequential2d(Sequential):
    """A `Sequential` of layers over spectrograms.

    The fast form computes a 1 x 1 convolution after a `Fold2d` as one strided convolution, and a
    1 x 1 convolution before an `Unfold2d` as one transposed convolution.
    """

    def __init__(self, *layers: Streaming) -> None:
        super().__init__(*layers)
        self.fast = False

    def advance(
        self, pair: list[Streaming], index: int, x: Tensor, state: State, after: State
    ) -> tuple[Tensor, int]:
        y = self._folded(pair, x) if self.fast else None
        return super().advance(pair, index, x, state, after) if y is None else (y, index + 2)

    def _folded(self, pair: list[Streaming], x: Tensor) -> Tensor | None:
        """Return the output of two layers that can be computed as one, else None."""
        fold = next((layer for layer in pair if isinstance(layer, Fold2d | Unfold2d)), None)
        conv = next((layer for layer in pair if isinstance(layer, Conv2d)), None)
        if fold is None or conv is None or isinstance(fold, Fold2d) != (pair[0] is fold):
            return None
        dtype = number_type(x, conv.conv)
        if dtype is None or conv.conv.kernel_size != (1, 1) or conv.conv.stride != (1, 1):
            return None
        weight, bias = conv.conv.weight[:, :, 0, 0], cast(Tensor, conv.conv.bias)
        if isinstance(fold, Fold2d):
            wide = weight.unflatten(1, (-1, *fold.stride))
        else:
            wide = weight.unflatten(0, (-1, *fold.stride)).permute(3, 0, 1, 2)
        if dtype is torch.bfloat16 and any(channels % 2 for channels in wide.shape[:2]):
            return None
        rows = rows_of(x, dtype)
        if isinstance(fold, Fold2d):
            y, _ = conv_2d(rows, rows.detach()[:, :0], wide, bias, fold.stride, (0, 0), False)
        else:
            none = rows.new_empty((len(x), 0, fold.stride[1] * x.shape[3], wide.shape[1]))
            biases = bias.view(-1, prod(fold.stride)).t()
            y, _ = conv_transposed_2d(rows, none, wide, biases, fold.stride, 0, False)
        return y.permute(0, 3, 1, 2)


class PerChannel(Streaming):
    """Apply shared layers to groups of channels separately.

    Input and output are ``[batch, groups * channels, time, ...]``. Inside, the groups are rows of
    the batch.
    """

    def __init__(self, groups: int, layers: Streaming) -> None:
        super().__init__()
        self.groups, self.inner = groups, layers

    @property
    def delay(self) -> Fraction:
        return self.inner.delay

    @property
    def ratio(self) -> Fraction:
        return self.inner.ratio

    def span(self, span: Span) -> Span:
        return self.inner.span(span)

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        inner = self.inner.initial_state(batch * self.groups, device)
        return {f"inner.{name}": self.join_channels(value) for name, value in inner.items()}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        after: State = {}
        rows = {name: value.flatten(0, 1) for name, value in state.items()}
        y = self.run("inner", self.split_channels(x), rows, after)
        after = {name: self.join_channels(value) for name, value in after.items()}
        return self.join_channels(y).flatten(1, 2), after

    def split_channels(self, x: Tensor) -> Tensor:
        """Move the groups into the batch: ``[batch * groups, channels, ...]``."""
        return x.unflatten(1, (self.groups, x.shape[1] // self.groups)).flatten(0, 1)

    def join_channels(self, rows: Tensor) -> Tensor:
        """Move the groups out of the batch: ``[batch, groups, ...]``."""
        return rows.unflatten(0, (-1, self.groups))
