"""Fourier transforms of streams as small matrix products over half a period: cosines are even in
time, sines odd. Every runtime has matrix products, and few a fast transform of 960."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab.nn import ISTFT, STFT, State, Streaming
from chirrup.runtime.waves import waves


def replace_transforms(model: nn.Module) -> None:
    """Put them in the place of every transform within ``model``."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, STFT):
                setattr(module, name, MatrixSTFT(child))
            elif isinstance(child, ISTFT):
                setattr(module, name, MatrixISTFT(child))


class MatrixSTFT(Streaming):
    """`STFT` with hop n_fft/2."""

    def __init__(self, stft: STFT) -> None:
        super().__init__()
        self.n_fft, self.hop = stft.n_fft, stft.hop
        if self.n_fft != 2 * self.hop:
            raise ValueError(f"a hop of half of {self.n_fft} is needed, not {self.hop}")
        for kind in ("cosines", "sines"):
            self.register_buffer(kind, torch.from_numpy(waves(kind, self.n_fft)))
        self.register_buffer("window", stft.window.clone())

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        return {"past": torch.zeros(batch, 1, self.hop, device=device)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        hops = torch.cat([state["past"], x], dim=2).unflatten(2, (-1, self.hop))[:, 0]
        frames = torch.cat([hops[:, :-1], hops[:, 1:]], dim=2) * self.get_buffer("window")
        # Samples 1 to n/2 - 1 and their mirror images; the first and the middle one have none.
        first, mirror = frames[:, :, : self.hop + 1], frames[:, :, self.hop + 1 :].flip(2)
        real = (first + F.pad(mirror, (1, 1))) @ self.get_buffer("cosines")
        imaginary = (first[:, :, 1:-1] - mirror) @ self.get_buffer("sines")
        past = x[:, :, x.shape[2] - self.hop :]
        return torch.cat([real, imaginary], dim=2).transpose(1, 2), {"past": past}


class MatrixISTFT(Streaming):
    """`ISTFT`."""

    def __init__(self, istft: ISTFT) -> None:
        super().__init__()
        self.hop = istft.hop
        for kind in ("cosines", "sines"):
            self.register_buffer(kind, torch.from_numpy(waves(f"inverse {kind}", istft.n_fft)))
        self.register_buffer("window", istft.window.clone())

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        return {"overlap": torch.zeros(batch, 1, self.hop, device=device)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        real, imaginary = x.transpose(1, 2).split(self.hop + 1, dim=2)
        even, odd = real @ self.get_buffer("cosines"), imaginary @ self.get_buffer("sines")
        window = self.get_buffer("window")
        first = (even - odd)[:, :, : self.hop] * window[: self.hop]
        second = (even + odd)[:, :, 1:].flip(2) * window[self.hop :]
        before = torch.cat([state["overlap"], second[:, :-1]], dim=1)
        return (first + before).flatten(1)[:, None], {"overlap": second[:, -1:]}
