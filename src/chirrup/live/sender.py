"""The sender of a stream: samples to RTP packets, and the reports of its receiver.

It reads no clock. The caller passes the time.
"""

import secrets
from dataclasses import dataclass

import numpy as np

from chirrup.codec import Codec
from chirrup.live import rtp
from chirrup.live.adaptation import Adaptation, Choice
from chirrup.live.description import Description

CONFIRMED_S = 2.5
"""Time after a report in which the receiver is known to have the description."""
_LONGEST_TRIP_S = 60


@dataclass
class SenderStatistics:
    """Counts of a sender, and the last report of the receiver.

    Attributes:
        packets: RTP packets sent.
        payload_bytes: bytes of the codec's packets.
        reports: reports that came back.
        loss_percent: loss since the report before the last one.
        lost: packets that the receiver lost.
        jitter_ms: jitter at the receiver.
        round_trip_ms: time of a datagram to the receiver and back.
    """

    packets: int = 0
    payload_bytes: int = 0
    reports: int = 0
    loss_percent: float = 0.0
    lost: int = 0
    jitter_ms: float = 0.0
    round_trip_ms: float = 0.0


class Sender:
    """The sender of one stream. It belongs to one thread at a time.

    Args:
        codec: the model.
        bitrate_bps: one of ``codec.bitrates_bps``.
        redundancy: codebooks of the previous packet that each packet repeats.
        sample_rate_hz: rate of the samples.
        source: SSRC of the stream; None draws one.
        frames_per_packet: 1 to 4; None is that of the model.
        adaptation: chooses bitrate and redundancy. None keeps those given.

    Raises:
        ValueError: the model does not have the bitrate or the redundancy.
    """

    def __init__(
        self,
        codec: Codec,
        bitrate_bps: int,
        redundancy: int,
        sample_rate_hz: int,
        source: int | None = None,
        frames_per_packet: int | None = None,
        adaptation: Adaptation | None = None,
    ) -> None:
        self.encoder = codec.encoder(
            bitrate_bps,
            frames_per_packet=frames_per_packet,
            redundancy=redundancy,
            sample_rate_hz=sample_rate_hz,
        )
        self.adaptation = adaptation
        if adaptation is not None:
            self._use(adaptation.choice)
        self.statistics = SenderStatistics()
        self.source = secrets.randbits(32) if source is None else source
        self._sequence, self._timestamp = secrets.randbits(16), secrets.randbits(32)
        self._step = codec.frame_samples
        self._starts = True
        self._confirmed_s: float | None = None

    @property
    def description(self) -> Description:
        """The description of the stream from now on."""
        made = self.encoder
        return Description.of(made.spec, made.codebooks, made.frames_per_packet, made.redundancy)

    def _use(self, choice: Choice) -> None:
        bitrate_bps = self.encoder.spec.bitrates_bps[choice.codebooks - 1]
        self.encoder.change(bitrate_bps, choice.redundancy)

    def note_control(self, control_bps: float) -> None:
        """Take the rate of the control datagrams, which are part of the limit."""
        if self.adaptation is not None:
            self._use(self.adaptation.note_control(control_bps))

    def push(self, samples: np.ndarray) -> list[rtp.Voice]:
        """Return the packets of the next samples; `Encoder.push` describes them."""
        return [self._voice(packet) for packet in self.encoder.push(samples)]

    def flush(self) -> list[rtp.Voice]:
        """Return the last packets."""
        return [self._voice(packet) for packet in self.encoder.flush()]

    def _voice(self, packet: bytes) -> rtp.Voice:
        voice = rtp.Voice(
            self._sequence & 0xFFFF,
            self._timestamp & 0xFFFFFFFF,
            self.source,
            packet,
            self._starts,
        )
        self._starts = False
        self._sequence += 1
        self._timestamp += self._step * ((packet[0] >> 1 & 3) + 1)
        self.statistics.packets += 1
        self.statistics.payload_bytes += len(packet)
        return voice

    def control(self, now_s: float) -> list[rtp.Message]:
        """Return the messages to be sent once a second.

        The description is left out while the reports of the receiver show that it has it.
        """
        count = self.statistics
        messages: list[rtp.Message] = [
            rtp.Sent(ntp(now_s), self._timestamp, count.packets, count.payload_bytes)
        ]
        if self._confirmed_s is None or now_s > self._confirmed_s + CONFIRMED_S:
            messages.append(rtp.Application(rtp.DESCRIPTION, self.description.text.encode()))
        return messages

    def receive(self, report: rtp.Report, now_s: float) -> None:
        """Take a report of the stream's receiver. A report of another stream is ignored."""
        if report.source != self.source:
            return
        count = self.statistics
        self._confirmed_s = now_s
        count.reports += 1
        count.loss_percent = 100 * report.lost_share
        count.lost = report.lost
        jitter_s = report.jitter / self.encoder.spec.sample_rate_hz
        count.jitter_ms = 1000 * jitter_s
        trip_s = None
        if report.last_report:
            passed = short_ntp(now_s) - report.last_report - report.since_last_report & 0xFFFFFFFF
            if passed < _LONGEST_TRIP_S << 16:
                trip_s = passed / 65_536
                count.round_trip_ms = 1000 * trip_s
        if self.adaptation is not None:
            self._use(self.adaptation.report(report.lost_share, jitter_s, trip_s))


def ntp(now_s: float) -> int:
    """Return a time of any clock as an NTP timestamp, in 1/2**32 s (RFC 3550, section 4)."""
    return int(now_s * (1 << 32)) & (1 << 64) - 1


def short_ntp(now_s: float) -> int:
    """Return the middle 32 bits of the NTP timestamp, which reports contain."""
    return ntp(now_s) >> 16 & 0xFFFFFFFF
