"""SpectroStream, a codec for 48 kHz stereo music (arXiv 2508.05207).

2-D convolutions process spectrograms. The first layers of the encoder process each channel
separately, with shared weights; its last layers process the channels jointly. The decoder is the
mirror image. The layers follow the configuration in github.com/magenta/magenta-realtime
(``magenta_rt/jax/spectrostream.py``); `tests/lab/models/test_spectrostream.py` compares the counts.

Neither paper nor configuration states how the transposed convolutions are cut in time; here they
are causal. `SpectroConfig.folds` and `SpectroConfig.small` are additions of this package.
docs/papers/spectrostream.md lists all layers.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import cast

import torch
from torch import Tensor, nn

from chirrup.lab.models.model import Model
from chirrup.lab.nn import (
    ISTFT,
    STFT,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Fold2d,
    LookAhead,
    PerChannel,
    Pool2d,
    Repeat2d,
    Residual,
    Sequential,
    Sequential2d,
    Stateless,
    Streaming,
    Unfold2d,
    elu,
    fit_scales,
    hann,
    hann_dual,
    scale_weight,
    weight_norm_conv,
)
from chirrup.lab.quantizers.ema import EMALevel, PlainEMALevel
from chirrup.lab.quantizers.rvq import ResidualVectorQuantizer


@dataclass(frozen=True)
class SpectroConfig:
    """The released configuration.

    Attributes:
        encoder_dim, decoder_dim: channels at the resolution of the spectrogram.
        strides: stride of each level along time and frequency, from fine to coarse.
        widen: factor by which each encoder level widens, and each decoder level narrows.
        separate_levels: number of encoder levels that process each channel separately.
        joint_levels: number of decoder levels before the channels are split.
        look_ahead_hops: look-ahead of the decoder beyond its own frame, in hops of the spectrogram.
        code_dim: width of the codebooks. If it equals ``latent_dim``, there are no projections.
        folds: whether the shortcut past a level folds the strided bins into channels (and unfolds
            them in the decoder), so that nothing is lost. The paper's shortcuts average in the
            encoder and repeat in the decoder.
    """

    encoder_dim: int = 32
    decoder_dim: int = 64
    strides: tuple[tuple[int, int], ...] = ((1, 2), (1, 2), (1, 3), (1, 2), (1, 2), (2, 2), (2, 1))
    widen: tuple[int, ...] = (2, 1, 2, 1, 1, 2, 1)
    separate_levels: int = 6
    joint_levels: int = 1
    look_ahead_hops: int = 4
    latent_dim: int = 256
    code_dim: int = 256
    folds: bool = False
    codebooks: int = 64
    codebook_size: int = 1024
    hop: int = 480
    channels: int = 2
    sample_rate_hz: int = 48_000

    @classmethod
    def small(cls) -> "SpectroConfig":
        """A quarter of the paper's widths, for live stereo on one CPU core. Not in the paper."""
        return cls(encoder_dim=8, decoder_dim=16, code_dim=8, folds=True)

    @property
    def frame_samples(self) -> int:
        return self.hop * prod(time for time, _ in self.strides)

    @property
    def coarse_bins(self) -> int:
        """Number of frequency bins at the bottleneck."""
        return self.hop // prod(frequency for _, frequency in self.strides)


def square(inputs: int, outputs: int, bins: int, size: int = 3) -> Conv2d:
    """Return a convolution with a square kernel and weight normalisation."""
    return Conv2d(inputs, outputs, (size, size), bins, normalise_weight=True)


def point(inputs: int, outputs: int, bins: int) -> list[Streaming]:
    """Return a 1 x 1 convolution if the width changes, else no layer."""
    return [] if inputs == outputs else [square(inputs, outputs, bins, 1)]


def kernel(stride: tuple[int, int]) -> tuple[int, int]:
    """Return the kernel size of a strided layer."""
    return max(3, 2 * stride[0]), max(3, 2 * stride[1])


