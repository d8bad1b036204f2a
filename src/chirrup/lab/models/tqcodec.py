"""TQCodec, a codec for music at high bitrates (arXiv 2603.01592).

The paper gives operation counts and a receptive field, but not all layers. The networks here are
the causal SEANet of EnCodec (arXiv 2210.13438) with its default layers, which matches the operation
counts; `tests/lab/models/test_tqcodec.py` shows the arithmetic. Further open points:

- causality is not stated; all layers here are causal;
- the paper compares SimVQ with DAC's quantizer, but does not state whether DAC's projections to 8
  dimensions stay; here they do;
- how the bands are split between the two networks; see `Encoder`.

docs/papers/tqcodec.md lists all layers.
"""

from dataclasses import dataclass
from math import prod
from typing import cast

import torch
from torch import Tensor

from chirrup.lab.models.model import Model
from chirrup.lab.nn import (
    LSTM,
    Analysis,
    ConvTranspose1d,
    Parallel,
    Residual,
    Sequential,
    Streaming,
    Synthesis,
    elu,
    fit_scales,
    weight_norm_conv,
)
from chirrup.lab.quantizers.level import Level
from chirrup.lab.quantizers.rvq import ResidualVectorQuantizer
from chirrup.lab.quantizers.simvq import SimVQLevel

LEVELS: dict[str, type[Level]] = {"simvq": SimVQLevel, "rvq": Level}


@dataclass(frozen=True)
class TQConfig:
    """The networks of the paper's text and table 3.

    No network has both the paper's decoder cost and its receptive field of 2410 samples. This one
    sees 1062 samples, if the unbounded past of the LSTM is not counted. The upper bands add
    0.15 GMAC/s each to encoder and decoder; the paper adds 0.17.

    Attributes:
        encoder_dim, decoder_dim: channels at the sample rate; each stride doubles them.
        upper_dim: channels of a second, smaller network for the bands from ``core_bands`` up; 0
            means one network for all bands.
        quantizer: "simvq" for residual SimVQ, or "rvq" for DAC's quantizer, which the paper
            compares it with.
    """

    encoder_dim: int = 32
    decoder_dim: int = 32
    latent_dim: int = 128
    upper_dim: int = 0
    upper_latent_dim: int = 24
    strides: tuple[int, ...] = (2, 4, 8)
    lstm_layers: int = 2
    bands: int = 16
    core_bands: int = 12
    sample_rate_hz: int = 44_100
    codebooks: int = 20
    codebook_size: int = 512
    code_dim: int = 8
    quantizer: str = "simvq"

    @classmethod
    def imbalanced(cls) -> "TQConfig":
        """The paper's large encoder, for servers."""
        return cls(encoder_dim=176)

    @classmethod
    def subband(cls) -> "TQConfig":
        """Separate networks for the bands below and above 16.5 kHz, quantized together."""
        return cls(upper_dim=8)

    @classmethod
    def small(cls) -> "TQConfig":
        """Half the paper's widths, for live stereo on one CPU core. Not in the paper."""
        return cls(encoder_dim=16, decoder_dim=16)

    @property
    def frame_samples(self) -> int:
        return prod(self.strides)

    @property
    def joined_latent_dim(self) -> int:
        return self.latent_dim + (self.upper_latent_dim if self.upper_dim else 0)


