"""Log spectra in two resolutions, as the input of an encoder instead of the waveform."""

from fractions import Fraction

import torch
from torch import Tensor

from chirrup.lab.nn.stft import STFT
from chirrup.lab.nn.streaming import Span, State, Streaming, strided


class LogSpectra(Streaming):
    """Audio ``[batch, 1, samples]`` to log power spectra ``[batch, channels, frames]``.

    The channels of a frame are the lowest bins of a window of two frames, which contain the pitch,
    and all bins of four windows of half a frame with a hop of a quarter frame. No window extends
    beyond the end of its frame.

    Attributes:
        mean, scale: mean and standard deviation of each channel, ``[channels, 1]``, set by `fit`.
            Without this, the loudness of a frame would dominate its spectral shape.
    """

    mean: Tensor
    scale: Tensor

    LOWEST = 64
    """Number of bins of the long window."""
    QUIET = 1e-6
    """Power added before the logarithm; white noise at -79 dB full scale has it."""

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
        """Set mean and scale from ``audio [batch, 1, samples]``, a whole number of frames."""
        self.mean.zero_()
        self.scale.fill_(1.0)
        levels = self.offline(audio)
        self.mean.copy_(levels.mean(dim=(0, 2))[:, None])
        self.scale.copy_(levels.std(dim=(0, 2))[:, None])
