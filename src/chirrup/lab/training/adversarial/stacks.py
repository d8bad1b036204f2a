"""Stacks of convolutions for discriminators, which return the features of every layer.

The fast forms return features with the same values, but their memory layout or their axes can
differ. Losses are means over all values.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from chirrup.lab import fast
from chirrup.lab.fast.discriminators import period_conv, takes_thin_conv, thin_conv

Pair = tuple[int, int]

SCALE_LAYERS = (
    (15, 1, 1),
    (41, 2, 4),
    (41, 2, 16),
    (41, 4, 16),
    (41, 4, 16),
    (41, 1, 16),
    (5, 1, 1),
)
"""Kernel size, stride and groups of the convolutions of HiFi-GAN's multi-scale discriminator."""


class ConvStack(nn.Module):
    """Convolutions with leaky rectifiers, and optionally a last one for the logits.

    Feature maps are channels-last, the faster layout on CPUs and for tensor cores.
    """

    def __init__(
        self, convs: Sequence[nn.Module], slope: float, logits: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.slope = slope
        self.logits = logits
        self.fast = False

    def forward(self, x: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        for conv in self.convs:
            x = self._rectified(cast(nn.Conv2d, conv), x)
            features.append(x)
        return features if self.logits is None else [*features, self.logits(x)]

    def _rectified(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        if self.fast and fast.takes(x) and takes_thin_conv(conv):
            return thin_conv(x, conv, self.slope, torch.is_autocast_enabled("cpu"))
        y = functional.leaky_relu(conv(x), self.slope)
        return y.contiguous(memory_format=torch.channels_last)


class PeriodStack(ConvStack):
    """Convolutions along the positions of ``[batch, channels, positions, phases]``."""

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute features; the fast form's are ``[batch * phases, positions, channels]``."""
        if not (self.fast and fast.takes(x)):
            return super().forward(x)
        x = x.permute(0, 3, 2, 1).flatten(0, 1).contiguous()
        if torch.is_autocast_enabled("cpu"):
            x = x.bfloat16()
        features: list[Tensor] = []
        for layer in (*self.convs, self.logits):
            slope = 1.0 if layer is self.logits else self.slope
            x = period_conv(x, cast(nn.Conv2d, layer), slope)
            features.append(x)
        return features


def _conv(a: int, b: int, kernel: Pair, stride: Pair = (1, 1), dilation: int = 1) -> nn.Conv2d:
    """Build a padded convolution, dilated along the first axis."""
    padding = dilation * (kernel[0] - 1) // 2, (kernel[1] - 1) // 2
    return nn.Conv2d(a, b, kernel, stride, padding, (dilation, 1))


def period_stack(inputs: int, channels: Sequence[int], slope: float) -> PeriodStack:
    strides = [(3, 1)] * (len(channels) - 1) + [(1, 1)]
    convs = [
        weight_norm(_conv(a, b, (5, 1), stride))
        for (a, b), stride in zip(pairwise((inputs, *channels)), strides, strict=True)
    ]
    return PeriodStack(convs, slope, weight_norm(_conv(channels[-1], 1, (3, 1))))


def scale_stack(
    inputs: int, channels: Sequence[int], slope: float, normalise: Callable[[nn.Conv2d], nn.Module]
) -> ConvStack:
    """Build HiFi-GAN's stack for one scale, along time only: ``[batch, channels, time, 1]``."""
    layers = zip(pairwise((inputs, *channels)), SCALE_LAYERS, strict=True)
    convs = [
        nn.Conv2d(a, b, (size, 1), (stride, 1), (size // 2, 0), groups=groups)
        for (a, b), (size, stride, groups) in layers
    ]
    logits = normalise(_conv(channels[-1], 1, (3, 1)))
    return ConvStack([normalise(conv) for conv in convs], slope, logits)


def _inner_convs(channels: int, dilations: Sequence[int]) -> list[nn.Module]:
    """Build convolutions strided along frequency and dilated along time, then a square one."""
    convs = [_conv(channels, channels, (3, 9), (1, 2), dilation) for dilation in dilations]
    return [weight_norm(conv) for conv in (*convs, _conv(channels, channels, (3, 3)))]


def spectrogram_stack(inputs: int, channels: int, slope: float) -> ConvStack:
    """Build EnCodec's stack without weight normalisation in the first and last convolution."""
    convs = [_conv(inputs, channels, (3, 9)), *_inner_convs(channels, (1, 2, 4))]
    return ConvStack(convs, slope, _conv(channels, 1, (3, 3)))


def _band_stack(inputs: int, channels: int, slope: float) -> ConvStack:
    """Build DAC's stack for one band, without logits."""
    first = weight_norm(_conv(inputs, channels, (3, 9)))
    return ConvStack([first, *_inner_convs(channels, (1, 1, 1))], slope)


class BandStacks(nn.Module):
    """A stack of convolutions for each band, and one convolution for the joint logits."""

    def __init__(
        self, bands: Sequence[tuple[float, float]], inputs: int, channels: int, slope: float
    ) -> None:
        super().__init__()
        self.bands = tuple(bands)
        self.stacks = nn.ModuleList(_band_stack(inputs, channels, slope) for _ in self.bands)
        self.logits = weight_norm(_conv(channels, 1, (3, 3)))

    def forward(self, planes: Tensor) -> list[Tensor]:
        bins = planes.shape[-1]
        bands = [
            stack(planes[..., int(low * bins) : int(high * bins)])
            for (low, high), stack in zip(self.bands, self.stacks, strict=True)
        ]
        joint = self.logits(torch.cat([features[-1] for features in bands], dim=-1))
        return [*(feature for features in bands for feature in features), joint]
