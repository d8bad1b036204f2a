"""IRIS, Internet Real-time Intelligent Streaming Codec, the winner of LRAC 2025 track 1.

Source: the authors' poster for the LRAC Challenge 2025 (ByteDance;
crowdsourcing.cisco.com/lrac-challenge/2025). It gives widths, complexity and parameter counts, but
leaves these points open:

- the encoder's residual units: two designs here match the counts, see `UNITS`;
- the decoder's blocks: a plain Conv2Former block costs twice the poster's budget. Here the
  feed-forward part has two groups and the depthwise kernel has 15 steps;
- window and spectral head: square root of a Hann window, log-magnitude and phase.

`tests/lab/models/test_iris.py` compares the counts with the poster.
docs/papers/iris.md lists all layers.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from chirrup.lab import fast
from chirrup.lab.fast.residual_unit import residual_unit
from chirrup.lab.models.model import Model
from chirrup.lab.nn import (
    GRU,
    ISTFT,
    STFT,
    Conv1d,
    Conv2FormerBlock,
    LayerNorm,
    MatrixISTFT,
    OneStepConv,
    OneStepConv2Former,
    Residual,
    Scale,
    Sequential,
    SnakeBeta,
    SpectralHead,
    State,
    Stateless,
    Streaming,
    fit_scales,
)
from chirrup.lab.quantizers.rvq import ResidualVectorQuantizer


@dataclass(frozen=True)
class UnitDesign:
    """The residual units of one level of the encoder.

    Attributes:
        kernel_size: kernel size of the first, dilated convolution.
        expansion: factor by which the first convolution widens the channels. The second
            convolution, of kernel size 1, contracts them again.
        dilations: dilation of each unit.
    """

    kernel_size: int
    expansion: int
    dilations: tuple[int, ...]


UNITS = {"expanding": UnitDesign(5, 2, (1, 3)), "plain": UnitDesign(7, 1, (1, 3, 9))}
"""Both designs match the poster's counts. "expanding" has the poster's "feature expansion and
contraction"; "plain" is the design of the iris-t1 and iris-t2 weights in chirrup 0.1."""


@dataclass(frozen=True)
class IrisConfig:
    """The poster's configuration for track 1; `track_2` returns the one for track 2."""

    encoder_dim: int = 12
    encoder_groups: int = 4
    latent_dim: int = 256
    decoder_dim: int = 372
    decoder_hidden_dim: int = 380
    sample_rate_hz: int = 24_000
    strides: tuple[int, ...] = (3, 4, 5, 8)
    encoder_units: Literal["expanding", "plain"] = "expanding"
    codebooks: int = 12
    codebook_size: int = 1024
    code_dim: int = 8
    decoder_blocks: int = 8
    decoder_kernel_size: int = 15
    decoder_block: Literal["conv2former", "convnext"] = "conv2former"

    CHECKPOINT_DEFAULTS: ClassVar[dict[str, Any]] = {"encoder_units": "plain"}
    """Values for checkpoints that were written before the field existed."""

    @classmethod
    def track_2(cls) -> "IrisConfig":
        return cls(32, 8, 512, 512, 620)

    @property
    def frame_samples(self) -> int:
        samples = 1
        for stride in self.strides:
            samples *= stride
        return samples


class ResidualUnit(Residual):
    """SnakeBeta, dilated convolution, SnakeBeta, 1x1 convolution, with a skip connection.

    Both convolutions are grouped.
    """

    def __init__(
        self, channels: int, dilation: int, groups: int, kernel_size: int, expansion: int
    ) -> None:
        hidden = expansion * channels
        block = Sequential(
            SnakeBeta(channels),
            Conv1d(
                channels,
                hidden,
                kernel_size,
                dilation=dilation,
                groups=groups,
                normalise_weight=True,
            ),
            SnakeBeta(hidden),
            Conv1d(hidden, channels, 1, groups=groups, normalise_weight=True),
        )
        super().__init__(channels, block)
        self.fast = False

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if not (self.fast and fast.runs_on(x)):
            return super().forward(x, state)
        snake_1, inner, snake_2, outer = self.block.children()
        snakes = [cast(SnakeBeta, snake).parameters_of_sine() for snake in (snake_1, snake_2)]
        convs = [cast(Conv1d, conv).conv for conv in (inner, outer)]
        past = state["block.1.past"]
        y, past = residual_unit(x, past, snakes[0], convs[0], snakes[1], convs[1])
        return y, {"block.1.past": past}


