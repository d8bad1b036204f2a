"""The sender of a stream: samples to RTP packets, and the reports of its receiver.

It reads no clock. The caller passes the time.
"""

import secrets
from dataclasses import dataclass

import numpy as np

from chirrup.bitstream import peek_packet
from chirrup.codec import Codec
from chirrup.live import rtp
from chirrup.live.adaptation import Adaptation, Choice
from chirrup.live.description import Description
from chirrup.live.pauses import Pauses

CONFIRMED_S = 2.5
"""Time after a report in which the receiver is known to have the description."""
_LONGEST_TRIP_S = 60


@dataclass
class SenderStatistics:
    """Counts of a sender, and the last report of the receiver: None until a report came back.

    Attributes:
        packets: RTP packets sent.
        left_out: RTP packets that were not sent, because of a pause or because nobody talked.
        payload_bytes: bytes of the codec's packets.
        reports: reports that came back.
        loss_percent: loss since the report before the last one.
        lost: packets that the receiver lost.
        jitter_ms: jitter at the receiver.
        round_trip_ms: time of a datagram to the receiver and back; None until a report has it.
    """

    packets: int = 0
    left_out: int = 0
    payload_bytes: int = 0
    reports: int = 0
    loss_percent: float | None = None
    lost: int | None = None
    jitter_ms: float | None = None
    round_trip_ms: float | None = None


class Sender:
    """The sender of one stream. It belongs to one thread at a time.

    Args:
        codec: the model.
        bitrate_bps: one of ``codec.bitrates_bps``.
        redundancy: codebooks of the previous packet that each packet repeats.
        sample_rate_hz: rate of the samples.
        source: SSRC of the stream; None draws one.
        frames_per_packet: 1 to 4; None is the model's default.
        adaptation: chooses bitrate and redundancy. None keeps those given.
        pauses: leaves out the packets of pauses. None sends them.
        shared: there may be several receivers, so the description is never left out.

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
        pauses: Pauses | None = None,
        shared: bool = False,
    ) -> None:
        self.encoder = codec.encoder(
            bitrate_bps,
            frames_per_packet=frames_per_packet,
            redundancy=redundancy,
            sample_rate_hz=sample_rate_hz,
        )
        self.adaptation, self._pauses, self._shared = adaptation, pauses, shared
        self._noise: bytes | None = None
        self._pushed_s, self._talk_end_s = 0.0, 0.0  # durations of the samples
        spec, frames = codec.spec, self.encoder.frames_per_packet
        self._late_s = frames / spec.frame_rate_hz + spec.latency_samples / spec.sample_rate_hz
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

    def push(self, samples: np.ndarray, talks: bool = True) -> list[rtp.Voice]:
        """Return the packets of the next samples.

        Args:
            samples: as `Encoder.push` takes them.
            talks: whether they are to be sent. Packets that are left out take time in the stream,
                but no sequence numbers.
        """
        if self._pauses is not None and talks:
            self._noise = self._pauses.push(samples) or self._noise
            talks = not self._pauses.paused
        self._pushed_s += samples.shape[-1] / self.encoder.sample_rate_hz
        if talks:  # a packet is complete later than its samples
            self._talk_end_s = self._pushed_s + self._late_s
        return self._sent(self.encoder.push(samples))

    def flush(self) -> list[rtp.Voice]:
        """Return the last packets."""
        return self._sent(self.encoder.flush())

    def _sent(self, packets: list[bytes]) -> list[rtp.Voice]:
        """Return the packets that are not left out."""
        sent, voices = self._pushed_s <= self._talk_end_s, []
        for packet in packets:
            timestamp = self._timestamp
            self._timestamp += self._step * peek_packet(packet)[0]
            if sent:
                voices.append(self._voice(packet, timestamp))
            else:
                self.statistics.left_out += 1
                self._starts = True
        return voices

    def _voice(self, packet: bytes, timestamp: int) -> rtp.Voice:
        sequence, timestamp = self._sequence & 0xFFFF, timestamp & 0xFFFFFFFF
        voice = rtp.Voice(sequence, timestamp, self.source, packet, self._starts)
        self._starts = False
        self._sequence += 1
        self.statistics.packets += 1
        self.statistics.payload_bytes += len(packet)
        return voice

    def noise(self) -> bytes | None:
        """Return a description of the noise to be sent now, once, or None."""
        noise, self._noise = self._noise, None
        return noise

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
        if self._pauses is not None and (noise := self._pauses.noise) is not None:
            messages.append(rtp.Application(rtp.COMFORT_NOISE, noise))
        return messages

    def receive(self, report: rtp.Report, now_s: float) -> None:
        """Take a report of the stream's receiver. A report of another stream is ignored."""
        if report.source != self.source:
            return
        count = self.statistics
        self._confirmed_s = None if self._shared else now_s
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
