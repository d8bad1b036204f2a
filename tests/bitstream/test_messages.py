"""Messages of a few bytes, each decodable without the others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirrup.bitstream import FormatError, message_frames, pack_messages, unpack_messages


@given(
    st.integers(1, 12),
    st.integers(8, 16),
    st.integers(1, 300),
    st.integers(40, 250),
)
def test_messages_in_any_order_with_losses(
    codebooks: int, width: int, total: int, size: int
) -> None:
    frames = message_frames(size, codebooks, width, 1)
    total = min(total, 256 * frames)
    codes = np.random.default_rng(total).integers(0, 1 << width, (codebooks, total))
    messages = pack_messages(codes, width, frames)
    assert max(map(len, messages)) <= size
    order = np.random.default_rng(size).permutation(len(messages)).tolist()
    found, lost = unpack_messages([messages[i] for i in order], width, 12, 1 << width)
    assert lost == []
    assert np.array_equal(found, codes)
    for index, message in enumerate(messages):
        found, lost = unpack_messages([message], width, 12, 1 << width)
        span = slice(index * frames, (index + 1) * frames)
        assert np.array_equal(found[:, span], codes[:, span])
        assert lost == [i for i in range(len(messages)) if i != index]


@given(st.binary(max_size=40), st.integers(1, 16))
def test_random_bytes_are_a_message_or_a_format_error(data: bytes, width: int) -> None:
    for message in (data, b"\x01\x00\x00\x00\x00\x05" + data):
        try:
            codes, _ = unpack_messages([message], width, 8, 1 << width)
        except FormatError:
            continue
        assert codes.max() < 1 << width


def test_messages_that_do_not_fit() -> None:
    one = pack_messages(np.ones((2, 9), int), 10, 4)
    other = pack_messages(np.zeros((2, 9), int), 10, 4)
    for messages, words in (
        ([], "no message"),
        ([one[0][:6]], "only 6 bytes"),
        ([one[0], other[1]], "several recordings"),
        ([one[0][:-1]], "of 4"),
        ([one[2] + b"\x00"], "bytes after"),
        ([b"\x08" + one[0][1:]], "9 codebooks"),
        ([one[0][:3] + b"\x03" + one[0][4:]], "number 3 of 3"),
    ):
        with pytest.raises(FormatError, match=words):
            unpack_messages(messages, 10, 8, 1024)
    with pytest.raises(FormatError, match="too large"):
        unpack_messages(pack_messages(np.full((1, 1), 1001), 10, 4), 10, 8, 1000)
    with pytest.raises(ValueError, match="use 9 or more"):
        message_frames(8, 2, 10, 1)
    with pytest.raises(ValueError, match="257 messages"):
        pack_messages(np.ones((2, 257), int), 10, 1)


def test_damaged_messages_count_as_lost() -> None:
    """Also a message whose damaged header is the header of another recording."""
    codes = np.random.default_rng(0).integers(0, 1024, (2, 14))
    sound = pack_messages(codes, 10, 4)
    messages = [sound[0][:-1], b"", sound[2], sound[1][:1] + b"xy" + sound[1][3:], sound[3]]
    faults: list[tuple[int | None, str]] = []
    found, lost = unpack_messages(
        messages, 10, 8, 1024, lambda position, error: faults.append((position, str(error)))
    )
    assert lost == [0, 1]
    assert np.array_equal(found[:, 8:], codes[:, 8:])
    assert (found[:, :8] == -1).all()
    assert [position for position, _ in faults] == [0, 1, 3]
    assert "of another recording" in faults[2][1]


def test_wrong_codes_are_found_if_all_messages_are_there() -> None:
    codes = np.random.default_rng(0).integers(0, 1024, (2, 14))
    messages = pack_messages(codes, 10, 4)
    messages[1] = messages[1][:10] + bytes([messages[1][10] ^ 1]) + messages[1][11:]
    faults: list[tuple[int | None, str]] = []

    def on_damage(position: int | None, error: FormatError) -> None:
        faults.append((position, error.args[0]))

    found, lost = unpack_messages(messages, 10, 8, 1024, on_damage)
    assert faults == [(None, "the codes do not match the checksum of the recording")]
    assert lost == []
    assert np.flatnonzero((found != codes).any(axis=0)).tolist() == [5]
    with pytest.raises(FormatError, match="do not match the checksum"):
        unpack_messages(messages, 10, 8, 1024)
    unpack_messages(messages[:3], 10, 8, 1024)  # the lost codes are part of the checksum


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ((), "there is no message"),
        ((0, 1), r"no message can be read \(2 messages; the first: .* of 4\)"),
        ((2, 4), "several recordings"),  # one of each
        ((2, 3, 4, 5), "several recordings"),  # two of each
        ((2, 3, 6, 4, 5), "several recordings"),
    ],
)
def test_damage_after_which_no_recording_is_found(kept: tuple[int, ...], words: str) -> None:
    one = pack_messages(np.ones((2, 12), int), 10, 4)
    other = pack_messages(np.zeros((2, 12), int), 10, 4)
    messages = [one[0][:-1], b"", one[0], one[1], other[0], other[1], one[2]]
    with pytest.raises(FormatError, match=words):
        unpack_messages([messages[i] for i in kept], 10, 8, 1024, lambda *_: None)
