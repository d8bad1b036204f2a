"""FocalCodec-Stream, a speech codec with one binary code every 20 ms (arXiv 2509.16195).

A causal WavLM extracts features, focal modulation compresses them to a few bits and back, and a
WaveNeXt vocoder turns them into audio. The paper does not list all sizes; they follow the authors'
code (github.com/lucadellalib/focalcodec) with ``causal=True``.
`tests/lab/models/test_focalcodec.py` compares the outputs with the authors' code.
`chirrup.lab.released.focalcodec` reads the authors' checkpoints. docs/papers/focalcodec-stream.md
lists all layers.

`FocalConfig.small` and the options ``whole_frames``, ``spectra``, ``chunk_codes``,
``code_refiners`` and ``voice_bands`` are additions of this package.
"""

from dataclasses import replace
from fractions import Fraction
from typing import cast

import torch
from torch import Tensor, nn

from chirrup.lab.models.focal_config import FocalConfig
from chirrup.lab.models.focal_features import Features
from chirrup.lab.models.model import Model
from chirrup.lab.nn import (
    GELU,
    ChunkLinear,
    Conv1d,
    FocalBlock,
    HarmonicNoise,
    LayerNorm,
    Linear,
    Refiner,
    Residual,
    Scale,
    Sequential,
    Snake,
    Span,
    State,
    Streaming,
    Transformer,
    fit_deviations,
)
from chirrup.lab.nn.harmonic_noise import PITCHES
from chirrup.lab.quantizers.bsq import BinarySphericalQuantizer


def focal_block(config: FocalConfig) -> FocalBlock:
    return FocalBlock(config.focal_dim, 4 * config.focal_dim, config.focal_kernels)


def code_linear(config: FocalConfig, channels: int, out_channels: int) -> Linear | ChunkLinear:
    """Return the layer next to the code's bits."""
    if config.chunk_codes:
        return ChunkLinear(channels, out_channels, config.chunk_frames)
    return Linear(channels, out_channels)


class Compressor(Sequential):
    """Features ``[batch, dim, frames]`` to latents ``[batch, bits, frames]``.

    The signs of the latents are the code.
    """

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
        layers += [Refiner(channels, config.chunk_frames) for _ in range(config.code_refiners)]
        super().__init__(*layers, code_linear(config, channels, config.bits))


class Decompressor(Sequential):
    """Bits of the codes, ``[batch, bits, frames]``, to features ``[batch, dim, frames]``."""

    def __init__(self, config: FocalConfig) -> None:
        layers: list[Streaming] = [code_linear(config, config.bits, config.focal_dim)]
        chunk = config.chunk_frames
        layers += [Refiner(config.focal_dim, chunk) for _ in range(config.code_refiners)]
        for block in range(config.focal_blocks):
            last = block == config.focal_blocks - 1
            layers += [
                focal_block(config),
                Snake(config.focal_dim),
                Linear(config.focal_dim, config.dim if last else config.focal_dim),
            ]
        super().__init__(*layers, Refiner(config.dim, chunk))


class WaveNeXtBlock(Residual):
    """A ConvNeXt block of WaveNeXt (Okamoto et al., ASRU 2023).

    Depthwise convolution, layer normalisation, feed-forward part and layer scale.
    """

    def __init__(self, dim: int, hidden_dim: int, first_scale: float) -> None:
        block = Sequential(
            Conv1d(dim, dim, 7, groups=dim),
            LayerNorm(dim, 1e-6),
            Linear(dim, hidden_dim),
            GELU(),
            Linear(hidden_dim, dim),
            Scale(dim, first_scale),
        )
        super().__init__(dim, block)


class Unfold(Streaming):
    """Reshape ``[batch, frame_samples, frames]`` to audio, clipped to full scale."""

    def __init__(self, frame_samples: int) -> None:
        super().__init__()
        self.frame_samples = frame_samples

    @property
    def ratio(self) -> Fraction:
        return Fraction(1, self.frame_samples)

    def span(self, span: Span) -> Span:
        return span[0] // self.frame_samples, span[1] // self.frame_samples

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return x.transpose(1, 2).flatten(1)[:, None].clamp(-1, 1), state


class Waveform(Sequential):
    """Features ``[batch, dim, frames]`` to audio ``[batch, 1, samples]``: a causal WaveNeXt.

    With ``config.voice_bands`` its last layer is a `HarmonicNoise`.
    """

    def __init__(self, config: FocalConfig) -> None:
        dim = config.waveform_dim
        blocks = [
            WaveNeXtBlock(dim, config.waveform_hidden_dim, 1 / config.waveform_blocks)
            for _ in range(config.waveform_blocks)
        ]
        controls, last = config.frame_samples, Unfold(config.frame_samples)
        if config.voice_bands:
            last = HarmonicNoise(config.sample_rate_hz, config.frame_samples, config.voice_bands)
            controls = last.channels
        super().__init__(
            Conv1d(config.dim, dim, 7),
            LayerNorm(dim, 1e-6),
            *blocks,
            LayerNorm(dim, 1e-6),
            Linear(dim, controls),
            last,
        )

    def controls(self, features: Tensor) -> Tensor:
        """Return the input of the last layer, ``[batch, channels, frames]``."""
        *layers, _ = self.layers
        for layer in layers:
            features = layer.offline(features)
        return features

    @torch.no_grad()
    def amplify(self, factor: Tensor) -> None:
        """Multiply the decoded audio by ``factor``, by a change of the weights."""
        *_, linear, last = self.layers
        if isinstance(last, HarmonicNoise):
            cast(Linear, linear).linear.bias[PITCHES:] += factor.log()
            return
        for parameter in linear.parameters():
            parameter *= factor


class FocalCodec(Model):
    """Features, compressor, binary spherical quantizer, decompressor and waveform."""

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
        """Return the parameters by the parts that the paper's training stages name.

        ``front`` is every layer before ``positions``, the positional convolution. ``bias`` is the
        table of the attention's relative bias, which is frozen while ``layers`` is trained.
        """
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
        """Return the transformer's input and the output of each of its layers.

        Args:
            audio: ``[batch, 1, samples]``.

        Returns:
            Features, each ``[batch, dim, frames]``.
        """
        *before, transformer = self.features.layers
        for layer in before:
            audio = layer.offline(audio)
        state = transformer.initial_state(audio.shape[0], audio.device)
        return cast(Transformer, transformer).by_layer(audio, state)[0]

    def decompressed(self, bits: Tensor, refine: bool = True) -> Tensor:
        """Return the features of ``bits [batch, bits, frames]``, with or without the refiner."""
        *layers, refiner = self.decompressor.layers
        for layer in [*layers, refiner] if refine else layers:
            bits = layer.offline(bits)
        return bits

    @torch.no_grad()
    def start(self, audio: Tensor) -> None:
        """Initialise the layers so that signals keep their variance, from ``audio``.

        The decoded audio starts at the level of ``audio``. Without this, different frames get
        different codes only after thousands of steps.

        Args:
            audio: ``[batch, 1, samples]``.
        """
        if self.config.spectra:
            self.features.start(audio)
        x = audio
        for part in (self.features, self.compressor):
            x = fit_deviations(part, x)
        bits = self.quantizer.decode(self.quantizer.encode(x))
        features = fit_deviations(self.decompressor, bits)
        self.waveform.amplify(audio.std() / self.waveform.offline(features).std())

    def narrow(self) -> "FocalCodec":
        """Return a model with as many layers, fewer channels, less past and random weights."""
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
