import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirrup.bitstream import FormatError, Packet, pack_packet, unpack_packet


def random_codes(codebooks: int, frames: int, bits: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << bits, (codebooks, frames))


def check(packet: Packet, codes: np.ndarray, redundant: np.ndarray | None) -> None:
    assert packet.codes.shape == codes.shape
    assert (packet.codes == codes).all()
    if redundant is None:
        assert packet.redundant is None
    else:
        assert packet.redundant is not None
        assert packet.redundant.shape == redundant.shape
        assert (packet.redundant == redundant).all()


@given(
    st.integers(1, 64),
    st.integers(1, 4),
    st.integers(8, 16),
    st.none() | st.tuples(st.integers(1, 16), st.integers(1, 16)),
    st.integers(0, 2**32 - 1),
)
def test_round_trip(
    codebooks: int, frames: int, bits: int, extra: tuple[int, int] | None, seed: int
) -> None:
    codes = random_codes(codebooks, frames, bits, seed)
    redundant = random_codes(*extra, bits, seed + 1) if extra else None
    check(unpack_packet(pack_packet(codes, redundant, bits), bits, 64), codes, redundant)


def test_the_length_tells_the_number_of_codebooks() -> None:
    """For all widths, frames and redundancies, more codebooks make a longer packet, and can be
    unpacked."""
    for bits in range(1, 17):
        for frames in range(max(1, -(-8 // bits)), 5):
            for redundancy in (None, *((k, t) for k in (1, 2, 3, 16) for t in range(1, 17))):
                redundant = random_codes(*redundancy, bits) if redundancy else None
                last = 0
                for codebooks in (*range(1, 10), 16, 20, 63, 64):
                    codes = random_codes(codebooks, frames, bits)
                    data = pack_packet(codes, redundant, bits)
                    assert len(data) > last
                    last = len(data)
                    check(unpack_packet(data, bits, 64), codes, redundant)


@given(st.binary(max_size=80), st.integers(1, 16), st.integers(1, 64))
def test_random_bytes_are_a_packet_or_a_format_error(data: bytes, bits: int, most: int) -> None:
    for packet in (data, b"\x00" + data, b"\x07" + data):
        try:
            unpacked = unpack_packet(packet, bits, most)
        except FormatError:
            continue
        # what is accepted is canonical: it packs to the same bytes
        assert pack_packet(unpacked.codes, unpacked.redundant, bits) == packet


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\x40\x00\x00", "version 1"),
        (b"\x08\x00\x00", "profile 1"),
        (b"\x01", "redundancy byte"),
        (b"\x01\xff\x00", "length"),
        (b"\x00", "length"),
        (b"\x00\x00\x00\x00\x00\x00", "the 3 of the model"),
        (b"\x00\x00\x01", "padding"),
    ],
)
def test_malformed_packets_say_why(data: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        unpack_packet(data, 10, 3)


def test_pack_refuses_what_cannot_be_told_apart_or_does_not_fit() -> None:
    good = random_codes(2, 1, 10)
    for codes, redundant, bits, words in (
        (random_codes(2, 1, 7), None, 7, "2 frames or more"),
        (random_codes(2, 5, 10), None, 10, "codes are"),
        (random_codes(0, 1, 10), None, 10, "codes are"),
        (good, random_codes(17, 1, 10), 10, "redundant codes are"),
        (good, random_codes(1, 17, 10), 10, "redundant codes are"),
        (np.full((2, 1), -1), None, 10, "do not fit"),
    ):
        with pytest.raises(ValueError, match=words):
            pack_packet(codes, redundant, bits)