class Encoder(Sequential):
    """Audio ``[batch, 1, samples]`` to latents ``[batch, latent_dim, frames]``.

    The GRU has a skip connection, which the poster does not state: training is faster, and a
    saturated GRU does not block the signal.
    """

    def __init__(self, config: IrisConfig) -> None:
        channels, groups = config.encoder_dim, config.encoder_groups
        units = UNITS[config.encoder_units]
        layers: list[Streaming] = [Conv1d(1, channels, 7, normalise_weight=True)]
        for stride in config.strides:
            layers += [
                ResidualUnit(channels, dilation, groups, units.kernel_size, units.expansion)
                for dilation in units.dilations
            ]
            layers += [
                SnakeBeta(channels),
                Conv1d(channels, 2 * channels, 2 * stride, stride=stride, normalise_weight=True),
            ]
            channels *= 2
        layers += [
            SnakeBeta(channels),
            Conv1d(channels, config.latent_dim, 3, normalise_weight=True),
            Residual(config.latent_dim, GRU(config.latent_dim, config.latent_dim)),
        ]
        super().__init__(*layers)


class ConvNeXtBlock(Residual):
    """A ConvNeXt block (arXiv 2201.03545), for the ablation in the poster's section 7.

    It has as many parameters as the `Conv2FormerBlock` that it replaces.
    """

    def __init__(self, dim: int, hidden_dim: int, kernel_size: int) -> None:
        wide = (dim + hidden_dim) // 2
        block = Sequential(
            Conv1d(dim, dim, kernel_size, groups=dim),
            LayerNorm(dim),
            Conv1d(dim, wide, 1),
            Stateless(nn.GELU()),
            Conv1d(wide, dim, 1),
            Scale(dim, 0.1),
        )
        super().__init__(dim, block)


BLOCKS = {"conv2former": Conv2FormerBlock, "convnext": ConvNeXtBlock}


SCATTERED_HZ = 2000
"""Lowest frequency whose initial phase is random; see `Iris.scatter_phases`."""
SCATTER = 0.2
"""Standard deviation of a phase, in radians, per standard deviation of each feature."""


class Decoder(Sequential):
    """Latents ``[batch, latent_dim, frames]`` to audio ``[batch, 1, samples]``, half a frame late.

    The window of a frame is two frames long: half a frame of past, the frame, and half a frame of
    look-ahead (poster, "System latency description").
    """

    def __init__(self, config: IrisConfig) -> None:
        dim = config.decoder_dim
        n_fft = 2 * config.frame_samples
        blocks = [
            BLOCKS[config.decoder_block](dim, config.decoder_hidden_dim, config.decoder_kernel_size)
            for _ in range(config.decoder_blocks)
        ]
        super().__init__(
            Conv1d(config.latent_dim, dim, 3), *blocks, SpectralHead(dim, n_fft), ISTFT(n_fft)
        )

    def one_frame(self) -> Streaming:
        blocks = self.layers[1:-2]
        modulates = all(isinstance(block, Conv2FormerBlock) for block in blocks)
        return OneFrameDecoder(self) if modulates else self


