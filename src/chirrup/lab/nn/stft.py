"""Streaming short-time Fourier transform (STFT) and its overlap-add inverse.

Exported graphs use matrix products over half a period, since cosines are even in time and sines are
odd. Every runtime has matrix products; few have a fast Fourier transform of 960 points.
"""

from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from chirrup.lab.nn.program import Part, Value
from chirrup.lab.nn.streaming import Span, State, Streaming, strided, transposed
from chirrup.runtime.dft import dft_matrix


def sqrt_hann(n_fft: int) -> Tensor:
    """Return the square root of the periodic Hann window.

    As analysis and synthesis window, it gives perfect reconstruction at hop n_fft/2.
    """
    return torch.hann_window(n_fft, periodic=True).sqrt()


def hann(n_fft: int) -> Tensor:
    """Return the periodic Hann window, an analysis window."""
    return torch.hann_window(n_fft, periodic=True)


def hann_dual(n_fft: int) -> Tensor:
    """Return the synthesis window of least energy for `hann` at hop n_fft/2.

    It is the window divided by the sum of the squares of all overlapping windows.
    """
    window = hann(n_fft)
    return window / (window.square() + window.roll(n_fft // 2).square())


class STFT(Streaming):
    """``[batch, 1, time]`` to ``[batch, 2 * (n_fft/2 + 1), frames]``: real, then imaginary.

    Frame t covers the ``n_fft`` samples up to the last sample of hop t, so the delay is
    ``(n_fft - hop) / 2`` samples. The state is the last ``n_fft - hop`` samples. The default window
    is `sqrt_hann`.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop: int, window: Tensor | None = None) -> None:
        super().__init__()
        self.n_fft, self.hop, self.context = n_fft, hop, n_fft - hop
        window = sqrt_hann(n_fft) if window is None else window
        self.register_buffer("window", window, persistent=False)

    @property
    def delay(self) -> Fraction:
        return Fraction(self.n_fft - self.hop, 2)

    @property
    def ratio(self) -> Fraction:
        return Fraction(self.hop)

    def span(self, span: Span) -> Span:
        return strided(span, self.hop, self.context)

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        return {"past": torch.zeros(batch, 1, self.n_fft - self.hop, device=device)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        x = torch.cat([state["past"], x], dim=2)
        frames = x[:, 0].unfold(1, self.n_fft, self.hop) * self.window
        spectrum = torch.fft.rfft(frames).transpose(1, 2)
        past = x[:, :, x.shape[2] - (self.n_fft - self.hop) :].clone()
        return torch.cat([spectrum.real, spectrum.imag], dim=1), {"past": past}

    def exported(self) -> Streaming:
        return MatrixSTFT(self)


class ISTFT(Streaming):
    """Inverse of `STFT` by overlap-add with hop n_fft/2.

    It maps ``[batch, 2 * bins, frames]`` to ``[batch, 1, time]``. The window of a frame is centred
    on its hop and extends ``(n_fft - hop) / 2`` samples to both sides; this is the delay of the
    output. The state is the second half of the last frame. The default window is `sqrt_hann`.
    """

    window: Tensor

    def __init__(self, n_fft: int, window: Tensor | None = None) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, n_fft // 2
        window = sqrt_hann(n_fft) if window is None else window
        self.register_buffer("window", window, persistent=False)

    @property
    def delay(self) -> Fraction:
        return Fraction(self.n_fft - self.hop, 2 * self.hop)

    @property
    def ratio(self) -> Fraction:
        return Fraction(1, self.hop)

    def span(self, span: Span) -> Span:
        return transposed(span, self.hop, self.n_fft - self.hop)

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        return {"overlap": torch.zeros(batch, 1, self.hop, device=device)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        real, imaginary = x.transpose(1, 2).float().chunk(2, dim=2)
        frames = torch.fft.irfft(torch.complex(real, imaginary), self.n_fft) * self.window
        first, second = frames[:, :, : self.hop], frames[:, :, self.hop :]
        before = torch.cat([state["overlap"], second[:, :-1]], dim=1)
        return (first + before).flatten(1)[:, None], {"overlap": second[:, -1:].clone()}

    def exported(self) -> Streaming:
        return MatrixISTFT(self)


class MatrixSTFT(Streaming):
    """`STFT` with hop n_fft/2 as matrix products."""

    def __init__(self, stft: STFT) -> None:
        super().__init__()
        self.n_fft, self.hop = stft.n_fft, stft.hop
        if self.n_fft != 2 * self.hop:
            raise ValueError(f"the hop is {self.hop}: it must be half of n_fft, {self.n_fft // 2}")
        for kind in ("cosines", "sines"):
            self.register_buffer(kind, torch.from_numpy(dft_matrix(kind, self.n_fft)))
        self.register_buffer("window", stft.window.clone())

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        return {"past": torch.zeros(batch, 1, self.hop, device=device)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        hops = torch.cat([state["past"], x], dim=2).unflatten(2, (-1, self.hop))[:, 0]
        frames = torch.cat([hops[:, :-1], hops[:, 1:]], dim=2) * self.get_buffer("window")
        # Samples 1 to n/2 - 1 have mirror images; samples 0 and n/2 have none.
        first, mirror = frames[:, :, : self.hop + 1], frames[:, :, self.hop + 1 :].flip(2)
        real = (first + F.pad(mirror, (1, 1))) @ self.get_buffer("cosines")
        imaginary = (first[:, :, 1:-1] - mirror) @ self.get_buffer("sines")
        past = x[:, :, x.shape[2] - self.hop :]
        return torch.cat([real, imaginary], dim=2).transpose(1, 2), {"past": past}


class MatrixISTFT(Streaming):
    """`ISTFT` as matrix products."""

    def __init__(self, istft: ISTFT) -> None:
        super().__init__()
        self.hop = istft.hop
        for kind in ("cosines", "sines"):
            self.register_buffer(kind, torch.from_numpy(dft_matrix(f"inverse {kind}", istft.n_fft)))
        self.register_buffer("window", istft.window.clone())

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        return {"overlap": torch.zeros(batch, 1, self.hop, device=device)}

    def emit(self, part: Part, x: Value) -> Value:
        """Add the transform of real and imaginary parts that are padded to whole vectors."""
        y = part.istft(x, self.get_buffer("window").numpy())
        return part.overlap(y, part.value(x.rows, self.hop), 2, 1)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        real, imaginary = x.transpose(1, 2).split(self.hop + 1, dim=2)
        even, odd = real @ self.get_buffer("cosines"), imaginary @ self.get_buffer("sines")
        window = self.get_buffer("window")
        first = (even - odd)[:, :, : self.hop] * window[: self.hop]
        second = (even + odd)[:, :, 1:].flip(2) * window[self.hop :]
        before = torch.cat([state["overlap"], second[:, :-1]], dim=1)
        return (first + before).flatten(1)[:, None], {"overlap": second[:, -1:]}
