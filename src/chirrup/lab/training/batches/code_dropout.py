"""Random codebook dropout, quantizer bypass, frame losses and wrong bits, drawn per example.

Dropout of codebooks makes one model serve several bitrates (SoundStream, arXiv 2107.03312, section
III-C). Lost frames train the decoder to conceal them, and wrong bits to soften their effect.
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
        flips: wrong bits of each code, as a number whose bits are set, ``int64 [batch, codebooks,
            frames]``; None if no bit is wrong.
    """

    used: Tensor
    bypass: Tensor
    present: Tensor
    flips: Tensor | None = None

    @staticmethod
    def draw(
        codes: CodesConfig,
        codebooks: int,
        codebook_size: int,
        shape: tuple[int, int],
        chunk_frames: int,
        generator: torch.Generator,
        *,
        quantize: bool = True,
    ) -> "CodeDropout":
        """Draw the dropout of a batch.

        Args:
            codebooks: number of codebooks of the model.
            codebook_size: number of values of a code.
            shape: examples, and chunks of frames in each. A chunk is lost as a whole.
            chunk_frames: frames of a chunk.
            quantize: if False, all examples bypass the quantizer, no frame is lost and no bit is
                wrong.
        """
        batch, chunks = shape
        used = draw_codebooks(codes, codebooks, batch, generator)
        bypass = torch.rand(batch, generator=generator) < codes.bypass
        lost = draw_lost_chunks(codes, batch, chunks, generator)
        if not quantize:
            bypass, lost = torch.ones_like(bypass), torch.zeros_like(lost)
        flips = None
        if quantize and codes.bit_errors:
            bits = (codebook_size - 1).bit_length()
            size = (batch, codebooks, chunks * chunk_frames)
            flips = draw_wrong_bits(codes, size, bits, generator)
        return CodeDropout(used, bypass, ~lost.repeat_interleave(chunk_frames, dim=1), flips)

    def to(self, device: torch.device) -> "CodeDropout":
        flips = None if self.flips is None else self.flips.to(device)
        return CodeDropout(
            self.used.to(device), self.bypass.to(device), self.present.to(device), flips
        )


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


def draw_wrong_bits(
    codes: CodesConfig, shape: tuple[int, int, int], bits: int, generator: torch.Generator
) -> Tensor:
    """Draw the wrong bits of codes of ``bits`` bits, ``int64 [batch, codebooks, frames]``."""
    wrong = torch.rand(*shape, bits, generator=generator) < codes.bit_error_rate
    wrong &= torch.rand(shape[0], 1, 1, 1, generator=generator) < codes.bit_errors
    return (wrong.long() << torch.arange(bits)).sum(3)
