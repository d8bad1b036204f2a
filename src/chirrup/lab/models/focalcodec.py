"""FocalCodec-Stream: speech as one binary code every 20 ms (seed 002_f9e29f5640507f45).

A causal WavLM whose features focal modulation compresses to a few bits and back, and a WaveNeXt
that makes audio of them. `tests/lab/models/test_focalcodec.py` holds the layers to the published
size, and to the outputs of the authors' code; `released.py` reads their checkpoints.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import cast

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
        whole_frames: whether the convolutions on the waveform hear a frame to its end. The
            published ones hear its first sample only, so that the last 20 ms of each chunk, though
            waited for, are guessed.
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
    whole_frames: bool = False

    def __post_init__(self) -> None:
        stride = prod(self.front_strides)
        if stride * self.sample_rate_hz != self.frame_samples * self.input_rate_hz:
            raise ValueError("a frame must be as long at the decoder as at the encoder")

    @classmethod
    def small(cls) -> "FocalConfig":
        """Not in the paper: for a part of one CPU core, live, and for training without a GPU.

        It looks back 2.6 s, not 10, so that crops of a few seconds teach it all that it will meet.
        Fewer channels than ``frame_samples`` before the waveform would cut its upper band.
        """
        return cls(
            front_dim=128,
            dim=256,
            layers=4,
            heads=8,
            hidden_dim=1024,
            bias_buckets=64,
            bias_max_distance=128,
            window_frames=128,
            focal_dim=256,
            focal_kernels=(14, 18, 128),
            whole_frames=True,
            waveform_dim=512,
            waveform_hidden_dim=1024,
            waveform_blocks=6,
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
            ahead = stride - 1 if config.whole_frames else 0
            conv = ReplicatedConv1d(
                channels, config.front_dim, kernel, stride=stride, bias=False, ahead=ahead
            )
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

    has_features = True

    def __init__(self, config: FocalConfig) -> None:
        super().__init__(
            config,
            Sequential(Features(config), Compressor(config)),
            BinarySphericalQuantizer(config.bits),
            Sequential(Decompressor(config), Waveform(config)),
        )

    @property
    def features(self) -> Features:
        return cast(Features, self.encoder.layers[0])

    @property
    def compressor(self) -> Compressor:
        return cast(Compressor, self.encoder.layers[1])

    @property
    def decompressor(self) -> Decompressor:
        return cast(Decompressor, self.decoder.layers[0])

    @property
    def waveform(self) -> Waveform:
        return cast(Waveform, self.decoder.layers[1])

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """By the stages of the paper's training: ``front`` is all before ``positions``, the
        positional convolution, and ``bias`` the table of the attention, frozen while ``layers``
        learn."""
        *front, positions, transformer = self.features.layers
        *decompressor, refiner = self.decompressor.layers
        bias = cast(Transformer, transformer).bias
        modules = {
            "front": front,
            "positions": [positions],
            "bias": [bias],
            "layers": [cast(Transformer, transformer).layers],
            "compressor": [self.compressor],
            "decompressor": decompressor,
            "refiner": [refiner],
            "waveform": [self.waveform],
        }
        return {
            name: [parameter for module in some for parameter in module.parameters()]
            for name, some in modules.items()
        }

    def features_by_layer(self, audio: Tensor) -> list[Tensor]:
        """Of ``audio [batch, 1, samples]``, ``[batch, dim, frames]`` each: before the transformer's
        first layer, and after each."""
        *before, transformer = self.features.layers
        for layer in before:
            audio = layer.offline(audio)
        state = transformer.initial_state(audio.shape[0], audio.device)
        return cast(Transformer, transformer).by_layer(audio, state)[0]

    def decompressed(self, bits: Tensor, refine: bool = True) -> Tensor:
        """Features of ``bits [batch, bits, frames]``, also without the refiner."""
        *layers, refiner = self.decompressor.layers
        for layer in [*layers, refiner] if refine else layers:
            bits = layer.offline(bits)
        return bits

    @torch.no_grad()
    def start(self, audio: Tensor) -> None:
        """Before training: let what comes out of features at random be as loud as ``audio``."""
        features = torch.randn(1, self.config.dim, 100, device=audio.device)
        *_, head, _ = self.waveform.layers
        share = audio.std() / self.waveform.offline(features).std()
        for parameter in head.parameters():
            parameter *= share

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
