"""FocalCodec-Stream: speech as one binary code every 20 ms (seed 002_f9e29f5640507f45).

A causal WavLM whose features focal modulation compresses to a few bits and back, and a WaveNeXt
that makes audio of them. `tests/lab/models/test_focalcodec.py` holds the layers to the published
size, and to the outputs of the authors' code; `released.py` reads their checkpoints.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod

import torch
from torch import Tensor, nn

from chirrup.lab.models.model import Model
from chirrup.lab.nn import (
    Conv1d,
    FocalBlock,
    LayerNorm,
    Linear,
    Refiner,
    ReplicatedConv1d,
    Residual,
    Scale,
    Sequential,
    Snake,
    State,
    Stateless,
    Streaming,
    Transformer,
)
from chirrup.lab.quantizers.bsq import BinarySphericalQuantizer


@dataclass(frozen=True)
class FocalConfig:
    """The published sizes; the codecs of 0.55, 0.60 and 0.80 kbit/s differ in ``bits`` only.

    | | parameters (M) | billion multiplications a second, attention's products left out |
    |---|---|---|
    | features, compressor | 88.71, 42.63 | 6.68, 2.13 |
    | decompressor, waveform | 76.19, 41.51 | 2.55, 2.07 |
    | all | 249.04 | 13.4 |

    Attributes:
        input_rate_hz, sample_rate_hz: of what the encoder hears, and of what the decoder makes.
        chunk_frames: frames that see each other, in attention and refiner; all else is causal. A
            call of encoder or decoder is a whole number of such chunks.
        front_dim: channels of the convolutions on the waveform.
        window_frames: a chunk attends to so many frames at most, itself among them.
        focal_kernels: of focal modulation, each upon the one before.
    """

    bits: int = 16
    front_dim: int = 512
    front_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    front_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    dim: int = 1024
    layers: int = 6
    heads: int = 16
    hidden_dim: int = 4096
    position_kernel: int = 128
    position_groups: int = 16
    bias_buckets: int = 320
    bias_max_distance: int = 800
    window_frames: int = 512
    focal_dim: int = 1024
    focal_blocks: int = 3
    focal_kernels: tuple[int, ...] = (14, 18, 512)
    waveform_dim: int = 1024
    waveform_hidden_dim: int = 2048
    waveform_blocks: int = 8
    frame_samples: int = 480
    chunk_frames: int = 4
    input_rate_hz: int = 16_000
    sample_rate_hz: int = 24_000
    codebooks: int = 1

    def __post_init__(self) -> None:
        stride = prod(self.front_strides)
        if stride * self.sample_rate_hz != self.frame_samples * self.input_rate_hz:
            raise ValueError("a frame must be as long at the decoder as at the encoder")

    @classmethod
    def small(cls) -> "FocalConfig":
        """Not in the paper: for a part of one CPU core, live, and for training without a GPU."""
        return cls(
            front_dim=128,
            dim=256,
            layers=4,
            heads=8,
            hidden_dim=1024,
            focal_dim=256,
            waveform_dim=256,
            waveform_hidden_dim=768,
        )

    @property
    def codebook_size(self) -> int:
        return 2**self.bits


def gelu() -> Streaming:
    return Stateless(nn.GELU())


class Features(Sequential):
    """Audio ``[batch, 1, samples]`` to features ``[batch, dim, frames]``: the causal WavLM."""

    def __init__(self, config: FocalConfig) -> None:
        layers: list[Streaming] = []
        channels = 1
        for kernel, stride in zip(config.front_kernels, config.front_strides, strict=True):
            conv = ReplicatedConv1d(channels, config.front_dim, kernel, stride=stride, bias=False)
            channels = config.front_dim
            layers += [conv, LayerNorm(channels), gelu()]
        position = ReplicatedConv1d(
            config.dim, config.dim, config.position_kernel, groups=config.position_groups
        )
        super().__init__(
            *layers,
            LayerNorm(channels),
            Linear(channels, config.dim),
            Residual(config.dim, Sequential(position, gelu())),
            Transformer(
                config.dim,
                layers=config.layers,
                heads=config.heads,
                hidden=config.hidden_dim,
                chunk=config.chunk_frames,
                window=config.window_frames,
                buckets=config.bias_buckets,
                max_distance=config.bias_max_distance,
            ),
        )


def focal_block(config: FocalConfig) -> FocalBlock:
    return FocalBlock(config.focal_dim, 4 * config.focal_dim, config.focal_kernels)


class Compressor(Sequential):
    """Features to latents ``[batch, bits, frames]``, whose signs are the code."""

    def __init__(self, config: FocalConfig) -> None:
        layers: list[Streaming] = []
        channels = config.dim
        for _ in range(config.focal_blocks):
            layers += [
                Linear(channels, config.focal_dim),
                Snake(config.focal_dim),
                focal_block(config),
            ]
            channels = config.focal_dim
        super().__init__(*layers, Linear(channels, config.bits))


class Decompressor(Sequential):
    """Codes' bits ``[batch, bits, frames]`` to features ``[batch, dim, frames]``."""

    def __init__(self, config: FocalConfig) -> None:
        layers: list[Streaming] = [Linear(config.bits, config.focal_dim)]
        for block in range(config.focal_blocks):
            last = block == config.focal_blocks - 1
            layers += [
                focal_block(config),
                Snake(config.focal_dim),
                Linear(config.focal_dim, config.dim if last else config.focal_dim),
            ]
        super().__init__(*layers, Refiner(config.dim, config.chunk_frames))


