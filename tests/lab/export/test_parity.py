"""The comparison of exported graphs with expected outputs."""

import numpy as np
import pytest

from chirrup.lab.export.parity import Parity, share_equal

BOOKS, FRAMES = 64, 125
CODES = np.random.default_rng(0).integers(0, 1024, (1, BOOKS, FRAMES))


def test_equal_codes_are_equal() -> None:
    assert share_equal(CODES, CODES) == 1
    assert share_equal(CODES[:, :1], CODES[:, :1]) == 1


@pytest.mark.parametrize("book", [0, 1, 30, BOOKS - 1])
def test_a_wrong_code_counts_once(book: int) -> None:
    """One near tie among thousands of codes must not fail the export."""
    codes = CODES.copy()
    codes[:, book:, 7] += 1
    counted = BOOKS * FRAMES - (BOOKS - 1 - book)
    assert share_equal(codes, CODES) == 1 - 1 / counted
    Parity(share_equal(codes, CODES), -120).check()


def test_other_frames_count_in_full() -> None:
    codes = CODES.copy()
    codes[:, 0, ::2] += 1
    assert share_equal(codes, CODES) == pytest.approx(62 * BOOKS / (62 * BOOKS + 63))
    with pytest.raises(ValueError, match="nothing was written"):
        Parity(share_equal(codes, CODES), -120).check()
