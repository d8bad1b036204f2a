import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirrup.bitstream import FormatError, code_dtype, pack, packed_size, unpack


@given(st.integers(1, 16), st.integers(0, 200), st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_unpack_gives_back_what_pack_took(bits: int, count: int, seed: int, start: int) -> None:
    values = np.random.default_rng(seed).integers(0, 1 << bits, count)
    data = pack(values, bits)
    assert len(data) == packed_size(count, bits)
    assert (unpack(bytes(start) + data, bits, count, start) == values).all()


def test_most_significant_bit_comes_first() -> None:
    assert pack(np.array([1, 1023, 0]), 10).hex(" ") == "00 7f f0 00"
    assert pack(np.array([[1, 0, 1], [1, 0, 0]]), 1) == bytes([0b10110000])


def test_codes_out_of_range_are_refused() -> None:
    for values, bits in (([1024], 10), ([-1], 10), ([0.5], 10), ([0], 17), ([0], 0)):
        with pytest.raises(ValueError, match="codes"):
            pack(np.array(values), bits)


def test_padding_must_be_zero_and_data_long_enough() -> None:
    with pytest.raises(FormatError, match="padding") as caught:
        unpack(b"\xff\xff", 10, 1)
    assert caught.value.offset == 1
    with pytest.raises(FormatError, match="need 4 bytes"):
        unpack(b"\x00\x00", 10, 3)


def test_dtype_has_room_for_every_code_and_minus_one() -> None:
    for bits in range(1, 17):
        assert np.iinfo(code_dtype(bits)).max >= (1 << bits) - 1


@pytest.mark.parametrize(
    ("offset", "advice", "text"),
    [
        (7, "", "x: wrong (at byte 7)"),
        (7, "mend it", "x: wrong (at byte 7): mend it"),
        (0, "mend it", "x: wrong: mend it"),
        (0, "", "x: wrong"),
    ],
)
def test_format_error_survives_a_worker_process(offset: int, advice: str, text: str) -> None:
    error = pickle.loads(pickle.dumps(FormatError("wrong", offset, advice).of("x")))
    assert (str(error), error.offset, error.advice) == (text, offset, advice)
