"""Streaming cosine-modulated filter banks (PQMF): a signal to bands at a lower rate, and back.

Each band's filter is the prototype, a low-pass filter, moved up in frequency. The phases of the
analysis and of the synthesis are such that what folds over between neighbours cancels, so the
bands together give the signal back, up to what the prototype leaves (60 dB below for 16 bands).
The filters are constants; complexity counts leave them out, as they do Fourier transforms. A bank
of all bands costs `TAPS` multiplications a sample.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chirrup.lab.nn.streaming import Span, State, Streaming, strided, transposed

TAPS, BETA = 257, 9.0
"""Of the prototype: its length, odd, and the shape of its Kaiser window."""


class Analysis(Streaming):
    """``[batch, 1, time]`` to ``[batch, kept bands, time / bands]``.

    Step t covers the ``TAPS`` samples that end with the last sample of hop t, so its centre comes
    ``(TAPS - bands) / 2`` samples late. The state is the last ``TAPS - bands`` samples.

    Args:
        bands: of equal width, up from zero.
        kept: numbers of those wanted; all by default.
    """

    filters: Tensor

    def __init__(self, bands: int, kept: Sequence[int] | None = None) -> None:
        super().__init__()
        self.bands, self.context = bands, TAPS - bands
        filters = bank(bands, 1)[list(range(bands) if kept is None else kept)]
        # A convolution of neural networks does not turn its kernel round.
        self.register_buffer("filters", _tensor(filters[:, ::-1]), persistent=False)

    @property
    def delay(self) -> Fraction:
        return Fraction(TAPS - self.bands, 2)

    @property
    def ratio(self) -> Fraction:
        return Fraction(self.bands)

    def span(self, span: Span) -> Span:
        return strided(span, self.bands, self.context)

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        return {"past": torch.zeros(batch, 1, self.context, device=device)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        x = torch.cat([state["past"], x], dim=2)
        past = x[:, :, x.shape[2] - self.context :].clone()
        return F.conv1d(x, self.filters, stride=self.bands), {"past": past}


class Synthesis(Streaming):
    """Inverse of `Analysis`: ``[batch, kept bands, steps]`` to ``[batch, 1, steps * bands]``.

    The bands not kept are silent. The output comes ``(TAPS - bands) / 2`` samples late, as late
    again as the analysis. The state is the overlap of ``TAPS - bands`` samples that later steps
    still add to.
    """

    filters: Tensor

    def __init__(self, bands: int, kept: Sequence[int] | None = None) -> None:
        super().__init__()
        self.bands, self.overlap = bands, TAPS - bands
        filters = bands * bank(bands, -1)[list(range(bands) if kept is None else kept)]
        self.register_buffer("filters", _tensor(filters), persistent=False)

    @property
    def delay(self) -> Fraction:
        return Fraction(TAPS - self.bands, 2 * self.bands)

    @property
    def ratio(self) -> Fraction:
        return Fraction(1, self.bands)

    def span(self, span: Span) -> Span:
        return transposed(span, self.bands, self.overlap)

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        return {"overlap": torch.zeros(batch, 1, self.overlap, device=device)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y = F.conv_transpose1d(x, self.filters, stride=self.bands)
        cut = y.shape[2] - self.overlap
        y = y + F.pad(state["overlap"], (0, cut))
        return y[:, :, :cut], {"overlap": y[:, :, cut:].clone()}


def bank(bands: int, sign: int) -> np.ndarray:
    """Filters ``[bands, TAPS]`` of the analysis (``sign`` 1) or synthesis (-1) of equal gain."""
    band = np.arange(bands)[:, None]
    time = np.arange(TAPS) - TAPS // 2
    phase = sign * np.pi / 4 * (-1.0) ** band
    modulation = np.cos((2 * band + 1) * np.pi / (2 * bands) * time + phase)
    return 2 * prototype(best_cutoff(bands)) * modulation


def prototype(cutoff: float) -> np.ndarray:
    """Low-pass filter ``[TAPS]`` with its edge at ``cutoff`` times half the sample rate."""
    time = np.arange(TAPS) - TAPS // 2
    return cutoff * np.sinc(cutoff * time) * np.kaiser(TAPS, BETA)


def ripple(cutoff: float, bands: int) -> float:
    """What keeps the bank from giving the signal back: the prototype's correlation with itself,
    shifted by every multiple of twice the bands, at worst."""
    filter_ = prototype(cutoff)
    shifts = np.correlate(filter_, filter_, "full")[TAPS - 1 :: 2 * bands]
    return float(np.abs(shifts[1:]).max())


@cache
def best_cutoff(bands: int) -> float:
    """The cutoff of least `ripple`: a little above half a band, found on ever finer grids."""
    low, high = 0.5 / bands, 1.0 / bands
    while high - low > 1e-9 / bands:
        grid = np.linspace(low, high, 65)
        best = int(np.argmin([ripple(cutoff, bands) for cutoff in grid]))
        low, high = grid[max(0, best - 1)], grid[min(64, best + 1)]
    return float((low + high) / 2)


def _tensor(filters: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(filters[:, None])).float()
