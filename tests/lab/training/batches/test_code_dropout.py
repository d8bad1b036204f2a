"""Numbers of codebooks, lost frames, and bypass without commitment."""

from collections import Counter

import pytest
import torch

from chirrup.lab.training.batches.code_dropout import (
    draw_codebooks,
    draw_lost_chunks,
    draw_wrong_bits,
)
from chirrup.lab.training.config import CodesConfig
from small_spectro import FRAME, small_spectro

RELEASED = (*range(1, 17), *range(18, 33, 2), *range(36, 65, 4))
"""SpectroStream's choices (arXiv 2508.05207): steps of 1, 2 and 4 codebooks."""


def test_choices_are_drawn_alike() -> None:
    assert len(RELEASED) == 32
    codes = CodesConfig(choices=RELEASED)
    drawn = draw_codebooks(codes, 64, 32_000, torch.Generator().manual_seed(0)).tolist()
    counts = Counter(drawn)
    assert set(counts) == set(RELEASED)
    assert min(counts.values()) > 800
    assert max(counts.values()) < 1200
    density = [
        sum(low < n <= high for n in drawn) / (high - low)
        for low, high in ((0, 16), (16, 32), (32, 64))
    ]
    assert density[0] / density[1] == pytest.approx(2, rel=0.1)
    assert density[1] / density[2] == pytest.approx(2, rel=0.1)


def test_without_choices_some_keep_the_fewest_and_some_all() -> None:
    codes = CodesConfig(lowest=2, lowest_share=0.5, drop=0.5)
    drawn = Counter(draw_codebooks(codes, 12, 10_000, torch.Generator().manual_seed(0)).tolist())
    assert min(drawn) == 2
    assert drawn[12] / 10_000 == pytest.approx(0.5 + 0.25 / 11, abs=0.02)
    assert drawn[2] / 10_000 == pytest.approx(0.25 + 0.25 / 11, abs=0.02)


def test_frames_are_lost_in_some_examples_only() -> None:
    codes = CodesConfig(lossy=0.5, loss_rate=0.2)
    lost = draw_lost_chunks(codes, 2000, 100, torch.Generator().manual_seed(0))
    assert lost.any(1).float().mean() == pytest.approx(0.5, abs=0.05)
    assert lost.float().mean() == pytest.approx(0.1, abs=0.03)


def test_bits_are_wrong_in_some_examples_only() -> None:
    codes = CodesConfig(bit_errors=0.5, bit_error_rate=0.05)
    flips = draw_wrong_bits(codes, (1000, 3, 20), 10, torch.Generator().manual_seed(0))
    bits = (flips[..., None] >> torch.arange(11)) & 1
    assert bits[..., 10].sum() == 0
    noisy = bits.flatten(1).any(1)
    assert noisy.float().mean() == pytest.approx(0.5, abs=0.05)
    assert bits[noisy][..., :10].float().mean((0, 1, 2)).tolist() == pytest.approx(
        [0.05] * 10, abs=0.005
    )


def test_a_bypassed_row_need_not_commit() -> None:
    """Its codebooks are still searched and updated."""
    model = small_spectro()
    audio = 0.1 * torch.randn(2, 2, 10 * FRAME, generator=torch.Generator().manual_seed(0))
    used, present = torch.tensor([3, 2]), torch.ones(2, 10, dtype=torch.bool)
    neither, first = torch.tensor([False, False]), torch.tensor([True, False])

    def commitment(rows: slice, committed: torch.Tensor | None) -> float:
        _, quantized = model(audio[rows], used[rows], first[rows], present[rows], committed)
        return float(quantized.commitment)

    every = commitment(slice(None), None)
    one, two = (commitment(slice(row, row + 1), None) for row in (0, 1))
    assert every == pytest.approx((one + two) / 2)
    assert commitment(slice(None), ~first) == pytest.approx(two / 2)
    assert commitment(slice(None), neither) == 0
    _, counted = model(audio, used, first, present, ~first)
    _, plain = model(audio, used, first, present)
    assert torch.equal(counted.codes, plain.codes)
    assert torch.equal(counted.projected, plain.projected)
