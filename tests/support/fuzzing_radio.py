"""Tampered bare frames, messages, side text and descriptions of noise. Part of `fuzzing`."""

import random

import numpy as np

from chirrup.bitstream import (
    BareFormat,
    TextReceiver,
    frames_of,
    message_frames,
    pack_messages,
    unpack_messages,
)
from chirrup.bitstream.bare import MAX_SPARE_BITS
from chirrup.bitstream.side_text import MAX_TEXT_BYTES, text_bits
from chirrup.live.comfort_noise import MAX_ORDER, unpack_noise
from fuzzing_bitstream import SHAPES, tampered


class BareFrames:
    """Bytes of frames of several layouts, changed, cut in two, and random bytes."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.streams: list[tuple[BareFormat, bytes]] = []
        for books, bits in SHAPES:
            spare = draw.choice((8, 11, MAX_SPARE_BITS))
            layout = BareFormat(books, bits, max(8, books * bits + spare))
            codes = np.random.default_rng(books).integers(0, 1 << bits, (6, books))
            frames = [layout.pack(row, [1, 0] * (spare // 2)) for row in codes]
            sound = np.packbits(np.concatenate([*frames, layout.end_mark])).tobytes()
            self.streams.append((layout, sound))
        self.receiver = TextReceiver()

    def __call__(self) -> int:
        draw = self.draw
        layout, sound = draw.choice(self.streams)
        data = draw.randbytes(40) if draw.random() < 0.2 else tampered(sound, draw)
        cut = draw.randrange(len(data) + 1)
        size = max(1, (1 << layout.bits_per_code) - draw.choice((0, 0, 1)))
        for frame in frames_of([data[:cut], data[cut:]], layout.bits):
            found = layout.unpack(frame, size)
            if found is not None:
                assert found.codes.shape == (layout.codebooks,)
                assert -1 <= found.codes.min() <= found.codes.max() < size
                assert found.spare.shape == (layout.spare_bits,)
                self.receiver.push(found.spare.tolist())
        return len(data)


class SideText:
    """Bits of texts with wrong, missing and further bits, and random bits."""

    def __init__(self, draw: random.Random) -> None:
        self.draw, self.receiver = draw, TextReceiver()
        self.texts = ["DL1ABC", "73", "é" * 40, "\x7e\x7f" * 20, "x" * 255]

    def __call__(self) -> int:
        draw = self.draw
        if draw.random() < 0.2:
            bits = [draw.getrandbits(1) for _ in range(draw.randrange(60))]
        elif draw.random() < 0.05:
            bits = [draw.getrandbits(1)] * 3000
        else:
            bits = text_bits(draw.choice(self.texts))
            for _ in range(draw.choice((0, 0, 1, 2, 8))):
                place = draw.randrange(len(bits))
                bits[place : place + draw.randrange(2)] = [draw.getrandbits(1)] * draw.randrange(3)
        for text in self.receiver.push(bits):
            assert len(text.encode()) <= MAX_TEXT_BYTES
        ones = 6  # the length is checked at zeros
        assert len(self.receiver.bits or []) <= (MAX_TEXT_BYTES + 3) * 8 + ones
        return len(bits)


class Messages:
    """Messages of several recordings: lost, repeated, in any order, mixed, changed and random."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.sound: list[tuple[int, int, list[bytes]]] = []
        for books, bits in SHAPES:
            if books * bits >= 8:
                codes = np.random.default_rng(books).integers(0, 1 << bits, (books, 40))
                frames = message_frames(120, books, bits, 1)
                self.sound.append((books, bits, pack_messages(codes, bits, frames)))

    def __call__(self) -> int:
        draw = self.draw
        books, bits, sound = draw.choice(self.sound)
        messages = draw.choices(sound, k=draw.randrange(6))
        for _ in range(draw.choice((0, 1, 1, 2))):
            if messages and draw.random() < 0.8:
                place = draw.randrange(len(messages))
                messages[place] = tampered(messages[place], draw)
            else:
                messages.append(draw.randbytes(draw.choice((0, 5, 6, 7, 120))))
        size = (1 << bits) - draw.choice((0, 0, 1))
        damaged: list[int | None] = []
        on_damage = draw.choice((None, lambda position, _: damaged.append(position)))
        codes, lost = unpack_messages(messages, bits, books, size, on_damage)
        assert 1 <= codes.shape[0] <= books
        assert codes.shape[1] <= 256 * 256
        assert -1 <= codes.min() <= codes.max() < size
        assert lost == sorted(set(lost))
        assert None not in damaged or not lost
        assert set(damaged) <= {None, *range(len(messages))}
        return sum(map(len, messages))


class NoiseDescriptions:
    """Changed and random descriptions of noise."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw

    def __call__(self) -> int:
        draw = self.draw
        payload = tampered(bytes([60, 30, 200, 127, 120, 131, 127, 126, 127]), draw)
        if draw.random() < 0.2:
            payload = draw.randbytes(draw.choice((0, 1, 2, 40, 200)))
        noise = unpack_noise(payload)
        assert -127 <= noise.level_db <= 0
        assert len(noise.reflection) <= MAX_ORDER
        assert np.abs(noise.reflection).max(initial=0) < 1
        return len(payload)
