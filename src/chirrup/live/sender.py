"""The sender of a stream: samples to datagrams, and the reports that return."""

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chirrup.codec import Codec
from chirrup.errors import FormatError
from chirrup.live import rtp
from chirrup.live.description import Description

if TYPE_CHECKING:
    from chirrup.live.seal import Opener, Sealer

_NTP_EPOCH_S = 2_208_988_800


@dataclass
class SenderStatistics:
    """Counts of a sender, and the last report of the receiver.

    Attributes:
        packets: RTP packets sent.
        payload_bytes: bytes of the codec's packets.
        datagram_bytes: bytes of all datagrams, without UDP and IP.
        datagrams: datagrams sent.
        reports: reports that came back.
        loss_percent: loss since the report before the last one.
        lost: packets that the receiver lost.
        jitter_ms: jitter at the receiver.
        round_trip_ms: time of a datagram to the receiver and back.
        ignored: datagrams that were malformed, sealed otherwise or replayed.
    """

    packets: int = 0
    payload_bytes: int = 0
    datagram_bytes: int = 0
    datagrams: int = 0
    reports: int = 0
    loss_percent: float = 0.0
    lost: int = 0
    jitter_ms: float = 0.0
    round_trip_ms: float = 0.0
    ignored: int = 0


class Sender:
    """The sender of one stream. It belongs to one thread at a time.

    Args:
        codec: the model.
        bitrate_bps: one of ``codec.bitrates_bps``.
        redundancy: codebooks of the previous packet that each packet repeats.
        sample_rate_hz: rate of the samples.
        sealer: encrypts the datagrams; None leaves them in clear.
        opener: opens the reports.
    """

    def __init__(
        self,
        codec: Codec,
        bitrate_bps: int,
        redundancy: int,
        sample_rate_hz: int,
        sealer: "Sealer | None" = None,
        opener: "Opener | None" = None,
    ) -> None:
        self.encoder = codec.encoder(
            bitrate_bps, redundancy=redundancy, sample_rate_hz=sample_rate_hz
        )
        frames = self.encoder.frames_per_packet
        self.description = Description.of(codec.spec, self.encoder.codebooks, frames, redundancy)
        self.statistics = SenderStatistics()
        self._sealer, self._opener = sealer, opener
        self._source = secrets.randbits(32)
        self._sequence, self._timestamp = secrets.randbits(16), secrets.randbits(32)
        self._step = codec.frame_samples
        self._starts = True

    def push(self, samples: np.ndarray) -> list[bytes]:
        """Return the datagrams of the next samples; `Encoder.push` describes them."""
        return [self._datagram(packet) for packet in self.encoder.push(samples)]

    def flush(self) -> list[bytes]:
        """Return the last datagrams of voice."""
        return [self._datagram(packet) for packet in self.encoder.flush()]

    def _datagram(self, packet: bytes) -> bytes:
        voice = rtp.Voice(
            self._sequence & 0xFFFF,
            self._timestamp & 0xFFFFFFFF,
            self._source,
            packet,
            self._starts,
        )
        self._starts = False
        self._sequence += 1
        self._timestamp += self._step * ((packet[0] >> 1 & 3) + 1)
        self.statistics.packets += 1
        self.statistics.payload_bytes += len(packet)
        return self._counted(voice.pack() if self._sealer is None else self._sealer.voice(voice))

    def control(self, *, end: bool = False) -> bytes:
        """Return a datagram with a report and the description, to be sent once a second.

        Args:
            end: whether the stream ends.
        """
        count = self.statistics
        messages: list[rtp.Message] = [
            rtp.Sent(_ntp(), self._timestamp, count.packets, count.payload_bytes),
            rtp.Application(rtp.DESCRIPTION, self.description.text.encode()),
        ]
        packet = rtp.Control(self._source, (*messages, *[rtp.Bye()] * end))
        return self._counted(
            packet.pack() if self._sealer is None else self._sealer.control(packet)
        )

    def _counted(self, datagram: bytes) -> bytes:
        self.statistics.datagrams += 1
        self.statistics.datagram_bytes += len(datagram)
        return datagram

    def receive(self, datagram: bytes) -> None:
        """Take a report. Anything else is counted and ignored."""
        try:
            packet = opened(datagram, self._opener)
        except FormatError:
            self.statistics.ignored += 1
            return
        if isinstance(packet, rtp.Voice):
            self.statistics.ignored += 1
            return
        for message in packet.messages:
            if isinstance(message, rtp.Report) and message.source == self._source:
                self._note(message)

    def _note(self, report: rtp.Report) -> None:
        count = self.statistics
        count.reports += 1
        count.loss_percent = 100 * report.lost_share
        count.lost = report.lost
        count.jitter_ms = 1000 * report.jitter / self.description.rate
        if report.last_report:
            passed = _ntp() >> 16 & 0xFFFFFFFF
            trip = passed - report.last_report - report.since_last_report & 0xFFFFFFFF
            if trip < 60 << 16:
                count.round_trip_ms = 1000 * trip / 65_536


def opened(datagram: bytes, opener: "Opener | None") -> rtp.Voice | rtp.Control:
    """Parse a datagram, and open it if there is an opener.

    Raises:
        FormatError: it is malformed, sealed with another key, or replayed.
    """
    return rtp.parse(datagram) if opener is None else opener.open(datagram)


def _ntp() -> int:
    """Return the time of NTP: 1/2**32 s since 1900."""
    return (time.time_ns() << 32) // 10**9 + (_NTP_EPOCH_S << 32)
