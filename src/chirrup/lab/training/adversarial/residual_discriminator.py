"""The discriminator of SpectroStream: residual 2-D convolutions over complex spectrograms.

It has the interface of `discriminators`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab.training.losses.stft import stft

STRIDES = ((1, 2), (2, 2), (1, 2), (2, 2), (1, 2), (2, 2))
"""Along time and frequency; the latter make one bin of 64."""


class MultiScaleResidualDiscriminator(nn.Module):
    """Classifies real and imaginary parts and moduli of spectra of several window lengths.

    Source: SpectroStream (arXiv 2508.05207). The hop is half a window; the highest bin is left out.
    A scale has a 7 x 7 convolution, six blocks like the levels of the encoder, and a convolution
    over all remaining bins. The paper does not state where layer norm is applied. Here it runs over
    the channels before each rectifier.

    Args:
        n_ffts: window lengths in samples, multiples of 128.
        channels: channels of the first convolution.
        widths: channels of the blocks.
        input_channels: channels of the audio, which are classified jointly.

    Raises:
        ValueError: a window is not a multiple of 128 samples.
    """

    def __init__(
        self,
        *,
        n_ffts: Sequence[int] = (128, 256, 512, 1024, 2048, 4096),
        channels: int = 32,
        widths: Sequence[int] = (64, 128, 128, 256, 256, 512),
        input_channels: int = 1,
        slope: float = 0.2,
    ) -> None:
        super().__init__()
        if any(n_fft % 128 for n_fft in n_ffts):
            raise ValueError(f"windows must be multiples of 128 samples, got {list(n_ffts)}")
        self.n_ffts, self.input_channels = tuple(n_ffts), input_channels
        for n_fft in self.n_ffts:
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), persistent=False)
        self.scales = nn.ModuleList(
            _Scale(3 * input_channels, n_fft // 128, (channels, *widths), slope)
            for n_fft in self.n_ffts
        )

    def forward(self, audio: Tensor) -> list[list[Tensor]]:
        """Compute features ``[batch, width, frames, bins]`` of ``[batch, channels, samples]``."""
        return [
            scale(self.planes(audio, n_fft))
            for scale, n_fft in zip(self.scales, self.n_ffts, strict=True)
        ]

    def planes(self, audio: Tensor, n_fft: int) -> Tensor:
        """Compute real and imaginary parts and moduli, ``[batch, 3 * channels, frames, bins]``."""
        with torch.autocast(audio.device.type, enabled=False):
            audio, window = audio.float(), self.get_buffer(f"window_{n_fft}").float()
            short = max(0, n_fft - audio.shape[-1])
            rows = F.pad(audio, (0, short)).flatten(0, 1)
            spectrum = stft(rows, window, n_fft // 2)[..., :-1]
            spectrum = spectrum.unflatten(0, audio.shape[:2])
            # A modulus has no gradient at zero.
            modulus = (spectrum.real.square() + spectrum.imag.square() + 1e-12).sqrt()
            return torch.cat([spectrum.real, spectrum.imag, modulus], dim=1)


class _Scale(nn.Module):
    def __init__(self, planes: int, bins: int, widths: Sequence[int], slope: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(planes, widths[0], 7, padding=3)
        self.blocks = nn.ModuleList(
            _Block(a, b, stride, slope)
            for (a, b), stride in zip(pairwise(widths), STRIDES, strict=True)
        )
        self.norm, self.slope = _ChannelNorm(widths[-1]), slope
        self.logits = nn.Conv2d(widths[-1], 1, (1, bins))

    def forward(self, planes: Tensor) -> list[Tensor]:
        features = [self.first(planes.to(memory_format=torch.channels_last))]
        for block in self.blocks:
            features.append(block(features[-1]))
        last = F.leaky_relu(self.norm(features[-1]), self.slope)
        return [*features, self.logits(last)]


class _Block(nn.Module):
    """Norm, rectifier, 3 x 3, norm, rectifier, strided convolution; the skip is an average."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int], slope: float) -> None:
        super().__init__()
        kernel = max(3, 2 * stride[0]), max(3, 2 * stride[1])
        self.stride, self.slope = stride, slope
        # Padding at both ends, so that a stride of 2 halves the length.
        self.padding = [
            end
            for size, step in ((kernel[1], stride[1]), (kernel[0], stride[0]))
            for end in ((size - step) // 2, size - step - (size - step) // 2)
        ]
        self.norm_1, self.norm_2 = _ChannelNorm(inputs), _ChannelNorm(inputs)
        self.same = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.strided = nn.Conv2d(inputs, outputs, kernel, stride)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, -x.shape[2] % self.stride[0]))
        y = self.same(F.leaky_relu(self.norm_1(x), self.slope))
        y = F.pad(F.leaky_relu(self.norm_2(y), self.slope), self.padding)
        return self.strided(y) + self.skip(F.avg_pool2d(x, self.stride))


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each position."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, input: Tensor) -> Tensor:
        return cast(Tensor, super().forward(input.movedim(1, -1))).movedim(-1, 1)
