"""Resampling on the training device, from the rate of the decoded audio to the encoder's."""

from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab.training.losses.stft import windowed_frames

ZERO_CROSSINGS = 32
"""Zero crossings of the interpolating sinc on each side."""
PASSED = 0.945
"""Share of the band that passes; the filter's slope takes the rest."""


class Resampler(nn.Module):
    """Resample ``[batch, channels, samples]`` by windowed sinc.

    The signal is padded with zeros at both ends. If both rates are equal, it is returned unchanged.

    A block of output samples is the product of two hops of input samples and one matrix. On a CPU
    this takes a fraction of the time of a convolution with a stride.

    Attributes:
        matrix: the filter at the place of each output sample of a block, ``[2 * hop, outputs]``.
    """

    matrix: Tensor

    def __init__(self, from_hz: int, to_hz: int) -> None:
        super().__init__()
        common = gcd(from_hz, to_hz)
        self.up, self.down = to_hz // common, from_hz // common
        cutoff = PASSED * min(1.0, self.up / self.down)
        self.reach = int(ZERO_CROSSINGS / cutoff) + 1
        steps = -(-2 * self.reach // self.down)
        self.hop = steps * self.down
        tap = torch.arange(-self.reach, 2 * self.hop - self.reach, dtype=torch.float64)
        place = torch.arange(steps * self.up, dtype=torch.float64) * self.down / self.up
        time = (tap[:, None] - place) * cutoff
        window = torch.cos(0.5 * torch.pi * time / ZERO_CROSSINGS).square()
        matrix = torch.sinc(time) * window * (time.abs() < ZERO_CROSSINGS)
        self.register_buffer("matrix", (matrix / matrix.sum(0)).float(), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Return ``ceil(samples * to_hz / from_hz)`` samples."""
        if self.up == self.down:
            return audio
        batch, channels, samples = audio.shape
        length = -(-samples * self.up // self.down)
        blocks = -(-length // self.matrix.shape[1])
        right = (blocks + 1) * self.hop - samples - self.reach
        line = F.pad(audio.flatten(0, 1), (self.reach, right))
        frames = windowed_frames(line, line.new_ones(2 * self.hop), self.hop)
        return (frames @ self.matrix).view(batch, channels, -1)[:, :, :length]
