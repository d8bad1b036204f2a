"""Streaming short-time Fourier transform and its overlap-add inverse."""

from fractions import Fraction

import torch
from torch import Tensor

from chirrup.lab.nn.streaming import State, Streaming


def sqrt_hann(n_fft: int) -> Tensor:
    """Square root of the periodic Hann window: with itself it overlap-adds to 1 at hop n_fft/2."""
    return torch.hann_window(n_fft, periodic=True).sqrt()


def hann(n_fft: int) -> Tensor:
    """The periodic Hann window, for the analysis alone."""
    return torch.hann_window(n_fft, periodic=True)


def hann_dual(n_fft: int) -> Tensor:
    """What undoes `hann` at hop n_fft/2 with the least energy: the window over the sum of the
    squares of all that overlap."""
    window = hann(n_fft)
    return window / (window.square() + window.roll(n_fft // 2).square())


class STFT(Streaming):
    """``[batch, 1, time]`` to ``[batch, 2 * (n_fft/2 + 1), frames]``: real, then imaginary.

    Frame t covers the ``n_fft`` samples that end with the last sample of hop t; its centre comes
    ``(n_fft - hop) / 2`` samples late. The state is the last ``n_fft - hop`` samples. The window is
    `sqrt_hann` if none is given.
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

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        return {"past": torch.zeros(batch, 1, self.n_fft - self.hop, device=device)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        x = torch.cat([state["past"], x], dim=2)
        frames = x[:, 0].unfold(1, self.n_fft, self.hop) * self.window
        spectrum = torch.fft.rfft(frames).transpose(1, 2)
        past = x[:, :, x.shape[2] - (self.n_fft - self.hop) :].clone()
        return torch.cat([spectrum.real, spectrum.imag], dim=1), {"past": past}


class ISTFT(Streaming):
    """Inverse of ``STFT`` by overlap-add, for hop = n_fft/2: ``[batch, 2 * bins, frames]`` to
    ``[batch, 1, time]``.

    A frame's window is centred on the hop it stands for: it reaches ``(n_fft - hop) / 2`` samples
    back and as many ahead, so the output comes that much late. The state is the second half of the
    last frame, which the next one is added to. The window is `sqrt_hann` if none is given.
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

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        return {"overlap": torch.zeros(batch, 1, self.hop, device=device)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        real, imaginary = x.transpose(1, 2).float().chunk(2, dim=2)
        frames = torch.fft.irfft(torch.complex(real, imaginary), self.n_fft) * self.window
        first, second = frames[:, :, : self.hop], frames[:, :, self.hop :]
        before = torch.cat([state["overlap"], second[:, :-1]], dim=1)
        return (first + before).flatten(1)[:, None], {"overlap": second[:, -1:].clone()}
