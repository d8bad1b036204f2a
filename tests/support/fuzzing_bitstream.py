"""Tampered packets and files: each is read, or raises FormatError. Part of `fuzzing`."""

import io
import random
import resource
import time
import traceback
from collections import Counter
from collections.abc import Callable

import numpy as np

from bitstream_samples import Pipe, make_codes, make_file, make_header, mend
from chirrup.bitstream import FormatError, Packet, Reader, pack_packet, unpack_packet

MOST_SECONDS = 2
MOST_BYTES = 64 << 20
SHAPES = ((12, 10), (6, 10), (1, 13), (32, 12), (64, 10), (3, 16), (5, 1))
"""Codebooks, and bits of a code."""


class Packets:
    """A model's packets, changed, joined, cut, and random bytes."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.shapes: list[tuple[int, int, list[bytes]]] = []
        for books, bits in SHAPES:
            sound = []
            for number in range(40):
                frames = max(draw.randint(1, 4), -(-8 // bits))
                codes = make_codes(make_header(codebooks=books, bits=bits), frames, number)[0]
                earlier = codes[: draw.randint(1, min(books, 16)), :1] if number % 2 else None
                if frames <= 4:
                    sound.append(pack_packet(codes[: draw.randint(1, books)], earlier, bits))
            if sound:
                self.shapes.append((books, bits, sound))

    def __call__(self) -> int:
        books, bits, sound = self.draw.choice(self.shapes)
        way = self.draw.random()
        if way < 0.2:
            data = self.draw.randbytes(self.draw.choice((0, 1, 2, 3, 9, 60, 1000)))
        else:
            data = tampered(self.draw.choice(sound), self.draw)
        size = (1 << bits) - self.draw.choice((0, 0, 1))
        packet = unpack_packet(data, bits, books, size)
        check_packet(packet, books, size)
        return len(data)


def check_packet(packet: Packet, books: int, size: int) -> None:
    for codes in (packet.codes, packet.redundant):
        if codes is not None:
            assert 1 <= codes.shape[0] <= books
            assert 0 <= codes.min() <= codes.max() < size


class Files:
    """Files of several shapes; in most of them the CRCs are true again after the change."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.sound: list[bytes] = []
        for number, (books, bits) in enumerate(SHAPES):
            channels = 1 + number % 3
            header = make_header(channels, books, bits, {"title": "x"} if number % 2 else None)
            codes = make_codes(header, 60, number, absent=bool(number % 2))
            self.sound.append(make_file(header, codes, 7, 28_000))

    def __call__(self) -> int:
        data = tampered(self.draw.choice(self.sound), self.draw)
        if len(data) >= 16 and self.draw.random() < 0.65:
            data = mend(bytearray(data))
        pipe = self.draw.random() < 0.2
        reader = Reader(Pipe(data, 500) if pipe else io.BytesIO(data))
        start = self.draw.choice((0, 0, 0, 20, 59, 1000, 2**32 - 1))
        expected = start
        for frame, codes in reader.chunks(start):
            assert frame >= expected
            assert codes.shape[:2] == (reader.header.channels, reader.header.codebooks)
            expected = frame + codes.shape[2]
        reader.finish()
        return len(data)


def tampered(data: bytes, draw: random.Random) -> bytes:
    """With bits flipped, bytes set, or a part cut, doubled, moved or taken out."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        if not changed:
            break
        place, way = draw.randrange(len(changed)), draw.randrange(6)
        stop = min(len(changed), place + draw.choice((1, 2, 4, 40)))
        if way < 2:
            changed[place] ^= 1 << draw.randrange(8)
        elif way == 2:
            changed[place:stop] = draw.choice((b"\0", b"\xff")) * (stop - place)
        elif way == 3:
            changed[place:stop] = draw.randbytes(stop - place)
        elif way == 4:
            del changed[place : draw.choice((stop, len(changed)))]
        else:
            changed[place:place] = changed[place:stop]
    return bytes(changed)


def rounds(target: Callable[[], int], count: int) -> Counter[str]:
    """Count the outcomes of ``count`` rounds, and print those that break a rule."""
    outcomes: Counter[str] = Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        begin = time.process_time()
        try:
            with np.errstate(all="raise"):
                target()
            outcome = "ran"
        except FormatError:
            outcome = "FormatError"
        except Exception:
            outcome = traceback.format_exc(limit=-4)
        if (seconds := time.process_time() - begin) > MOST_SECONDS:
            outcome = f"{seconds:.1f} s"
        rule = outcome in ("ran", "FormatError")
        outcomes[outcome if rule else "broken"] += 1
        if not rule:
            print(f"{type(target).__name__} {number}:\n{outcome}\n", flush=True)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    if grown > MOST_BYTES:
        outcomes["broken"] += 1
        print(f"{type(target).__name__}: {grown / 1e6:.0f} MB", flush=True)
    return outcomes