def down(inputs: int, outputs: int, bins: int, stride: tuple[int, int], folds: bool) -> Residual:
    """Return a level of the encoder, which divides time and frequency by ``stride``."""
    strided = Conv2d(inputs, outputs, kernel(stride), bins, stride=stride, normalise_weight=True)
    fewer = bins // stride[1]
    shortcut = (
        [Fold2d(stride), square(prod(stride) * inputs, outputs, fewer, 1)]
        if folds
        else [Pool2d(stride), *point(inputs, outputs, fewer)]
    )
    return Residual(
        inputs,
        Sequential2d(elu(), square(inputs, inputs, bins), elu(), strided),
        Sequential2d(*shortcut),
    )


def up(inputs: int, outputs: int, bins: int, stride: tuple[int, int], folds: bool) -> Residual:
    """Return a level of the decoder, which multiplies time and frequency by ``stride``."""
    transposed = ConvTranspose2d(
        inputs, outputs, kernel(stride), bins, stride=stride, normalise_weight=True
    )
    shortcut = (
        [square(inputs, prod(stride) * outputs, bins, 1), Unfold2d(stride)]
        if folds
        else [*point(inputs, outputs, bins), Repeat2d(stride)]
    )
    return Residual(
        inputs,
        Sequential2d(elu(), transposed, elu(), square(outputs, outputs, transposed.bins)),
        Sequential2d(*shortcut),
    )


def bottleneck(width: int, bins: int) -> Residual:
    block = Sequential2d(elu(), square(width, width, bins), elu(), square(width, width, bins))
    return Residual(width, block, Sequential())


class SpectrumToPlanes(nn.Module):
    """Reshape spectra ``[batch, 2 * (bins + 1), time]`` to planes ``[batch, 2, time, bins]``.

    The planes are the real and the imaginary part. The highest bin is dropped.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (2, x.shape[1] // 2))[:, :, :-1].transpose(2, 3)


class PlanesToSpectrum(nn.Module):
    """The inverse of `SpectrumToPlanes`; the highest bin is zero."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x.transpose(2, 3), (0, 0, 0, 1)).flatten(1, 2)


class Flatten(nn.Module):
    """``[batch, channels, time, bins]`` to ``[batch, bins * channels, time]``."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2).flatten(1, 2)


class Unflatten(nn.Module):
    """The inverse of `Flatten`."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.bins, x.shape[1] // self.bins)).permute(0, 2, 3, 1)


class Encoder(Sequential):
    """Audio ``[batch, channels, samples]`` to latents ``[batch, latent_dim, frames]``."""

    def __init__(self, config: SpectroConfig) -> None:
        if not 0 <= config.separate_levels <= len(config.strides):
            raise ValueError(f"separate_levels must be from 0 to {len(config.strides)}")
        bins, width, wider = config.hop, config.encoder_dim, config.encoder_dim
        separate: list[Streaming] = [
            STFT(2 * config.hop, config.hop, hann(2 * config.hop)),
            Stateless(SpectrumToPlanes()),
            square(2, width, bins, 7),
        ]
        joint: list[Streaming] = []
        for index, (stride, factor) in enumerate(zip(config.strides, config.widen, strict=True)):
            width *= config.channels if index == config.separate_levels else 1
            wider *= factor
            levels = separate if index < config.separate_levels else joint
            levels.append(down(width, wider, bins, stride, config.folds))
            width, bins = wider, bins // stride[1]
        width *= config.channels if config.separate_levels == len(config.strides) else 1
        flat, dim = bins * width, config.latent_dim
        super().__init__(
            PerChannel(config.channels, Sequential(*separate)),
            *joint,
            bottleneck(width, bins),
            Stateless(Flatten()),
            Residual(
                flat,
                Sequential(
                    elu(), weight_norm_conv(flat, flat, 1), elu(), weight_norm_conv(flat, dim, 1)
                ),
                weight_norm_conv(flat, dim, 1),
            ),
        )


