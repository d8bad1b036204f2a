"""From the rate of a model's audio to the rate that its encoder hears, on the device."""

from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ZERO_CROSSINGS = 32
"""Of the interpolating sinc, on each side."""
PASSED = 0.945
"""Share of the band that passes; the rest is the filter's slope."""


class Resampler(nn.Module):
    """``[batch, channels, samples]`` to another rate by windowed sinc.

    Before and after the signal is silence, so the ends of a crop fade a little. At one rate it is
    passed as it is.

    Attributes:
        kernel: the filter at each of the places that an output sample has between input samples,
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
        """As many output samples as the input is long, rounded up."""
        if self.up == self.down:
            return audio
        batch, channels, samples = audio.shape
        length = -(-samples * self.up // self.down)
        steps = -(-length // self.up)
        right = steps * self.down - samples + self.reach
        line = F.pad(audio.flatten(0, 1)[:, None], (self.reach, max(0, right)))
        phases = F.conv1d(line, self.kernel, stride=self.down)[:, :, :steps]
        return phases.transpose(1, 2).reshape(batch, channels, -1)[:, :, :length]