class OneFrameDecoder(Streaming):
    """`Decoder` for exactly one frame of one stream, ``[1, latent_dim, 1]``, in half the time.

    Without a time axis every layer is a matrix product.

    Args:
        decoder: a `Decoder` of Conv2Former blocks, in its exported form.
    """

    def __init__(self, decoder: Sequential) -> None:
        super().__init__()
        first, *blocks, head, istft = decoder.layers
        self.names = list(decoder.initial_state(1))
        self.first = OneStepConv(cast(Conv1d, first))
        self.blocks = nn.ModuleList(
            OneStepConv2Former(cast(Conv2FormerBlock, block)) for block in blocks
        )
        self.head = OneStepConv(cast(SpectralHead, head).project)
        self.register_buffer("signs", cast(SpectralHead, head).signs[:, 0].clone())
        self.istft = cast(MatrixISTFT, istft)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        first, *pasts, overlap = (state[name] for name in self.names)
        x, past = self.first(x[:, :, 0], first)
        after = [past]
        for block, before in zip(self.blocks, pasts, strict=True):
            x, past = block(x, before)
            after.append(past)
        log_magnitude, phase = self.head(x)[0].chunk(2, dim=1)
        magnitude = self.get_buffer("signs") * log_magnitude.clamp(max=6.0).exp()
        even = (magnitude * phase.cos()) @ self.istft.get_buffer("cosines")
        odd = (magnitude * phase.sin()) @ self.istft.get_buffer("sines")
        hop, window = self.istft.hop, self.istft.get_buffer("window")
        audio = (even - odd)[:, None, :hop] * window[:hop] + overlap
        after.append((even + odd)[:, None, 1:].flip(2) * window[hop:])
        return audio, dict(zip(self.names, after, strict=True))


class Iris(Model):
    """Encoder, quantizer and decoder."""

    def __init__(self, config: IrisConfig) -> None:
        quantizer = ResidualVectorQuantizer(
            config.latent_dim, config.codebooks, config.codebook_size, config.code_dim
        )
        super().__init__(config, Encoder(config), quantizer, Decoder(config))

    @torch.no_grad()
    def start(self, audio: Tensor) -> None:
        """Initialise encoder and spectral head from ``audio [batch, 1, samples]``.

        The head's biases start at the mean log-magnitude spectrum and at random phases: with all
        bins in phase, a frame would be a click. Phases of high bins also differ from frame to frame
        (`scatter_phases`).
        """
        fit_scales(self.encoder, audio)
        head = self.decoder.layers[-2]
        assert isinstance(head, SpectralHead)
        spectrum = STFT(2 * self.frame_samples, self.frame_samples).to(audio.device).offline(audio)
        real, imaginary = spectrum.chunk(2, dim=1)
        log_magnitude = 0.5 * (real.square() + imaginary.square() + 1e-8).log()
        bias = cast(Tensor, head.project.conv.bias)
        bias[: head.bins] = log_magnitude.mean((0, 2))
        nn.init.uniform_(bias[head.bins :], -torch.pi, torch.pi)
        self.scatter_phases(self.encoder.offline(audio))

    @torch.no_grad()
    def scatter_phases(self, latents: Tensor) -> None:
        """Initialise the phases above `SCATTERED_HZ` as random projections of the features.

        The bitrate is too low to code these phases. Without this step every frame starts with one
        phase pattern. Only a discriminator's loss penalises such repetition, so training would keep
        it, and it sounds like a buzz at the frame rate.

        Args:
            latents: ``[batch, latent_dim, frames]``; they give the features' standard deviations.
        """
        *layers, head, _ = self.decoder.layers
        assert isinstance(head, SpectralHead)
        features = latents
        for layer in layers:
            features = layer.offline(features)
        deviation, mean = torch.std_mean(features, (0, 2))
        first = head.bins + round(SCATTERED_HZ * 2 * self.frame_samples / self.sample_rate_hz)
        weight, bias = head.project.conv.weight, cast(Tensor, head.project.conv.bias)
        turns = SCATTER * torch.randn_like(weight[first:, :, 0]) / deviation.clamp(min=1e-6)
        weight[first:, :, 0] += turns
        bias[first:] -= turns @ mean