class Decoder(Sequential):
    """Latents ``[batch, latent_dim, frames]`` to audio ``[batch, channels, samples]``."""

    def __init__(self, config: SpectroConfig) -> None:
        if not 1 <= config.joint_levels <= len(config.strides):
            raise ValueError(f"joint_levels must be from 1 to {len(config.strides)}")
        bins, width = config.coarse_bins, config.decoder_dim * prod(config.widen)
        flat, dim = bins * width, config.latent_dim
        joint: list[Streaming] = [
            LookAhead(Fraction(config.look_ahead_hops * config.hop, config.frame_samples)),
            Residual(
                dim,
                Sequential(weight_norm_conv(dim, flat, 1), elu(), weight_norm_conv(flat, flat, 1)),
                weight_norm_conv(dim, flat, 1),
            ),
            Stateless(Unflatten(bins)),
            bottleneck(width, bins),
        ]
        separate: list[Streaming] = []
        reversed_levels = zip(config.strides[::-1], config.widen[::-1], strict=True)
        for index, (stride, factor) in enumerate(reversed_levels):
            levels = joint if index < config.joint_levels else separate
            split = config.channels if index + 1 == config.joint_levels else 1
            levels.append(up(width, split * (width // factor), bins, stride, config.folds))
            width, bins = width // factor, bins * stride[1]
        separate += [
            elu(),
            square(width, 2, bins, 7),
            Stateless(PlanesToSpectrum()),
            ISTFT(2 * config.hop, hann_dual(2 * config.hop)),
        ]
        super().__init__(*joint, PerChannel(config.channels, Sequential2d(*separate)))


class SpectroStream(Model):
    """Encoder, residual vector quantizer with EMA codebooks, and decoder."""

    def __init__(self, config: SpectroConfig) -> None:
        level = PlainEMALevel if config.code_dim == config.latent_dim else EMALevel
        quantizer = ResidualVectorQuantizer(
            config.latent_dim, config.codebooks, config.codebook_size, config.code_dim, level
        )
        super().__init__(config, Encoder(config), quantizer, Decoder(config))
        self.channels = config.channels

    @torch.no_grad()
    def start(self, audio: Tensor) -> None:
        """Initialise the layers' scales from ``audio``, part by part; see `fit_scales`."""
        audio = self.tiled(audio)
        per_channel_encoder, *joint_encoder = self.encoder.layers
        *joint_decoder, per_channel_decoder = self.decoder.layers
        assert isinstance(per_channel_encoder, PerChannel)
        assert isinstance(per_channel_decoder, PerChannel)
        first, last = per_channel_encoder.inner, per_channel_decoder.inner
        assert isinstance(first, Sequential)
        assert isinstance(last, Sequential)
        rows = per_channel_encoder.split_channels(audio)
        spectra = Sequential(*first.layers[:2]).offline(rows)
        x = per_channel_encoder.join_channels(fit_scales(first, rows)).flatten(1, 2)
        latent = fit_scales(Sequential(*joint_encoder), x)
        self.scale_latents(float(1 / latent.std()))
        x = fit_scales(Sequential(*joint_decoder), latent / latent.std())
        fit_scales(last, per_channel_decoder.split_channels(x), float(spectra.std()))

    @torch.no_grad()
    def scale_latents(self, factor: float) -> bool:
        """Scale both summands of the encoder's last layer and of the decoder's first layer."""
        for part in branches(self.encoder.layers[-1]):
            final = [layer for layer in part.modules() if isinstance(layer, Conv1d)][-1].conv
            scale_weight(final, factor)
            cast(Tensor, final.bias).mul_(factor)
        for part in branches(self.decoder.layers[1]):
            first = next(layer for layer in part.modules() if isinstance(layer, Conv1d))
            scale_weight(first.conv, 1 / factor)
        return True

    def narrow(self) -> "SpectroStream":
        """Return a model with as many layers, fewer channels and random weights."""
        narrow = replace(self.config, encoder_dim=2, decoder_dim=2, latent_dim=8, code_dim=8)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return SpectroStream(narrow)


def branches(layer: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return block and shortcut of a residual layer."""
    assert isinstance(layer, Residual)
    return layer.block, layer.skip
