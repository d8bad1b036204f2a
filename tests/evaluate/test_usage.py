"""Usage and entropy of known codes."""

from typing import Any, cast

import numpy as np
import pytest

from chirrup.codec import Codec
from chirrup.codes import Codes
from chirrup.evaluate.usage import usage


class Parrot:
    """A codec whose codes are the signal, in two codebooks; the second code is always 3."""

    codebook_size, bits_per_code = 8, 3

    def encode(self, audio: np.ndarray, bitrate_bps: float) -> Codes:
        assert bitrate_bps == 1000
        codes = audio.astype(np.int16)
        return Codes(np.stack([codes, np.full_like(codes, 3)]), samples=len(audio))


def used(*signals: list[int]) -> Any:
    return usage(cast(Codec, Parrot()), [np.array(s, np.float32) for s in signals], 1000)


def test_all_signals_count_together() -> None:
    found = used([0, 1, 2, 3], [4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7])
    assert found.codes == 16
    assert found.used_percent == pytest.approx(100 * (1 + 1 / 8) / 2)
    assert found.entropy_bits == pytest.approx((3 + 0) / 2)
    assert found.bits_per_code == 3


def test_frequent_codes_are_worth_less() -> None:
    found = used([0, 0, 0, 1])
    expected = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert found.entropy_bits == pytest.approx(expected / 2)
    assert found.used_percent == pytest.approx(100 * (2 + 1) / 16)


def test_nothing_to_count_is_refused() -> None:
    with pytest.raises(ValueError, match="no codes to count"):
        used()
