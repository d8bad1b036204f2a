"""What an encoder may hear in place of a waveform: its spectra, of two resolutions."""

from fractions import Fraction

import torch
from torch import Tensor

from chirrup.lab.nn.stft import STFT
from chirrup.lab.nn.streaming import Span, State, Streaming, strided


class LogSpectra(Streaming):
    """Audio ``[batch, 1, samples]`` to logarithms of power ``[batch, channels, frames]``.

    Of a window of two frames the lowest bins, which tell a voice's pitch; and of windows half a
    frame long and a quarter apart, all bins. None reaches beyond its frame.

    Attributes:
        mean, scale: of each channel, ``[channels, 1]``: what `fit` found, so that all vary alike.
            Else the loudness of a frame, which all share, would hide its shape.
    """

    mean: Tensor
    scale: Tensor

    LOWEST = 64
    QUIET = 1e-6
    """Power where the logarithm ends: white noise 79 dB below full scale."""

    def __init__(self, frame_samples: int) -> None:
        super().__init__()
        self.frame_samples = self.context = frame_samples
        self.long = STFT(2 * frame_samples, frame_samples)
        self.short = STFT(frame_samples // 2, frame_samples // 4)
        self.register_buffer("mean", torch.zeros(self.channels, 1))
        self.register_buffer("scale", torch.ones(self.channels, 1))

    @property
    def channels(self) -> int:
        return self.LOWEST + 4 * (self.frame_samples // 4 + 1)

    @property
    def ratio(self) -> Fraction:
        return Fraction(self.frame_samples)

    def span(self, span: Span) -> Span:
        return strided(span, self.frame_samples, self.frame_samples)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        after: State = {}
        long = self._level(self.run("long", x, state, after))[:, : self.LOWEST]
        short = self._level(self.run("short", x, state, after)).unflatten(2, (-1, 4))
        levels = torch.cat([long, short.transpose(2, 3).flatten(1, 2)], dim=1)
        return (levels - self.mean) / self.scale, after

    def _level(self, spectrum: Tensor) -> Tensor:
        real, imaginary = spectrum.chunk(2, dim=1)
        return (real.square() + imaginary.square() + self.QUIET).log()

    @torch.no_grad()
    def fit(self, audio: Tensor) -> None:
        """Standardise by ``audio [batch, 1, samples]``, a whole number of frames."""
        self.mean.zero_()
        self.scale.fill_(1.0)
        levels = self.offline(audio)
        self.mean.copy_(levels.mean(dim=(0, 2))[:, None])
        self.scale.copy_(levels.std(dim=(0, 2))[:, None])
