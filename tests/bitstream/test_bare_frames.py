"""Bare frames and the text in their spare bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chirrup.bitstream import BareFormat, BitWriter, TextReceiver, TextSender, frames_of


@given(st.integers(1, 12), st.integers(4, 16), st.integers(0, 64), st.integers(0, 2**32 - 1))
def test_frames_come_back_from_pieces_of_any_size(
    codebooks: int, width: int, spare: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    bits = min(max(8, codebooks * width) + spare, codebooks * width + 64)
    layout, writer = BareFormat(codebooks, width, bits), BitWriter()
    codes = random.integers(0, 1 << width, (9, codebooks))
    codes[3] = (1 << width) - 1
    frames = [layout.pack(row, [1] * layout.spare_bits) for row in codes]
    data = b"".join(writer.push(frame) for frame in frames) + writer.flush()
    assert len(data) == -(-9 * layout.bits // 8)
    pieces = [data[i : i + 3] for i in range(0, len(data), 3)]
    found = [layout.unpack(f, 1 << width) for f in frames_of(pieces, layout.bits)][:9]
    for row, frame in zip(codes, found, strict=True):
        assert frame is not None  # not even all ones are an end mark
        changed = np.flatnonzero(frame.codes != row)
        ones = ((row[:, None] >> np.arange(width)) & 1).sum()
        assert not len(changed) or ones >= codebooks * width - layout.tolerance
        assert frame.spare.all()


def test_an_end_mark_with_wrong_bits_and_codes_beyond_the_codebook() -> None:
    layout = BareFormat(6, 10, 64)
    mark = layout.end_mark
    mark[[3, 40]] = 0
    assert layout.unpack(mark, 1024) is None
    mark[50] = 0
    assert layout.unpack(mark, 1024) is not None
    frame = layout.unpack(layout.pack(np.array([1, 2, 1001, 3, 4, 5])), 1000)
    assert frame is not None
    assert frame.codes.tolist() == [1, 2, -1, -1, -1, -1]


@pytest.mark.parametrize(("codebooks", "bits"), [(6, 59), (6, 125), (1, 7)])
def test_frames_that_do_not_fit_are_refused(codebooks: int, bits: int) -> None:
    with pytest.raises(ValueError, match="bits a frame do not fit"):
        BareFormat(codebooks, 10 if codebooks == 6 else 5, bits)


@given(st.text(min_size=1, max_size=60), st.integers(0, 2000), st.integers(1, 7))
@settings(max_examples=60)
def test_a_text_arrives_from_any_place_of_the_stream(text: str, start: int, size: int) -> None:
    sender, receiver = TextSender(text), TextReceiver()
    sender.take(start)
    repetition = (len(text.encode()) + 2) * 10 + 8
    texts = []
    for _ in range(2 * repetition // size + 2):
        texts += receiver.push(sender.take(size))
    assert texts
    assert set(texts) == {text}


def test_texts_with_wrong_bits_are_ignored_and_others_arrive() -> None:
    sender, receiver = TextSender("DL1ABC 73"), TextReceiver()
    bits = np.array(sender.take(60_000), np.uint8)
    wrong = np.random.default_rng(0).random(len(bits)) < 0.01
    texts = receiver.push((bits ^ wrong).tolist())
    assert 100 < len(texts) < 400  # of 600; the share of 97 bits without error is 0.38
    assert set(texts) == {"DL1ABC 73"}


def test_random_bits_are_no_text() -> None:
    receiver = TextReceiver()
    assert receiver.push(np.random.default_rng(1).integers(0, 2, 300_000).tolist()) == []
    assert len(receiver.bits or []) < 3000


@pytest.mark.parametrize("text", ["", "é" * 128])
def test_texts_of_wrong_length_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="use 1 to 255"):
        TextSender(text).take(100)
