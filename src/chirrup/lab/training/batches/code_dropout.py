"""Random codebook dropout, quantizer bypass and frame losses, drawn per example.

Dropout of codebooks makes one model serve several bitrates (SoundStream, arXiv 2107.03312, section
III-C). Lost frames train the decoder to conceal them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from chirrup.lab.training.config import CodesConfig


@dataclass(frozen=True)
class CodeDropout:
    """What the decoder receives of each example in a batch.

    Attributes:
        used: number of codebooks, ``int64 [batch]``.
        bypass: whether the decoder gets the unquantized latents, ``bool [batch]``.
        present: frames that arrive, ``bool [batch, frames]``.
    """

    used: Tensor
    bypass: Tensor
    present: Tensor

    @staticmethod
    def draw(
        codes: CodesConfig,
        codebooks: int,
        shape: tuple[int, int],
        chunk_frames: int,
        generator: torch.Generator,
        *,
        quantize: bool = True,
    ) -> "CodeDropout":
        """Draw the dropout of a batch.

        Args:
            codebooks: number of codebooks of the model.
            shape: examples, and chunks of frames in each. A chunk is lost as a whole.
            chunk_frames: frames of a chunk.
            quantize: if False, all examples bypass the quantizer and no frame is lost.
        """
        batch, chunks = shape
        used = draw_codebooks(codes, codebooks, batch, generator)
        bypass = torch.rand(batch, generator=generator) < codes.bypass
        lost = draw_lost_chunks(codes, batch, chunks, generator)
        if not quantize:
            bypass, lost = torch.ones_like(bypass), torch.zeros_like(lost)
        return CodeDropout(used, bypass, ~lost.repeat_interleave(chunk_frames, dim=1))

    def to(self, device: torch.device) -> "CodeDropout":
        return CodeDropout(self.used.to(device), self.bypass.to(device), self.present.to(device))


def draw_codebooks(
    codes: CodesConfig, codebooks: int, batch: int, generator: torch.Generator
) -> Tensor:
    """Draw how many of the ``codebooks`` each example uses, ``int64 [batch]``."""
    if codes.choices:
        pick = torch.randint(len(codes.choices), (batch,), generator=generator)
        return torch.tensor(codes.choices)[pick]
    some = torch.randint(codes.lowest, codebooks + 1, (batch,), generator=generator)
    some = torch.where(
        torch.rand(batch, generator=generator) < codes.lowest_share, codes.lowest, some
    )
    return torch.where(torch.rand(batch, generator=generator) < codes.drop, some, codebooks)


def draw_lost_chunks(
    codes: CodesConfig, batch: int, chunks: int, generator: torch.Generator
) -> Tensor:
    """Draw lost chunks of frames, in bursts of up to three that can join: ``[batch, chunks]``."""
    begins = torch.rand(batch, chunks, generator=generator) < codes.loss_rate / 2
    more = torch.rand(batch, chunks, generator=generator)
    lost = begins.clone()
    for back in (1, 2):
        lost[:, back:] |= begins[:, :-back] & (more[:, :-back] < 1 / (1 + back))
    return lost & (torch.rand(batch, 1, generator=generator) < codes.lossy)
