"""What every codec is to training, audit and export: an encoder, a quantizer and a decoder."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from chirrup.lab.nn import Sequential
from chirrup.lab.quantizers.quantizer import Quantized, Quantizer


class Config(Protocol):
    """What the configuration of any model says.

    It may also have ``input_rate_hz``, where the encoder hears another rate than that of the
    decoder's audio, and ``chunk_frames``, where frames are coded several at once.
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
    """A codec.

    Attributes:
        sample_rate_hz, frame_samples, delay_samples: of the audio that comes out.
        input_rate_hz, input_frame_samples: of the audio that goes in.
        chunk_frames: a call of the encoder or the decoder is a whole number of so many frames.
        channels: that are coded jointly; 1 for the models that code each by itself.
        has_features: whether the decoder's first layer gives features that are compared between
            speakers, and its second one makes audio of them: those can be another voice's.
    """

    channels: int = 1
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
        """How late the output is beside the input, buffering of a frame left out."""
        frames = self.encoder.delay / self.input_frame_samples + self.decoder.delay
        return int(frames * self.frame_samples)

    @property
    def codebook_bps(self) -> float:
        """Bitrate of one codebook."""
        bits = (self.codebook_size - 1).bit_length()
        return bits * self.sample_rate_hz / self.frame_samples

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Parameters of the parts that a stage of a training can name, each in one of them."""
        names = ("encoder", "quantizer", "decoder")
        return {name: list(self.get_submodule(name).parameters()) for name in names}

    def on_meta(self) -> "Model":
        """What is counted instead of the model: itself, or one of its shape but without values."""
        return self

    def narrow(self) -> "Model":
        """What is tried instead of the model for its latency: itself, or one of fewer channels."""
        return self

    def start(self, audio: Tensor) -> None:
        """Before training: fit scales to ``audio [batch, channels, samples]``, where a model needs
        it. Mono is `tiled`."""

    def scale_latents(self, factor: float) -> bool:
        """Multiply the latents, and let the decoder undo it; False where a model needs it not."""
        return False

    def tiled(self, audio: Tensor) -> Tensor:
        """``[batch, 1, samples]`` repeated to all channels; audio that has them is as it was."""
        return audio.expand(-1, self.channels, -1) if audio.shape[1] == 1 else audio

    def forward(
        self,
        audio: Tensor,
        used: Tensor | None,
        bypass: Tensor,
        present: Tensor,
        committed: Tensor | None = None,
    ) -> tuple[Tensor, Quantized | None]:
        """Code and decode for training.

        Args:
            audio: ``[batch, channels, samples]`` at ``input_rate_hz``, a whole number of chunks of
                frames; mono is `tiled`.
            used: codebooks that each row uses, ``int64 [batch]``; None leaves the quantizer out.
            bypass: rows whose latents go to the decoder unquantized, ``bool [batch]``.
            present: frames that arrive, ``bool [batch, frames]``; a lost one is a zero latent.
            committed: rows that count for the commitment, ``bool [batch]``; None is all.

        Returns:
            Audio ``[batch, channels, samples]`` at ``sample_rate_hz``, ``delay_samples`` late, and
            the quantizer's result.
        """
        latent = self.encoder.offline(self.tiled(audio))
        if used is None:
            return self.decoder.offline(self.quantizer.bypassed(latent) * present[:, None]), None
        quantized = self.quantized(latent, used, committed)
        latent = torch.where(
            bypass[:, None, None], self.quantizer.bypassed(latent), quantized.latent
        )
        return self.decoder.offline(latent * present[:, None]), quantized

    def quantized(self, latent: Tensor, used: Tensor, committed: Tensor | None = None) -> Quantized:
        """The quantizer's result for ``latent [batch, latent_dim, frames]``, in single precision
        whatever the autocast; the rest as `forward` has it."""
        with torch.autocast(latent.device.type, enabled=False):
            return self.quantizer(latent.float(), used, committed)
