"""Sealed datagrams, and whole connections that get tampered datagrams. Part of `fuzzing`."""

import random

import numpy as np

import chirrup
from chirrup.live import rtp
from chirrup.live.adaptation import Adaptation, Costs
from chirrup.live.endpoint import Endpoint
from chirrup.live.pauses import Pauses
from chirrup.live.receiver import MAX_HELD, MAX_OFFERS, Found, Loading, Receiver
from chirrup.live.sender import Sender
from fuzzing_bitstream import tampered

ADDRESSES = [("192.0.2.1", 5004), ("192.0.2.2", 5004), ("192.0.2.3", 9)]
KEY = bytes(range(32))


class Sealed:
    """Sealed datagrams: whole ones are opened once, all others are refused."""

    def __init__(self, draw: random.Random) -> None:
        from chirrup.live.seal import Opener, Sealer

        self.draw = draw
        self.sealers = [Sealer(KEY, "call"), Sealer(KEY, "answer"), Sealer(bytes(32), "call")]
        self.opener = Opener(KEY, "call")
        self.number = 0

    def __call__(self) -> int:
        draw, sealer = self.draw, self.draw.choice(self.sealers)
        self.number += 1
        source = draw.choice((7, 8))
        if draw.random() < 0.2:
            data = sealer.control(rtp.Control(source, (rtp.Bye(),)))
        else:
            data = sealer.voice(rtp.Voice(self.number, self.number, source, draw.randbytes(20)))
        whole = draw.random() < 0.3
        sent = data if whole else tampered(data, draw)
        opened = self.opener.open(sent)
        assert sealer is self.sealers[0]
        assert sent == data
        assert isinstance(opened, (rtp.Voice, rtp.Control))
        return len(data)


class Connections:
    """A sender that adapts and a receiver, which get the datagrams of several ends, also tampered,
    late and from other addresses. Nothing that arrives raises an error."""

    def __init__(self, draw: random.Random) -> None:
        self.draw, self.codec = draw, chirrup.load("iris-t1")
        self.now_s = 0.0
        self.ends = [self.end(source) for source in (7, 8, 9)]
        speech = np.random.default_rng(0).normal(0, 0.1, 4800).astype(np.float32)
        self.voices = [datagram for end in self.ends[:2] for datagram in end.push(speech)]

    def end(self, source: int) -> Endpoint:
        spec = self.codec.spec
        policy = Adaptation(Costs(spec, 1, 40, 1000.0), 40_000, spec.codebooks)
        pauses = Pauses(24_000, 24_000)
        sender = Sender(self.codec, 6000, 1, 24_000, source, 1, policy, pauses)
        return Endpoint(source, sender, Receiver(self.find))

    def find(self, description: object) -> Found:
        return self.draw.choice((self.codec, Loading(), None))

    def __call__(self) -> int:
        draw = self.draw
        self.now_s += draw.choice((0.0, 0.001, 0.02)) + 5 * (draw.random() < 0.001)
        end = draw.choice(self.ends)
        way = draw.random()
        if way < 0.7:
            data = draw.choice(self.voices)
        elif way < 0.9:
            data = end.control(self.now_s, end=draw.random() < 0.01) or b""
        elif way < 0.95:
            noise = draw.randbytes(draw.choice((0, 1, 9, 40)))
            data = rtp.Control(end.source, (rtp.Application(rtp.COMFORT_NOISE, noise),)).pack()
        else:
            data = draw.randbytes(draw.choice((0, 1, 12, 60)))
        if draw.random() < 0.5:
            data = tampered(data, draw)
        other = self.ends[2]
        other.receive(data, draw.choice(ADDRESSES[:2] if way < 0.9 else ADDRESSES), self.now_s)
        if draw.random() < 0.2:
            end.receive(data, ADDRESSES[2], self.now_s)
        assert other.receiver is not None
        assert len(other.receiver._offers) <= MAX_OFFERS
        assert len(other.receiver._held) <= MAX_HELD
        if draw.random() < 0.01:
            audio = other.receiver.pull(self.now_s)
            assert audio is None or np.isfinite(audio).all()
        assert end.sender is not None
        assert end.sender.adaptation is not None
        assert end.sender.adaptation.costs.rate_bps(end.sender.adaptation.choice) <= 40_000
        return len(data)
