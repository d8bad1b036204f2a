"""The receiver of streams: datagrams to audio, one stream at a time, and reports to its sender."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chirrup.codec import Codec
from chirrup.errors import FormatError
from chirrup.live import rtp
from chirrup.live.description import HASH_DIGITS, Description, parse_description
from chirrup.live.link import Address
from chirrup.live.playout import Playout
from chirrup.live.sender import opened

if TYPE_CHECKING:
    from chirrup.live.seal import Opener, Sealer

AWAY_S = 2.0
"""Silence of a sender after which another one may take its place."""


@dataclass
class ReceiverStatistics:
    """Counts of a receiver besides those of `Playout`.

    Attributes:
        datagrams: datagrams that arrived.
        datagram_bytes: their bytes, without UDP and IP.
        payload_bytes: bytes of the codec's packets in them.
        ignored: datagrams that were malformed, sealed otherwise or replayed, or of another program.
        undescribed: RTP packets that came before the description of their stream.
        streams: streams that were received.
    """

    datagrams: int = 0
    datagram_bytes: int = 0
    payload_bytes: int = 0
    ignored: int = 0
    undescribed: int = 0
    streams: int = 0


class Receiver:
    """The receiver. It belongs to one thread at a time.

    Args:
        find_codec: returns the model of a description, or None if it cannot be used. It is called
            once for each description that is new, until it returns a model.
        opener: opens the datagrams; None expects them in clear.
        sealer: encrypts the reports.
    """

    def __init__(
        self,
        find_codec: Callable[[Description], Codec | None],
        opener: "Opener | None" = None,
        sealer: "Sealer | None" = None,
    ) -> None:
        self.statistics = ReceiverStatistics()
        self.codec: Codec | None = None
        self.playout: Playout | None = None
        self.description: Description | None = None
        self.ended = False
        self._find_codec, self._opener, self._sealer = find_codec, opener, sealer
        self._own_source = secrets.randbits(32)
        self._source: int | None = None
        self._address: Address | None = None
        self._refused: Description | None = None
        self._last_s = 0.0
        self._sent, self._sent_s = 0, 0.0
        self._before, self._lost_before = (0, 0), 0

    def receive(self, datagram: bytes, address: Address, now_s: float) -> None:
        """Take a datagram. One that does not belong to the stream is counted and ignored."""
        count = self.statistics
        count.datagrams += 1
        count.datagram_bytes += len(datagram)
        try:
            packet = opened(datagram, self._opener)
            if isinstance(packet, rtp.Control):
                self._control(packet, address, now_s)
                return
        except FormatError:
            count.ignored += 1
            return
        if packet.kind != rtp.VOICE_TYPE:
            count.ignored += 1
        elif packet.source != self._source or self.playout is None:
            count.undescribed += 1
        else:
            count.payload_bytes += len(packet.payload)
            self._last_s = now_s
            self.playout.push(
                packet.sequence, packet.timestamp, packet.payload, now_s, packet.source
            )

    def _control(self, packet: rtp.Control, address: Address, now_s: float) -> None:
        for message in packet.messages:
            if isinstance(message, rtp.Application) and message.kind == rtp.DESCRIPTION:
                self._describe(packet.source, parse_description(message.data), now_s)
        if packet.source != self._source:
            self.statistics.ignored += 1
            return
        self._address, self._last_s = address, now_s
        for message in packet.messages:
            if isinstance(message, rtp.Sent):
                self._sent, self._sent_s = message.ntp >> 16 & 0xFFFFFFFF, now_s
            elif isinstance(message, rtp.Bye):
                self.ended = True

    def _describe(self, source: int, description: Description, now_s: float) -> None:
        """Begin a stream, unless another one is under way or the model cannot be used."""
        if source == self._source or description == self._refused:
            return
        if self._source is not None and not self.is_over(now_s):
            return
        if self.codec is None:
            codec = self._find_codec(description)
            if codec is None:
                self._refused = description
                return
            self.codec = codec
            frames = description.frames
            self.playout = Playout(codec.decoder(frames_per_packet=frames))
        elif not is_of(description, self.codec):
            return
        self._source, self.description, self.ended = source, description, False
        self._sent, self._sent_s = 0, now_s
        self._lost_before = self.playout.statistics.lost if self.playout else 0
        self.statistics.streams += 1

    def is_over(self, now_s: float) -> bool:
        """Return whether the stream has ended, or nothing of it has arrived for `AWAY_S`."""
        return self._source is not None and (self.ended or now_s > self._last_s + AWAY_S)

    def pull(self, now_s: float) -> np.ndarray | None:
        """Return the audio of the next tick, or None before the first stream."""
        return None if self.playout is None else self.playout.pull(now_s)

    def report(self, now_s: float) -> tuple[bytes, Address] | None:
        """Return a report and the address of the sender, or None if there is no stream."""
        playout, description = self.playout, self.description
        if playout is None or description is None or self._source is None:
            return None
        if self._address is None or self.is_over(now_s):
            return None
        count = playout.statistics
        expected, lost = count.received + count.lost, count.lost
        new, new_lost = expected - self._before[0], lost - self._before[1]
        self._before = expected, lost
        report = rtp.Report(
            self._source,
            max(0.0, new_lost / new) if new > 0 else 0.0,
            lost - self._lost_before,
            playout.buffer.highest,
            round(count.jitter_ms * description.rate / 1000),
            self._sent,
            round((now_s - self._sent_s) * 65_536) if self._sent else 0,
        )
        packet = rtp.Control(self._own_source, (report,))
        data = packet.pack() if self._sealer is None else self._sealer.control(packet)
        return data, self._address


def is_of(description: Description, codec: Codec) -> bool:
    """Return whether a stream was made with the weights of a model."""
    return (description.model, description.weights, description.rate, description.channels) == (
        codec.name,
        codec.codes_sha256[:HASH_DIGITS],
        codec.sample_rate_hz,
        codec.channels,
    )
