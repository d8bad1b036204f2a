"""A differentiable harmonic-plus-noise synthesizer for speech.

The source is a pulse train plus noise (Serra and Smith, "Spectral modeling synthesis", Computer
Music Journal 14(4), 1990). Each has a time-varying filter. As in DDSP (arXiv 2001.04643), gradients
pass through the filters. The synthesizer computes phases that continue from frame to frame, which a
network that returns samples has to learn from data.
"""

from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from math import log2

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chirrup.lab import fast
from chirrup.lab.fast.filtered_spectra import filtered_pieces
from chirrup.lab.nn.streaming import Span, State, Streaming, transposed

PITCHES = 256
"""Number of pitches, evenly spaced on a logarithmic scale, 16 cents apart."""
LOWEST_HZ, HIGHEST_HZ = 55.0, 550.0
TURN = 2.0**21
"""Units of phase per turn. Phases are whole numbers, so streaming equals offline exactly."""
NOISE_FRAMES = 128
SILENT = -10.0
"""Lowest log gain, which is also the value before the first frame."""
LOUDEST = 6.0
"""Highest log gain."""


def pitch_index(pitch_hz: Tensor) -> Tensor:
    """Return the fractional index of a frequency in the list of pitches, 0 to ``PITCHES - 1``."""
    return (PITCHES - 1) * (pitch_hz / LOWEST_HZ).log2() / log2(HIGHEST_HZ / LOWEST_HZ)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context that disables autocast."""
    if device.type == "meta":  # autocast does not support it
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


class HarmonicNoise(Streaming):
    """Synthesize audio ``[batch, 1, samples]`` from controls ``[batch, channels, frames]``.

    The controls of a frame are scores for all pitches and log gains. The highest score selects the
    pitch at the end of the frame. A frame is divided into ``pieces``. Each piece has the log gains
    of two filters, one for the pulses and one for the noise, in bands evenly spaced on the mel
    scale; they apply at the end of the piece. In between, the pitch changes linearly, and one
    filter is cross-faded into the next. Pulses and noise are white and have unit power. The filters
    have minimum phase, so they add no delay.

    No gradient passes through the pitch; its scores need a loss of their own.

    Args:
        sample_rate_hz: sample rate of the audio.
        frame_samples: samples of a frame.
        bands: number of gains of a filter.
        pieces: number of pieces of a frame.
    """

    def __init__(
        self, sample_rate_hz: int, frame_samples: int, bands: int = 40, pieces: int = 4
    ) -> None:
        super().__init__()
        self.bands, self.pieces, self.frame_samples = bands, pieces, frame_samples
        self.piece, self.size = frame_samples // pieces, 4 * (frame_samples // pieces)
        scale = torch.arange(PITCHES, dtype=torch.float64) / (PITCHES - 1)
        pitches_hz = LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** scale
        generator = torch.Generator().manual_seed(0)
        gains_at = _gains_at(self.size, bands, sample_rate_hz)
        spectra = torch.fft.rfft(torch.eye(self.piece, dtype=torch.float64), self.size)
        bins = torch.eye(self.size // 2 + 1, dtype=torch.float64)
        fade = (torch.arange(self.piece, dtype=torch.float64) + 0.5) / self.piece
        for name, value in {
            "steps": (pitches_hz / sample_rate_hz * TURN).round().float(),
            "noise": torch.randn(NOISE_FRAMES, frame_samples, generator=generator),
            "rising": (fade * torch.pi / 2).sin().square().float(),
            "cosines": spectra.real.float(),
            "sines": spectra.imag.float(),
            "inverse_cosines": torch.fft.irfft(bins, self.size).float(),
            "inverse_sines": torch.fft.irfft(1j * bins, self.size).float(),
            "levels": gains_at.float(),
            "phases": (gains_at @ _minimum_phase(self.size)).float(),
        }.items():
            self.register_buffer(name, value, persistent=False)
        self.fast = False

    @property
    def channels(self) -> int:
        return PITCHES + self.pieces * 2 * self.bands

    @property
    def ratio(self) -> Fraction:
        return Fraction(1, self.frame_samples)

    def span(self, span: Span) -> Span:
        first, last = transposed(span, self.frame_samples, 3 * self.piece)
        return first - 1, last  # pitch and gains are interpolated from the previous frame

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        """Return the initial state; gains are stored as differences from `SILENT`."""
        return {
            "phase": torch.zeros(batch, 1, device=device),
            "pitch": torch.zeros(batch, 1, device=device),
            "round": torch.zeros(batch, 1, device=device),
            "gains": torch.zeros(batch, 2, 1, self.bands, device=device),
            "overlap": torch.zeros(batch, 3, self.piece, device=device),
        }

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        with without_autocast(x.device):
            scores, gains = x.float().split([PITCHES, self.channels - PITCHES], dim=1)
            pulses, after = self._pulses(scores, state)
            noise, after["round"] = self._noise(x.shape[2], state)
            sources = torch.stack([pulses, noise], dim=1).unflatten(3, (self.pieces, self.piece))
            gains = gains.transpose(1, 2).unflatten(2, (self.pieces, 2, self.bands))
            gains = gains.permute(0, 3, 1, 2, 4).flatten(2, 3).clamp(SILENT, LOUDEST)
            gains = torch.cat([SILENT + state["gains"], gains], dim=2)
            after["gains"] = gains[:, :, -1:] - SILENT
            audio, after["overlap"] = self._filtered(sources.flatten(2, 3), gains, state["overlap"])
        return audio.clamp(-1, 1), after

    @torch.no_grad()
    def _pulses(self, scores: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the pulses, ``[batch, frames, samples]``: all harmonics below Nyquist, as cosines.

        The sum of the cosines is a Dirichlet kernel.
        """
        pitches = torch.cat([state["pitch"].long(), scores.argmax(dim=1)], dim=1)
        steps = self.get_buffer("steps")[pitches].double()
        before, after = steps[:, :-1], steps[:, 1:]
        advance = self.frame_samples // 2 * (before + after)
        ends = state["phase"].double() + advance.cumsum(dim=1)
        start = torch.remainder(ends - advance, TURN)
        new = {
            "phase": torch.remainder(ends[:, -1:], TURN).float(),
            "pitch": pitches[:, -1:].float(),
        }
        start, before, slope = (
            (value / TURN).float()[:, :, None]
            for value in (start, before, (after - before) / self.frame_samples)
        )
        time = torch.arange(self.frame_samples, device=scores.device, dtype=torch.float32)
        turns = start + before * time + slope * (0.5 * time * time)
        harmonics = (0.5 / (before + slope * time)).floor()
        angle = torch.pi * (turns - turns.floor())
        below = angle.sin()
        ends_of_turn = below.abs() < 1e-4
        kernel = ((2 * harmonics + 1) * angle).sin() / torch.where(ends_of_turn, 1.0, below)
        kernel = torch.where(ends_of_turn, 2 * harmonics + 1, kernel)
        return 0.5 * (kernel - 1) * (2 / harmonics).sqrt(), new

    def _noise(self, frames: int, state: State) -> tuple[Tensor, Tensor]:
        first = state["round"].long()
        index = torch.remainder(first + torch.arange(frames, device=first.device), NOISE_FRAMES)
        after = torch.remainder(first + frames, NOISE_FRAMES).float()
        return F.embedding(index, self.get_buffer("noise")), after

    def _filtered(self, sources: Tensor, gains: Tensor, overlap: Tensor) -> tuple[Tensor, Tensor]:
        """Filter and sum the sources.

        Args:
            sources: pulses and noise, ``[batch, 2, pieces, samples]``.
            gains: log gains before and after each piece, ``[batch, 2, pieces + 1, bands]``.
            overlap: output of earlier pieces, ``[batch, 3, samples]``.
        """
        filter_pieces = self._fast_pieces if self.fast and fast.takes(gains) else self._pieces
        filtered = filter_pieces(sources, gains)
        # The output of a piece extends over the three pieces after it.
        quarters = filtered.split(self.piece, dim=2)
        line = F.pad(overlap, (0, 0, 0, filtered.shape[1]))
        for late, quarter in enumerate(quarters):
            line = line + F.pad(quarter, (0, 0, late, 3 - late))
        whole = filtered.shape[1]
        return line[:, :whole].flatten(1)[:, None], line[:, whole:].clone()

    def _pieces(self, sources: Tensor, gains: Tensor) -> Tensor:
        """Filter the pieces and sum the sources: ``[batch, pieces, size]``."""
        magnitude = (gains @ self.get_buffer("levels")).exp()
        phase = gains @ self.get_buffer("phases")
        filters = magnitude * phase.cos(), magnitude * phase.sin()
        rising = sources * self.get_buffer("rising")
        real, imaginary = [], []
        for part, (a, b) in (
            (rising, [value[:, :, 1:] for value in filters]),
            (sources - rising, [value[:, :, :-1] for value in filters]),
        ):
            c, d = part @ self.get_buffer("cosines"), part @ self.get_buffer("sines")
            real.append(a * c - b * d)
            imaginary.append(a * d + b * c)
        filtered = (real[0] + real[1]).sum(1) @ self.get_buffer("inverse_cosines")
        return filtered + (imaginary[0] + imaginary[1]).sum(1) @ self.get_buffer("inverse_sines")

    def _fast_pieces(self, sources: Tensor, gains: Tensor) -> Tensor:
        """Compute `_pieces` in its fast form."""
        rising = sources * self.get_buffer("rising")
        transform, controls = (
            torch.cat([self.get_buffer(name) for name in names], dim=1)
            for names in (("cosines", "sines"), ("levels", "phases"))
        )
        inverse = [self.get_buffer(f"inverse_{name}") for name in ("cosines", "sines")]
        spectra = torch.stack([rising, sources - rising]) @ transform
        bf16 = fast.products_in_bf16()
        return filtered_pieces(gains @ controls, spectra, torch.cat(inverse), bf16)


def _gains_at(size: int, bands: int, sample_rate_hz: int) -> Tensor:
    """Return the matrix of linear interpolation from bands to DFT bins, ``[bands, bins]``."""
    bins_hz = np.linspace(0, sample_rate_hz / 2, size // 2 + 1)
    centres_hz = 700 * np.expm1(np.linspace(0, np.log1p(bins_hz[-1] / 700), bands))
    return torch.from_numpy(
        np.stack([np.interp(bins_hz, centres_hz, one) for one in np.eye(bands)])
    )


def _minimum_phase(size: int) -> Tensor:
    """Return the matrix from log magnitudes to minimum phase, ``[bins, bins]``.

    It folds the cepstrum onto positive times.
    """
    cepstra = torch.fft.irfft(torch.eye(size // 2 + 1, dtype=torch.float64), size)
    cepstra[:, 1 : size // 2] *= 2
    cepstra[:, size // 2 + 1 :] = 0
    return torch.fft.rfft(cepstra).imag
