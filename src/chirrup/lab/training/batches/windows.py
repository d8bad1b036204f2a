"""Windows that slide over recordings, in epochs (arXiv 2510.00264, sections 2 and 4)."""

import torch
from torch import Tensor

Places = tuple[Tensor, Tensor]
"""Recording and first sample of each clip, ``int64 [batch]`` each."""


class SlidingWindows:
    """All windows of random recordings, with half overlap and in random order.

    The windows of a step depend on the seed and the step alone. The last step of an epoch is filled
    with the epoch's first windows.

    Args:
        length: samples of each recording, ``int64 [recordings]``.
        window_samples: samples of a window. A shorter recording has one window.
        recordings: number of recordings of an epoch, at most all.
        batch: windows of a step in each process.
        process, processes: index of this process, and number of processes.
    """

    def __init__(
        self,
        length: Tensor,
        window_samples: int,
        *,
        recordings: int,
        batch: int,
        seed: int,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self.hop = window_samples // 2
        self.counts = (length.cpu() - 1 - window_samples).clamp(min=0) // self.hop + 1
        self.recordings, self.batch, self.seed = recordings, batch, seed
        self.process, self.processes = process, processes
        self._restart()

    def places(self, step: int) -> Places:
        """Return the windows of a step in this process."""
        if step < self.first_step:
            self._restart()
        while step >= self.first_step + self.steps:
            self.first_step += self.steps
            self.epoch += 1
            self._choose()
        first = (step - self.first_step) * self.processes + self.process
        index = torch.arange(first * self.batch, (first + 1) * self.batch) % self.windows
        if self.order is None:
            self.order = torch.randperm(self.windows, generator=self.generator)
        window = self.order[index]
        ends = self.counts[self.chosen].cumsum(0)
        place = torch.searchsorted(ends, window, right=True)
        number = window - (ends - self.counts[self.chosen])[place]
        return self.chosen[place], number * self.hop

    def _restart(self) -> None:
        self.epoch, self.first_step = 0, 0
        self._choose()

    def _choose(self) -> None:
        """Choose the recordings of the epoch."""
        self.generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        every = torch.randperm(len(self.counts), generator=self.generator)
        self.chosen = every[: self.recordings]
        self.windows = int(self.counts[self.chosen].sum())
        self.steps = -(-self.windows // (self.batch * self.processes))
        self.order: Tensor | None = None