def residual_unit(channels: int) -> Residual:
    """Return ELU, convolution to half the channels, ELU, convolution.

    The skip connection is a 1x1 convolution.
    """
    block = Sequential(
        elu(),
        weight_norm_conv(channels, channels // 2, 3),
        elu(),
        weight_norm_conv(channels // 2, channels, 1),
    )
    return Residual(channels, block, weight_norm_conv(channels, channels, 1))


def recurrent(channels: int, config: TQConfig) -> Residual:
    return Residual(channels, LSTM(channels, channels, config.lstm_layers))


def encoder(config: TQConfig, channels: int, latent_dim: int) -> list[Streaming]:
    """Return layers from ``[batch, 1, samples]`` to ``[batch, latent_dim, frames]``."""
    layers: list[Streaming] = [weight_norm_conv(1, channels, 7)]
    for stride in config.strides:
        layers += [
            residual_unit(channels),
            elu(),
            weight_norm_conv(channels, 2 * channels, 2 * stride, stride=stride),
        ]
        channels *= 2
    layers += [recurrent(channels, config), elu(), weight_norm_conv(channels, latent_dim, 7)]
    return layers


def decoder(config: TQConfig, channels: int, latent_dim: int) -> list[Streaming]:
    """Return layers from ``[batch, latent_dim, frames]`` to ``[batch, 1, samples]``."""
    channels *= 2 ** len(config.strides)
    first = weight_norm_conv(latent_dim, channels, 7)
    layers: list[Streaming] = [first, recurrent(channels, config)]
    for stride in reversed(config.strides):
        up = ConvTranspose1d(
            channels, channels // 2, 2 * stride, stride=stride, normalise_weight=True
        )
        channels //= 2
        layers += [elu(), up, residual_unit(channels)]
    return [*layers, elu(), weight_norm_conv(channels, 1, 7)]


class Encoder(Sequential):
    """Audio ``[batch, 1, samples]`` to latents ``[batch, joined_latent_dim, frames]``.

    With ``upper_dim``, the input of each network is a signal at the full sample rate that contains
    its own bands only.
    """

    def __init__(self, config: TQConfig) -> None:
        core = encoder(config, config.encoder_dim, config.latent_dim)
        if not config.upper_dim:
            super().__init__(*core)
            return
        upper = encoder(config, config.upper_dim, config.upper_latent_dim)
        bands, core_bands = config.bands, config.core_bands
        super().__init__(
            Analysis(bands),
            Parallel(
                (core_bands, bands - core_bands),
                Sequential(Synthesis(bands, range(core_bands)), *core),
                Sequential(Synthesis(bands, range(core_bands, bands)), *upper),
            ),
        )


class Decoder(Sequential):
    """Latents ``[batch, joined_latent_dim, frames]`` to audio ``[batch, 1, samples]``.

    With ``upper_dim``, only a network's own bands are taken from its output.
    """

    def __init__(self, config: TQConfig) -> None:
        core = decoder(config, config.decoder_dim, config.latent_dim)
        if not config.upper_dim:
            super().__init__(*core)
            return
        upper = decoder(config, config.upper_dim, config.upper_latent_dim)
        bands, core_bands = config.bands, config.core_bands
        super().__init__(
            Parallel(
                (config.latent_dim, config.upper_latent_dim),
                Sequential(*core, Analysis(bands, range(core_bands))),
                Sequential(*upper, Analysis(bands, range(core_bands, bands))),
            ),
            Synthesis(bands),
        )


class TQCodec(Model):
    """Encoder, residual quantizer and decoder for one channel.

    The two channels of stereo are coded separately.
    """

    def __init__(self, config: TQConfig) -> None:
        quantizer = ResidualVectorQuantizer(
            config.joined_latent_dim,
            config.codebooks,
            config.codebook_size,
            config.code_dim,
            LEVELS[config.quantizer],
        )
        super().__init__(config, Encoder(config), quantizer, Decoder(config))

    @torch.no_grad()
    def start(self, audio: Tensor) -> None:
        """Initialise the layers' scales from ``audio [batch, 1, samples]``; see `fit_scales`."""
        if not self.config.upper_dim:
            fit_scales(self.decoder, fit_scales(self.encoder, audio), float(audio.std()))
            return
        analysis, encoders = self.encoder.layers
        encoders, decoders = cast(Parallel, encoders), cast(Parallel, self.decoder.layers[0])
        all_bands = analysis.offline(audio).split(encoders.channels, dim=1)
        for encode, decode, bands in zip(
            encoders.branches, decoders.branches, all_bands, strict=True
        ):
            encode, decode = cast(Sequential, encode), cast(Sequential, decode)
            signal = encode.layers[0].offline(bands)
            fit_scales(decode, fit_scales(encode, bands), float(signal.std()))
