"""The two baseline codecs of the LRAC Challenge 2025 (arXiv 2510.00264).

The paper's section 4 describes the layers only in part. Kernel sizes, dilations and the centred
convolutions come from the published configuration (github.com/cisco-open/espnet, egs2/lrac).
`tests/lab/models/test_lrac.py` compares complexity, latency and receptive field with the paper.
docs/papers/lrac.md lists all layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from chirrup.lab.models.model import Model
from chirrup.lab.nn import (
    ConvTranspose1d,
    Residual,
    Sequential,
    Stateless,
    Streaming,
    elu,
    fit_scales,
    weight_norm_conv,
)
from chirrup.lab.quantizers.ema import EMALevel
from chirrup.lab.quantizers.rvq import ResidualVectorQuantizer


@dataclass(frozen=True)
class Unit:
    """A residual unit of two convolutions; the first one is dilated.

    A centred convolution has as much look-ahead as past context, which adds latency.
    """

    kernel_1: int
    dilation: int
    kernel_2: int = 1
    centred_1: bool = False
    centred_2: bool = False


@dataclass(frozen=True)
class Block:
    """Residual units at one frame rate, and the stride to the next lower frame rate."""

    channels: int
    stride: int
    units: tuple[Unit, ...]


def units(kernel_1: int, dilations: Sequence[int], kernel_2: int = 1) -> tuple[Unit, ...]:
    """Return causal units that differ in dilation only."""
    return tuple(Unit(kernel_1, dilation, kernel_2) for dilation in dilations)


@dataclass(frozen=True)
class LracConfig:
    """Layers by resolution, encoder from fine to coarse, decoder from coarse to fine."""

    encoder: tuple[Block, ...]
    decoder: tuple[Block, ...]
    latent_dim: int
    code_dim: int
    sample_rate_hz: int = 24_000
    codebooks: int = 6
    codebook_size: int = 1024

    @classmethod
    def track_1(cls) -> "LracConfig":
        return cls(
            encoder=(
                Block(8, 3, units(5, (3, 9, 27))),
                Block(16, 4, units(5, (3, 9, 27))),
                Block(32, 4, (Unit(5, 3, centred_1=True), Unit(5, 7, centred_1=True), Unit(5, 27))),
                Block(64, 5, (Unit(5, 3), *units(7, (9, 27), 3))),
            ),
            decoder=(
                Block(64, 5, (Unit(3, 5, centred_1=True), Unit(5, 5), Unit(5, 25, 3))),
                Block(32, 4, units(5, (4, 5, 25))),
                Block(16, 3, units(5, (3, 5, 25))),
                Block(8, 4, units(5, (4, 5, 25))),
            ),
            latent_dim=160,
            code_dim=12,
        )

    @classmethod
    def track_2(cls) -> "LracConfig":
        return cls(
            encoder=(
                Block(8, 2, units(7, (3, 9, 27, 81), 3)),
                Block(16, 2, (*units(7, (3, 9, 27), 3), Unit(5, 81, 3))),
                Block(32, 3, units(7, (3, 9, 27), 3)),
                Block(
                    64,
                    4,
                    (Unit(7, 3, 3, centred_1=True), Unit(7, 9, 3, centred_1=True), Unit(7, 27, 3)),
                ),
                Block(128, 5, (Unit(7, 3, 3, centred_2=True), *units(7, (9, 27), 3))),
            ),
            decoder=(
                Block(96, 5, (Unit(3, 5, centred_1=True), Unit(3, 5, centred_1=True), Unit(5, 25))),
                Block(48, 4, (Unit(3, 4), *units(5, (5, 25)))),
                Block(24, 3, units(5, (3, 5, 25))),
                Block(12, 2, (Unit(3, 2), *units(5, (5, 25)))),
                Block(8, 2, units(5, (2, 5, 25))),
            ),
            latent_dim=320,
            code_dim=24,
        )

    @property
    def frame_samples(self) -> int:
        return prod(block.stride for block in self.encoder)


def residual_unit(channels: int, unit: Unit) -> Residual:
    """Return ELU, dilated convolution, ELU, convolution, with a skip connection."""
    return Residual(
        channels,
        Sequential(
            elu(),
            weight_norm_conv(
                channels,
                channels,
                unit.kernel_1,
                dilation=unit.dilation,
                centred=unit.centred_1,
            ),
            elu(),
            weight_norm_conv(channels, channels, unit.kernel_2, centred=unit.centred_2),
        ),
    )


class Encoder(Sequential):
    """Audio ``[batch, 1, samples]`` to latents ``[batch, latent_dim, frames]``."""

    def __init__(self, config: LracConfig) -> None:
        blocks = config.encoder
        layers: list[Streaming] = [weight_norm_conv(1, blocks[0].channels, 7)]
        widths = [*(block.channels for block in blocks[1:]), config.latent_dim]
        for block, width in zip(blocks, widths, strict=True):
            layers += [residual_unit(block.channels, unit) for unit in block.units]
            layers += [
                elu(),
                weight_norm_conv(block.channels, width, 2 * block.stride, stride=block.stride),
            ]
        super().__init__(*layers)


class Decoder(Sequential):
    """Latents ``[batch, latent_dim, frames]`` to audio ``[batch, 1, samples]``.

    The outputs of transposed convolutions do not overlap: kernel and stride are equal.
    """

    def __init__(self, config: LracConfig) -> None:
        layers: list[Streaming] = []
        width = config.latent_dim
        for block in config.decoder:
            layers += [
                elu(),
                ConvTranspose1d(
                    width,
                    block.channels,
                    block.stride,
                    stride=block.stride,
                    normalise_weight=True,
                ),
            ]
            width = block.channels
            layers += [residual_unit(width, unit) for unit in block.units]
        super().__init__(*layers, elu(), weight_norm_conv(width, 1, 21), Stateless(nn.Tanh()))


class Lrac(Model):
    """Encoder, residual vector quantizer with EMA codebooks, and decoder."""

    lost_frames = "repeat"  # measured, docs/explanation/streaming.md

    def __init__(self, config: LracConfig) -> None:
        quantizer = ResidualVectorQuantizer(
            config.latent_dim,
            config.codebooks,
            config.codebook_size,
            config.code_dim,
            EMALevel,
            count_folded=True,
            detach_residual=True,  # as the published code
        )
        super().__init__(config, Encoder(config), quantizer, Decoder(config))

    @torch.no_grad()
    def start(self, audio: Tensor) -> None:
        """Initialise the layers' scales from ``audio [batch, 1, samples]``; see `fit_scales`."""
        fit_scales(self.decoder, fit_scales(self.encoder, audio), float(audio.std()))
