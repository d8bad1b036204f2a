"""Resampling on the training device, from the rate of the decoded audio to the encoder's."""

from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ZERO_CROSSINGS = 32
"""Zero crossings of the interpolating sinc on each side."""
PASSED = 0.945
"""Share of the band that passes; the filter's slope takes the rest."""


class Resampler(nn.Module):
    """Resample ``[batch, channels, samples]`` by windowed sinc.

    The signal is padded with zeros at both ends. If both rates are equal, it is returned unchanged.

    Attributes:
        kernel: one filter for each phase of an output sample between input samples,
            ``[up, 1, taps]``.
    """

    kernel: Tensor

    def __init__(self, from_hz: int, to_hz: int) -> None:
        super().__init__()
        common = gcd(from_hz, to_hz)
        self.up, self.down = to_hz // common, from_hz // common
        cutoff = PASSED * min(1.0, self.up / self.down)
        self.reach = int(ZERO_CROSSINGS / cutoff) + 1
        tap = torch.arange(-self.reach, self.reach + self.down, dtype=torch.float64)
        place = torch.arange(self.up, dtype=torch.float64) * self.down / self.up
        time = (tap - place[:, None]) * cutoff
        window = torch.cos(0.5 * torch.pi * time / ZERO_CROSSINGS).square()
        kernel = torch.sinc(time) * window * (time.abs() < ZERO_CROSSINGS)
        kernel = kernel / kernel.sum(1, keepdim=True)
        self.register_buffer("kernel", kernel[:, None].float(), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Return ``ceil(samples * to_hz / from_hz)`` samples."""
        if self.up == self.down:
            return audio
        batch, channels, samples = audio.shape
        length = -(-samples * self.up // self.down)
        steps = -(-length // self.up)
        right = steps * self.down - samples + self.reach
        line = F.pad(audio.flatten(0, 1)[:, None], (self.reach, max(0, right)))
        phases = F.conv1d(line, self.kernel, stride=self.down)[:, :, :steps]
        return phases.transpose(1, 2).reshape(batch, channels, -1)[:, :, :length]
