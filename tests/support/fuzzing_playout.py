"""Tampered packets for a jitter buffer with a real decoder. Part of `fuzzing`."""

import random

import numpy as np

import chirrup
from chirrup.live.playout import Playout
from fuzzing_bitstream import tampered

PUSHES = 5
"""Packets of a round."""


class RandomPlayout:
    """A stream of sound, changed and random packets, some of which are late, lost or repeated."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        codec = chirrup.load("lrac-t1")
        noise = np.random.default_rng(0).normal(0, 0.05, 24_000).astype(np.float32)
        self.sound = codec.encoder(redundancy=2).push(noise)
        self.samples, self.rate_hz = codec.frame_samples, codec.sample_rate_hz
        self.playout = Playout(codec.decoder())
        self.number = 0

    def __call__(self) -> int:
        draw = self.draw
        for _ in range(PUSHES):
            self.number += 1
            packet = self.sound[self.number % len(self.sound)]
            way = draw.random()
            if way < 0.3:
                packet = tampered(packet, draw)
            elif way < 0.35:
                packet = draw.randbytes(draw.choice((0, 1, 9, 40)))
            number = self.number + draw.choice((0, 0, 0, 1, -1, -4))
            now_s = self.number * self.samples / self.rate_hz
            if draw.random() < 0.9:
                timestamp = number * self.samples & 0xFFFFFFFF
                self.playout.push(number & 0xFFFF, timestamp, packet, now_s)
            audio = self.playout.pull(now_s)
            assert np.isfinite(audio).all()
            assert np.abs(audio).max(initial=0) < 10
        return PUSHES
