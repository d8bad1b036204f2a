"""From features to a spectrum with free phases, for an inverse transform to make audio of."""

import torch
from torch import Tensor

from chirrup.lab.nn.conv import Conv1d
from chirrup.lab.nn.streaming import State, Streaming


class SpectralHead(Streaming):
    """Features to a spectrum: log-magnitude and phase of each bin from one 1x1 convolution.

    The phase is referred to the centre of the frame, where the window is largest: at bin k the
    centre of n_fft samples turns it by pi k. Output: ``[batch, 2 * bins, frames]``, real parts
    first.
    """

    signs: Tensor

    def __init__(self, dim: int, n_fft: int) -> None:
        super().__init__()
        self.bins = n_fft // 2 + 1
        self.project = Conv1d(dim, 2 * self.bins, 1, exact=True)
        self.register_buffer("signs", 1.0 - 2.0 * (torch.arange(self.bins) % 2)[:, None], False)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        log_magnitude, phase = self.project(x, {})[0].chunk(2, dim=1)
        magnitude = self.signs * log_magnitude.clamp(max=6.0).exp()
        return torch.cat([magnitude * phase.cos(), magnitude * phase.sin()], dim=1), state
