"""The receiver of streams: RTP packets to audio, one stream at a time, and reports to its sender.

It reads no clock. The caller passes the time.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from chirrup.codec import Codec
from chirrup.live import rtp
from chirrup.live.comfort_noise import ComfortNoise
from chirrup.live.description import HASH_DIGITS, Description, parse_description
from chirrup.live.link import Address
from chirrup.live.playout import Playout

AWAY_S: Final = 2.0
"""Silence of a sender after which another one may take its place."""
GONE_S: Final = 5.0
"""Silence of the other end after which nothing is sent to it, and its descriptions expire."""
UNPROVED_S: Final = 1.0
"""Time after a description in which voice is sent to an address that has proved nothing else."""
MAX_OFFERS: Final = 16
"""Descriptions of streams that have not begun; further ones replace the oldest."""
MAX_HELD: Final = 256
"""Packets that are kept while a model is loaded."""


class Loading:
    """The answer of `find_codec` while it loads a model in another thread."""


Found = Codec | Loading | None
Key = tuple[int, Address]
"""SSRC and address of a sender."""


@dataclass
class Offer:
    """A description whose stream has not begun.

    Attributes:
        description: the latest one.
        arrival_s: time at which it arrived.
        until_s: time until which voice is sent to its address.
    """

    description: Description
    arrival_s: float
    until_s: float


@dataclass
class ReceiverStatistics:
    """Counts of a receiver, in addition to the counts of `Playout`.

    Attributes:
        payload_bytes: bytes of the codec's packets.
        undescribed: RTP packets without a description from their address.
        busy: RTP packets of another stream, which came while the present one was under way.
        other_model: RTP packets of a stream whose model is not installed, or is not the present
            one.
        streams: streams that were received.
    """

    payload_bytes: int = 0
    undescribed: int = 0
    busy: int = 0
    other_model: int = 0
    streams: int = 0


class Receiver:
    """The receiver. It belongs to one thread at a time.

    A stream begins with an RTP packet whose address has sent a description of its SSRC. It keeps
    its place until it ends, or nothing of it arrives for `AWAY_S`. A description expires after
    `GONE_S`.

    Args:
        find_codec: returns the model of a description, `Loading` if it is to be asked again, or
            None if the stream cannot be decoded. It must not block.
    """

    def __init__(self, find_codec: Callable[[Description], Found]) -> None:
        self.statistics = ReceiverStatistics()
        self.codec: Codec | None = None
        self.playout: Playout | None = None
        self.description: Description | None = None
        self.ended = False
        self._find_codec = find_codec
        self._offers: OrderedDict[Key, Offer] = OrderedDict()
        self._held: list[tuple[Key, rtp.Voice, float]] = []
        self._stream: Key | None = None
        self._noise: ComfortNoise | None = None
        self._pauses = self._left = False
        self._last_s = 0.0
        self._sent, self._sent_s = 0, 0.0
        self._before, self._lost_before = (0, 0), 0

    def voice(self, packet: rtp.Voice, address: Address, now_s: float) -> None:
        """Take an RTP packet. One that does not belong to the stream is counted and ignored."""
        key = packet.source, address
        if key != self._stream and not self._begins(key, packet, now_s):
            return
        assert self.playout is not None
        self.statistics.payload_bytes += len(packet.payload)
        self._last_s, self._pauses = now_s, False
        self.playout.push(packet.sequence, packet.timestamp, packet.payload, now_s, packet.source)

    def control(
        self,
        source: int,
        messages: tuple[rtp.Message, ...],
        address: Address,
        now_s: float,
        reports: bool = False,
    ) -> None:
        """Take the messages of an RTCP datagram.

        Args:
            source: its SSRC.
            messages: its messages. A Bye alone ends the connection. A Bye with other messages ends
                the stream only: its sender may still receive.
            address: the address that it came from.
            now_s: the time.
            reports: whether it has a report of the stream that this end sends.

        Raises:
            FormatError: a description is malformed.
        """
        key = source, address
        for message in messages:
            if isinstance(message, rtp.Application) and message.kind == rtp.DESCRIPTION:
                self._offer(key, parse_description(message.data), now_s)
        leaves = messages == (rtp.Bye(),)
        if leaves:
            self._offers.pop(key, None)
        elif reports and key in self._offers:
            self._offers[key].until_s = now_s + GONE_S
        if key != self._stream:
            return
        self._left |= leaves
        self._last_s = now_s
        for message in messages:
            if isinstance(message, rtp.Sent):
                self._sent, self._sent_s = message.ntp >> 16 & 0xFFFFFFFF, now_s
            elif isinstance(message, rtp.Bye):
                self.ended = True
            elif isinstance(message, rtp.Application) and message.kind == rtp.COMFORT_NOISE:
                self._pause(message.data)

    def _pause(self, noise: bytes) -> None:
        """Play comfort noise until the next packet."""
        if self._noise is not None:
            self._noise.describe(noise)
            self._pauses = True

    def _offer(self, key: Key, description: Description, now_s: float) -> None:
        """Keep a description until its stream begins. Its model is loaded meanwhile."""
        if key == self._stream:
            if self.codec is not None and is_of(description, self.codec):
                self.description = description
            return
        before = self._offers.get(key)
        until_s = max(now_s + UNPROVED_S, 0.0 if before is None else before.until_s)
        self._offers[key] = Offer(description, now_s, until_s)
        self._offers.move_to_end(key)
        if len(self._offers) > MAX_OFFERS:
            self._offers.popitem(last=False)
        if self.codec is None:
            self._find_codec(description)

    def _begins(self, key: Key, packet: rtp.Voice, now_s: float) -> bool:
        """Begin the stream of a packet, unless another one is under way."""
        offer = self._offers.get(key)
        if offer is None or now_s > offer.arrival_s + GONE_S:
            self.statistics.undescribed += 1
            return False
        if self._stream is not None and not self.is_over(now_s):
            self.statistics.busy += 1
            return False
        description = offer.description
        found = self._find_codec(description) if self.codec is None else self.codec
        if isinstance(found, Loading):
            self._held.append((key, packet, now_s))
            del self._held[:-MAX_HELD]
            return False
        if found is None or not is_of(description, found):
            self.statistics.other_model += 1
            return False
        if self.playout is None:
            self.codec, self._noise = found, ComfortNoise(found.sample_rate_hz)
            self.playout = Playout(found.decoder(frames_per_packet=description.frames))
        del self._offers[key]
        self._stream, self.description = key, description
        self.ended = self._left = False
        self._sent, self._lost_before = 0, self.playout.statistics.lost
        self.statistics.streams += 1
        held, self._held = self._held, []
        for of, earlier, arrival_s in held:
            if of == key:
                self.voice(earlier, key[1], arrival_s)
        return True

    def is_over(self, now_s: float) -> bool:
        """Return whether the stream has ended, or nothing of it has arrived for `AWAY_S`."""
        return self._stream is not None and (self.ended or now_s > self._last_s + AWAY_S)

    def sender(self, now_s: float) -> Address | None:
        """Return the address of the other end, or None if nothing may be sent.

        It is the address of the stream until a Bye, or silence of `GONE_S`. Otherwise it is an
        address whose description is new, or that reports the stream that this end sends.
        """
        if self._stream is not None and not self._left and now_s <= self._last_s + GONE_S:
            return self._stream[1]
        latest = max(self._offers, key=lambda key: self._offers[key].until_s, default=None)
        return None if latest is None or now_s > self._offers[latest].until_s else latest[1]

    def pull(self, now_s: float) -> np.ndarray | None:
        """Return the audio of the next tick, or None before the first stream."""
        if self.playout is None or self._noise is None:
            return None
        audio = self.playout.pull(now_s)
        return audio + self._noise.pull(audio.shape[-1], self._pauses and not self.is_over(now_s))

    def report(self, now_s: float) -> rtp.Report | None:
        """Return a report of the stream, or None if there is none."""
        playout, description = self.playout, self.description
        if playout is None or description is None or self._stream is None or self.is_over(now_s):
            return None
        count = playout.statistics
        expected, lost = count.received + count.lost, count.lost
        new, new_lost = expected - self._before[0], lost - self._before[1]
        self._before = expected, lost
        return rtp.Report(
            self._stream[0],
            max(0.0, new_lost / new) if new > 0 else 0.0,
            lost - self._lost_before,
            playout.buffer.highest,
            round(count.jitter_ms * description.rate / 1000),
            self._sent,
            round((now_s - self._sent_s) * 65_536) if self._sent else 0,
        )


def is_of(description: Description, codec: Codec) -> bool:
    """Return whether a stream was made with the weights of a model."""
    return (description.model, description.weights, description.rate, description.channels) == (
        codec.name,
        codec.codes_sha256[:HASH_DIGITS],
        codec.sample_rate_hz,
        codec.channels,
    )