class ConvNeXtBlock(Residual):
    """Depthwise convolution, norm and a feed-forward part behind a layer scale."""

    def __init__(self, dim: int, hidden_dim: int, first_scale: float) -> None:
        block = Sequential(
            Conv1d(dim, dim, 7, groups=dim),
            LayerNorm(dim, 1e-6),
            Linear(dim, hidden_dim),
            gelu(),
            Linear(hidden_dim, dim),
            Scale(dim, first_scale),
        )
        super().__init__(dim, block)


class Unfold(Streaming):
    """Each frame's channels are its samples: ``[batch, 1, samples]``, cut to full scale."""

    def __init__(self, frame_samples: int) -> None:
        super().__init__()
        self.frame_samples = frame_samples

    @property
    def ratio(self) -> Fraction:
        return Fraction(1, self.frame_samples)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return x.transpose(1, 2).flatten(1)[:, None].clamp(-1, 1), state


class Waveform(Sequential):
    """Features to audio ``[batch, 1, samples]``: WaveNeXt, causal."""

    def __init__(self, config: FocalConfig) -> None:
        dim = config.waveform_dim
        blocks = [
            ConvNeXtBlock(dim, config.waveform_hidden_dim, 1 / config.waveform_blocks)
            for _ in range(config.waveform_blocks)
        ]
        super().__init__(
            Conv1d(config.dim, dim, 7),
            LayerNorm(dim, 1e-6),
            *blocks,
            LayerNorm(dim, 1e-6),
            Linear(dim, config.frame_samples),
            Unfold(config.frame_samples),
        )


class FocalCodec(Model):
    """Features and compressor, binary spherical quantizer, decompressor and waveform."""

    def __init__(self, config: FocalConfig) -> None:
        super().__init__(
            config,
            Sequential(Features(config), Compressor(config)),
            BinarySphericalQuantizer(config.bits),
            Sequential(Decompressor(config), Waveform(config)),
        )

    def outline(self) -> "FocalCodec":
        with torch.device("meta"):
            return FocalCodec(self.config)

    def narrow(self) -> "FocalCodec":
        """As many layers, with random weights; of the past, which is not late, it sees less."""
        narrow = replace(
            self.config,
            window_frames=4 * self.chunk_frames,
            focal_kernels=(4, 6, 8),
            front_dim=8,
            dim=16,
            heads=2,
            hidden_dim=16,
            position_groups=4,
            focal_dim=16,
            waveform_dim=16,
            waveform_hidden_dim=16,
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return FocalCodec(narrow)
