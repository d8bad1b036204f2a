"""The base class of all models: `Model`, an encoder, a quantizer and a decoder.

Training, audit and export use a codec through this class only.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from chirrup.lab.nn import Sequential
from chirrup.lab.quantizers.quantizer import Quantized, Quantizer


class Config(Protocol):
    """Fields that the configuration of every model has.

    A configuration may also have ``input_rate_hz``, if the encoder's sample rate differs from
    ``sample_rate_hz``, and ``chunk_frames``, if the model codes several frames at once.
    """

    @property
    def sample_rate_hz(self) -> int: ...
    @property
    def frame_samples(self) -> int: ...
    @property
    def codebooks(self) -> int: ...
    @property
    def codebook_size(self) -> int: ...


class Model(nn.Module):
    """A codec in PyTorch.

    Attributes:
        sample_rate_hz: sample rate of the decoded audio.
        frame_samples: samples of a frame at ``sample_rate_hz``.
        input_rate_hz: sample rate of the encoder's input.
        input_frame_samples: samples of a frame at ``input_rate_hz``.
        chunk_frames: a call of the encoder or the decoder takes a multiple of this many frames.
        channels: number of channels that are coded jointly; 1 if each channel is coded alone.
        lost_frames: how a decoder conceals lost frames, as in `ModelSpec`.
        has_features: whether the decoder's first layer returns speech features and its second
            layer turns features into audio. Such a model supports voice conversion.
    """

    channels: int = 1
    lost_frames: str = "model"
    has_features: bool = False

    def __init__(
        self,
        config: Config,
        encoder: Sequential,
        quantizer: Quantizer,
        decoder: Sequential,
    ) -> None:
        super().__init__()
        self.config: Any = config
        self.encoder, self.decoder = encoder, decoder
        self.quantizer = quantizer
        self.sample_rate_hz, self.frame_samples = config.sample_rate_hz, config.frame_samples
        self.codebooks, self.codebook_size = config.codebooks, config.codebook_size
        self.input_rate_hz: int = getattr(config, "input_rate_hz", config.sample_rate_hz)
        self.input_frame_samples = self.frame_samples * self.input_rate_hz // self.sample_rate_hz
        self.chunk_frames: int = getattr(config, "chunk_frames", 1)

    @property
    def delay_samples(self) -> int:
        """Delay of the output against the input, at ``sample_rate_hz``, without frame buffering."""
        frames = self.encoder.delay / self.input_frame_samples + self.decoder.delay
        return int(frames * self.frame_samples)

    @property
    def codebook_bps(self) -> float:
        """Bitrate of one codebook in bit/s."""
        bits = (self.codebook_size - 1).bit_length()
        return bits * self.sample_rate_hz / self.frame_samples

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of each part that a training stage can name.

        Every parameter belongs to exactly one part.
        """
        names = ("encoder", "quantizer", "decoder")
        return {name: list(self.get_submodule(name).parameters()) for name in names}

    def narrow(self) -> "Model":
        """Return the model, or one with fewer channels and the same latency, to measure latency."""
        return self

    def start(self, audio: Tensor) -> None:
        """Initialise weights from ``audio [batch, channels, samples]`` before training.

        Mono input is `tiled`. By default nothing changes.
        """

    def scale_latents(self, factor: float) -> bool:
        """Multiply the latents by ``factor`` and divide by it in the decoder, in place.

        Returns:
            False if the model does not support it; then nothing changes.
        """
        return False

    def tiled(self, audio: Tensor) -> Tensor:
        """Repeat ``[batch, 1, samples]`` to all channels; return other audio unchanged."""
        return audio.expand(-1, self.channels, -1) if audio.shape[1] == 1 else audio

    def forward(
        self,
        audio: Tensor,
        used: Tensor | None,
        bypass: Tensor,
        present: Tensor,
        committed: Tensor | None = None,
        error: Callable[[Quantized], Tensor] | None = None,
    ) -> tuple[Tensor, Quantized | None]:
        """Encode, quantize and decode for training.

        Args:
            audio: ``[batch, channels, samples]`` at ``input_rate_hz``, a whole number of chunks of
                frames; mono is `tiled`.
            used: number of codebooks that each row uses, ``int64 [batch]``. None bypasses the
                quantizer.
            bypass: rows whose latents go to the decoder unquantized, ``bool [batch]``.
            present: frames that arrive, ``bool [batch, frames]``; a lost frame is a zero latent.
            committed: rows that count in the commitment loss, ``bool [batch]``; None is all.
            error: returns what wrong bits add to the quantized latent; None if no bit is wrong.

        Returns:
            Audio ``[batch, channels, samples]`` at ``sample_rate_hz``, ``delay_samples`` late, and
            the quantizer's result.
        """
        latent = self.encoder.offline(self.tiled(audio))
        if used is None:
            return self.decoder.offline(self.quantizer.bypassed(latent) * present[:, None]), None
        quantized = self.quantized(latent, used, committed)
        received = self.received(latent, quantized, bypass, present, error)
        return self.decoder.offline(received), quantized

    def received(
        self,
        latent: Tensor,
        quantized: Quantized,
        bypass: Tensor,
        present: Tensor,
        error: Callable[[Quantized], Tensor] | None,
    ) -> Tensor:
        """Return the decoder's input in training, ``[batch, latent_dim, frames]``.

        The arguments are the encoder's and the quantizer's result and the arguments of `forward`.
        """
        decodable = quantized.latent if error is None else quantized.latent + error(quantized)
        whole = torch.where(bypass[:, None, None], self.quantizer.bypassed(latent), decodable)
        return whole * present[:, None]

    def quantized(self, latent: Tensor, used: Tensor, committed: Tensor | None = None) -> Quantized:
        """Quantize ``latent [batch, latent_dim, frames]`` in float32, also under autocast.

        The other arguments are the arguments of `forward`.
        """
        with torch.autocast(latent.device.type, enabled=False):
            return self.quantizer(latent.float(), used, committed)
