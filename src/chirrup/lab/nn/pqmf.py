"""Streaming cosine-modulated filter banks (PQMF): a signal to critically sampled bands, and back.

The filter of a band is a low-pass prototype, modulated by a cosine. The phases of analysis and
synthesis filters cancel the aliasing between neighbouring bands, so synthesis restores the signal,
up to an error of the prototype (-60 dB for 16 bands). The prototype is a Kaiser-windowed sinc whose
cutoff minimises this error (Lin and Vaidyanathan, IEEE Signal Processing Letters 5(6), 1998).

The filters are constants. Complexity counts leave them out, like Fourier transforms. A bank of all
bands needs `TAPS` multiplications per sample.
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
"""Odd length of the prototype, and the shape parameter of its Kaiser window."""


class Analysis(Streaming):
    """Split ``[batch, 1, time]`` into bands ``[batch, kept bands, time / bands]``.

    Step t depends on the ``TAPS`` samples up to the last sample of hop t, so the delay is
    ``(TAPS - bands) / 2`` samples. The state is the last ``TAPS - bands`` samples.

    Args:
        bands: number of bands of equal width.
        kept: indices of the bands to return; by default all.
    """

    filters: Tensor

    def __init__(self, bands: int, kept: Sequence[int] | None = None) -> None:
        super().__init__()
        self.bands, self.context = bands, TAPS - bands
        filters = bank(bands, 1)[list(range(bands) if kept is None else kept)]
        # PyTorch's convolution is a correlation, so the filters are reversed.
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

    Bands that are not kept are zero. The delay is ``(TAPS - bands) / 2`` samples, in addition to
    the delay of the analysis. The state is the sum so far of the ``TAPS - bands`` samples to which
    later steps still contribute.
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
    """Return the filters ``[bands, TAPS]`` of the analysis (``sign`` 1) or the synthesis (-1)."""
    band = np.arange(bands)[:, None]
    time = np.arange(TAPS) - TAPS // 2
    phase = sign * np.pi / 4 * (-1.0) ** band
    modulation = np.cos((2 * band + 1) * np.pi / (2 * bands) * time + phase)
    return 2 * prototype(best_cutoff(bands)) * modulation


def prototype(cutoff: float) -> np.ndarray:
    """Return a low-pass filter ``[TAPS]`` with cutoff frequency ``cutoff * sample_rate / 2``."""
    time = np.arange(TAPS) - TAPS // 2
    return cutoff * np.sinc(cutoff * time) * np.kaiser(TAPS, BETA)


def ripple(cutoff: float, bands: int) -> float:
    """Return the reconstruction error of a bank with this cutoff.

    It is the largest autocorrelation of the prototype at the non-zero multiples of ``2 * bands``.
    """
    filter_ = prototype(cutoff)
    shifts = np.correlate(filter_, filter_, "full")[TAPS - 1 :: 2 * bands]
    return float(np.abs(shifts[1:]).max())


@cache
def best_cutoff(bands: int) -> float:
    """Return the cutoff with the least `ripple`, by repeatedly refined grids."""
    low, high = 0.5 / bands, 1.0 / bands
    while high - low > 1e-9 / bands:
        grid = np.linspace(low, high, 65)
        best = int(np.argmin([ripple(cutoff, bands) for cutoff in grid]))
        low, high = grid[max(0, best - 1)], grid[min(64, best + 1)]
    return float((low + high) / 2)


def _tensor(filters: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(filters[:, None])).float()
