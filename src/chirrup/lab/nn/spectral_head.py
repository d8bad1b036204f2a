"""The last layer before an inverse STFT, as in Vocos (arXiv 2306.00814)."""

from typing import cast

import numpy as np
import torch
from torch import Tensor

from chirrup.lab.nn.conv import Conv1d
from chirrup.lab.nn.packing import padded
from chirrup.lab.nn.program import Part, Value
from chirrup.lab.nn.streaming import State, Streaming


class SpectralHead(Streaming):
    """Features to a spectrum; a 1x1 convolution gives log-magnitude and phase of each bin.

    The phase refers to the centre of the frame, where the window is largest. Moving the reference
    to the first sample multiplies bin k by (-1)^k. The output is ``[batch, 2 * bins, frames]``,
    real parts first.
    """

    signs: Tensor

    def __init__(self, dim: int, n_fft: int) -> None:
        super().__init__()
        self.bins = n_fft // 2 + 1
        self.project = Conv1d(dim, 2 * self.bins, 1, exact=True)
        self.register_buffer("signs", 1.0 - 2.0 * (torch.arange(self.bins) % 2)[:, None], False)

    def emit(self, part: Part, x: Value) -> Value:
        """Add the head; the value has real and imaginary parts, each padded to whole vectors."""
        conv, bins = self.project.conv, padded(self.bins)
        weight, bias = conv.weight.detach().numpy(), cast(Tensor, conv.bias).detach().numpy()
        spread = np.zeros((2, bins, *weight.shape[1:]), np.float32)
        start = np.zeros((2, bins), np.float32)
        spread[:, : self.bins] = weight.reshape(2, self.bins, *weight.shape[1:])
        start[:, : self.bins] = bias.reshape(2, self.bins)
        start[1, 1 : self.bins : 2] += np.pi  # a phase of pi is the sign of odd bins
        x = part.conv(x, spread.reshape(2 * bins, *weight.shape[1:]), start.ravel())
        return part.head(x, bins)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        log_magnitude, phase = self.project(x, {})[0].chunk(2, dim=1)
        magnitude = self.signs * log_magnitude.clamp(max=6.0).exp()
        return torch.cat([magnitude * phase.cos(), magnitude * phase.sin()], dim=1), state
