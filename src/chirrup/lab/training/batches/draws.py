"""What the decoder meets in training, drawn per example."""

import torch
from torch import Tensor

from chirrup.lab.training.config import CodesConfig


def draw_used(codes: CodesConfig, codebooks: int, batch: int, generator: torch.Generator) -> Tensor:
    """How many of the ``codebooks`` each example uses, ``int64 [batch]``."""
    if codes.choices:
        pick = torch.randint(len(codes.choices), (batch,), generator=generator)
        return torch.tensor(codes.choices)[pick]
    some = torch.randint(codes.lowest, codebooks + 1, (batch,), generator=generator)
    some = torch.where(
        torch.rand(batch, generator=generator) < codes.lowest_share, codes.lowest, some
    )
    return torch.where(torch.rand(batch, generator=generator) < codes.drop, some, codebooks)


def draw_lost(codes: CodesConfig, batch: int, frames: int, generator: torch.Generator) -> Tensor:
    """Frames, or chunks of them, that do not arrive, in bursts of up to three.

    Returns:
        ``bool [batch, frames]``.
    """
    begins = torch.rand(batch, frames, generator=generator) < codes.loss_rate / 2
    more = torch.rand(batch, frames, generator=generator)
    lost = begins.clone()
    for back in (1, 2):
        lost[:, back:] |= begins[:, :-back] & (more[:, :-back] < 1 / (1 + back))
    return lost & (torch.rand(batch, 1, generator=generator) < codes.lossy)
