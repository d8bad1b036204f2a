"""Random packets and ticks for the jitter buffer, and tampered datagrams. Part of `fuzzing`."""

import random

from chirrup.live import rtp
from chirrup.live.delays import WINDOW_PACKETS
from chirrup.live.description import Description, parse_description
from chirrup.live.jitter import MAX_WAITING, JitterBuffer
from fuzzing_bitstream import tampered

PUSHES = 10
"""Packets of a round."""
STEPS = (*200 * (1,), *5 * (-3, 0, 2, 5), 40, -40, 2000, -2000, 70_000)
"""Distances of a packet from the one before, in packets; most are in order."""


class Jitter:
    """A stream with packets at wrong times, of random numbers, sources and lengths, and ticks."""

    def __init__(self, draw: random.Random) -> None:
        self.draw, self.buffer = draw, JitterBuffer(480, 24_000)
        self.now_s, self.place = 1e9, 0

    def __call__(self) -> int:
        draw = self.draw
        strange = draw.random() < 0.1
        for _ in range(PUSHES):
            way = draw.random()
            self.now_s += draw.choice((0, 0.001, 0.02, -0.01, 0.4, 20)) * (way < 0.02)
            self.place += draw.choice(STEPS)
            sequence, timestamp = self.place, self.place * 480
            if strange:
                sequence, timestamp = draw.getrandbits(16), draw.getrandbits(32)
            elif way < 0.8:  # in time
                self.now_s = max(self.now_s, 1e9 + self.place * 0.02)
            packet = draw.randbytes(draw.choice((0, 1, 9)))
            self.buffer.push(sequence, timestamp, packet, self.now_s, int(way < 0.01))
            if way < 0.95:
                self.buffer.pull(self.now_s + 0.1 * draw.random(), way < 0.1)
        count, waiting = self.buffer.statistics, len(self.buffer._waiting)
        assert waiting <= MAX_WAITING
        assert len(self.buffer._delays._sorted) <= WINDOW_PACKETS
        assert count.received == count.played + count.late + count.discarded + waiting
        assert count.lost >= 0
        assert 20 <= count.target_ms <= 500
        return PUSHES


class Datagrams:
    """Datagrams of RTP and RTCP, changed, joined, cut, and random bytes."""

    def __init__(self, draw: random.Random) -> None:
        description = Description("demo", "0" * 32, 24_000, 1, 1000, 2, 1, 0)
        messages = (
            rtp.Sent(1 << 63, 480, 1, 3),
            rtp.Report(7, 0.5, -2, 65_537, 12, 3, 4),
            rtp.Application(rtp.COMFORT_NOISE, b"\x32"),
            rtp.Application(rtp.DESCRIPTION, description.text.encode()),
            rtp.Bye(),
        )
        self.draw = draw
        self.sound = [rtp.Voice(5, 480, 9, b"voice", True).pack(), rtp.Control(9, messages).pack()]
        self.sound += [rtp.Control(9, (message,)).pack() for message in messages]

    def __call__(self) -> int:
        draw = self.draw
        if draw.random() < 0.2:
            data = draw.randbytes(draw.choice((0, 1, 3, 8, 12, 60, 1500)))
        else:
            data = tampered(draw.choice(self.sound), draw)
        parsed = rtp.parse(data)
        if isinstance(parsed, rtp.Voice):
            assert len(parsed.payload) <= len(data) - 12
            assert rtp.parse(parsed.pack()) == parsed or rtp.is_control(parsed.pack())
        else:
            assert rtp.parse(parsed.pack()) == parsed or not parsed.messages
            for message in parsed.messages:
                if isinstance(message, rtp.Application) and message.kind == rtp.DESCRIPTION:
                    parse_description(message.data)
        return len(data)
