"""An adaptive jitter buffer: packets go in as they arrive, and come out in order, one a tick.

Times are in seconds of the receiver's clock, which the caller reads. Timestamps are in samples, as
in RTP (RFC 3550). docs/explanation/jitter.md explains the rules and their constants.
"""

from bisect import insort
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from chirrup.bitstream import peek_packet
from chirrup.live.delays import Delays

SLACK_S: Final = 0.01
"""Depth above the target, besides a tick, before the buffer removes a tick."""
PATIENCE_S: Final = 1.0
"""Time for which a buffer that is too deep waits for a quiet moment before it drops a packet."""
GAP_S: Final = 0.3
"""Concealment after which playout begins anew; by then the decoder has faded to silence."""
ROUNDING_S: Final = 1e-6
"""Difference of times that counts as none."""
LATEST_S: Final = 10.0
"""Distance of timestamps within which a packet that is too late counts as one of the stream."""
MAX_WAITING: Final = 1024
"""Most packets in the buffer."""
_BACK, _AHEAD = 1024, 3000
"""Range of sequence numbers, around the highest one, that belong to the stream."""


class Pulled(NamedTuple):
    """The packet of a tick, for ``decoder.push(*pulled)``.

    Attributes:
        packet: the packet, or None if there is none.
        following: the packet after a missing one, if it has arrived.
    """

    packet: bytes | None
    following: bytes | None = None


@dataclass
class Statistics:
    """Counts from the beginning, and the present state.

    Every packet that was received is played, late, discarded or still in the buffer.

    Attributes:
        received: packets that arrived, without duplicates.
        duplicates: packets that arrived again.
        lost: packets that have not arrived, by their sequence numbers.
        played: packets that came out.
        late: packets that arrived after their tick, which was recovered or concealed.
        discarded: packets that arrived and were not played, because they were dropped to reduce the
            depth, had no tick, belonged to no stream, or were too many. A packet has no tick if it
            arrives after its tick was left out, or after later ones began to play.
        recovered: ticks of a missing packet whose codes the following packet repeats.
        concealed: other ticks of a missing packet, up to `GAP_S` in a row. The ticks of a pause of
            the sender, and those after its last packet, are not counted.
        inserted: ticks that were added because the buffer was not deep enough.
        removed: ticks that were left out because it was too deep.
        restarts: number of times that a new stream replaced the previous one.
        jitter_ms: interarrival jitter of RFC 3550, section 6.4.1.
        depth_ms: delay that the buffer added, in the last tick, to the fastest packet.
        target_ms: target of the depth.
    """

    received: int = 0
    duplicates: int = 0
    lost: int = 0
    played: int = 0
    late: int = 0
    discarded: int = 0
    recovered: int = 0
    concealed: int = 0
    inserted: int = 0
    removed: int = 0
    restarts: int = 0
    jitter_ms: float = 0.0
    depth_ms: float = 0.0
    target_ms: float = 0.0


class JitterBuffer:
    """A jitter buffer for the packets of one stream. It belongs to one thread at a time.

    While a stream plays, packets of another source, or with numbers or times that do not fit, are
    discarded. After `GAP_S` without a packet, the next packet may begin a new stream.

    >>> buffer = JitterBuffer(codec.frame_samples, codec.sample_rate_hz)
    >>> buffer.push(sequence, timestamp, packet, time.monotonic())
    >>> audio = decoder.push(*buffer.pull(time.monotonic()))

    Args:
        frame_samples: duration of a frame, in the unit of the timestamps.
        rate_hz: rate of the timestamps.
        min_depth_s: lowest target of the depth. It covers the jitter of the ticks.
        max_depth_s: highest target. A buffer that is deeper skips packets at once.
    """

    def __init__(
        self,
        frame_samples: int,
        rate_hz: int,
        *,
        min_depth_s: float = 0.02,
        max_depth_s: float = 0.5,
    ) -> None:
        self.frame_samples, self.rate_hz, self.max_depth_s = frame_samples, rate_hz, max_depth_s
        self._count = Statistics()
        self._delays = Delays(min_depth_s, max_depth_s)
        self._step = frame_samples  # duration of the last packet
        self._depth_s = 0.0
        self._begin(0, 0, 0)
        self._started = False

    def _begin(self, source: int, sequence: int, timestamp: int) -> None:
        """Begin a stream with its first packet."""
        self._started, self._source = True, source
        self._first, self._highest, self._timestamp = sequence, sequence - 1, timestamp
        self._seen: list[int | None] = [None] * _BACK
        self._waiting: list[tuple[int, int, bytes]] = []  # timestamp, sequence number, packet
        self._next: int | None = None  # timestamp of the next tick; earlier packets are late
        self._left_out = 0, 0  # timestamps between which there was no tick
        self._ended: int | None = None  # timestamp of the end of the last packet that was played
        self._last = sequence - 1  # its sequence number
        self._empty = 0  # ticks since then in which no packet was there
        self._playing, self._missing_s = False, 0.0
        self._too_deep_since_s: float | None = None
        self._delays.begin()

    @property
    def highest(self) -> int:
        """Highest sequence number of the stream, with its overflows in the bits above 16."""
        return self._highest

    @property
    def statistics(self) -> Statistics:
        """The counts and the state, as a copy."""
        return replace(
            self._count,
            jitter_ms=1000 * self._delays.jitter_s,
            depth_ms=1000 * self._depth_s,
            target_ms=1000 * self._delays.target_s,
        )

    def push(
        self, sequence: int, timestamp: int, packet: bytes, arrival_s: float, source: int = 0
    ) -> None:
        """Store a packet.

        Args:
            sequence: sequence number, modulo 2**16.
            timestamp: position of the packet in the stream, modulo 2**32.
            packet: the packet, from `Encoder.push`.
            arrival_s: arrival time in seconds.
            source: the sender; in RTP the SSRC.
        """
        if not self._belongs(sequence, timestamp, arrival_s, source):
            if self._playing or self._waiting:
                self._refuse(sequence, timestamp, arrival_s, source)
                return
            self._count.restarts += self._started
            self._begin(source, sequence & 0xFFFF, timestamp & 0xFFFFFFFF)
        sequence = _extended(sequence, self._highest, 16)
        timestamp = _extended(timestamp, self._timestamp, 32)
        if not self._note(sequence):
            return
        self._timestamp = timestamp
        frames, redundant = peek_packet(packet)
        duration = frames * self.frame_samples
        transit_s = arrival_s - timestamp / self.rate_hz
        silent = not self._playing and not self._waiting
        if silent and transit_s > self._delays.least_s + self._delays.target_s:
            self._delays.forget()  # the delay has grown, and playout begins anew
        self._delays.push(transit_s, arrival_s, duration / self.rate_hz if redundant else 0.0)
        late = self._next is not None and timestamp + duration <= self._next
        if late or sequence != self._last + 1:
            self._count.concealed += self._empty
        elif timestamp == self._ended:  # otherwise the sender has paused
            self._count.inserted += self._empty
        self._empty = 0
        if late:
            self._note_late(timestamp)
            return
        insort(self._waiting, (timestamp, sequence, packet))
        if len(self._waiting) > MAX_WAITING:
            self._discard()

    def pull(self, now_s: float, quiet: bool = False) -> Pulled:
        """Return the packet of the next tick.

        A tick is as long as the audio that the decoder returns for it.

        Args:
            now_s: time of the tick.
            quiet: whether the audio of the last tick was quiet, so that a tick may be inserted or
                removed here.
        """
        if not self._playing and not self._starts(now_s):
            return Pulled(None)
        assert self._next is not None
        self._drop_ended()
        step_s, target_s = self._step / self.rate_hz, self._delays.target_s
        self._depth_s = now_s - self._next / self.rate_hz - self._delays.least_s
        if self._depth_s < target_s - ROUNDING_S and (quiet or not self._waiting):
            self._count.inserted += 1
            self._note_missing(step_s)
            return Pulled(None)
        if self._waiting and self._depth_s > target_s + step_s + SLACK_S:
            self._reduce(now_s, quiet, step_s, target_s)
        else:
            self._too_deep_since_s = None
        if not self._waiting or not self._is_due():
            return self._missing(step_s)
        timestamp, self._last, packet = self._waiting.pop(0)
        self._step = peek_packet(packet)[0] * self.frame_samples
        self._next = self._ended = timestamp + self._step
        self._missing_s = 0.0
        self._count.played += 1
        return Pulled(packet)

    def _belongs(self, sequence: int, timestamp: int, arrival_s: float, source: int) -> bool:
        """Return whether a packet continues the stream."""
        if not self._started or source != self._source:
            return False
        transit_s = arrival_s - _extended(timestamp, self._timestamp, 32) / self.rate_hz
        distance = _extended(sequence, self._highest, 16) - self._highest
        near = abs(transit_s - self._delays.least_s) <= self.max_depth_s
        return near and -_BACK < distance < _AHEAD

    def _refuse(self, sequence: int, timestamp: int, arrival_s: float, source: int) -> None:
        """Count a packet that does not belong to the stream, or is much too late for it."""
        number = _extended(sequence, self._highest, 16)
        timestamp = _extended(timestamp, self._timestamp, 32)
        moved = timestamp - self._timestamp
        is_late = arrival_s - timestamp / self.rate_hz > self._delays.least_s
        near = abs(moved) < LATEST_S * self.rate_hz and -_BACK < number - self._highest < _AHEAD
        if not (source == self._source and is_late and near):
            self._count.received += 1
            self._count.discarded += 1
        elif self._note(number):
            self._note_late(timestamp)

    def _note_late(self, timestamp: int) -> None:
        """Count a packet that comes after its tick. It is not late if there was no tick."""
        start, end = self._left_out
        if start <= timestamp < end:
            self._count.discarded += 1
        else:
            self._count.late += 1

    def _note(self, sequence: int) -> bool:
        """Count a packet of the stream, and return whether it is new."""
        if self._seen[sequence % _BACK] == sequence:
            self._count.duplicates += 1
            return False
        self._seen[sequence % _BACK] = sequence
        self._count.received += 1
        self._count_lost(sequence)
        return True

    def _count_lost(self, sequence: int) -> None:
        if sequence > self._highest:
            self._count.lost += sequence - self._highest - 1
            self._highest = sequence
        elif sequence < self._first:
            self._count.lost += self._first - sequence - 1
            self._first = sequence
        else:
            self._count.lost -= 1

    def _starts(self, now_s: float) -> bool:
        """Begin to play if the first packet has waited long enough."""
        if self._waiting:
            first = self._waiting[0][0]
            depth_s = now_s - first / self.rate_hz - self._delays.least_s
            if depth_s >= self._delays.target_s - ROUNDING_S:
                if self._next is None:
                    self._left_out = first - round(LATEST_S * self.rate_hz), first
                self._playing, self._next, self._missing_s = True, first, 0.0
        return self._playing

    def _is_due(self) -> bool:
        """Return whether the first packet begins with the next tick, to half a frame."""
        assert self._next is not None
        return self._waiting[0][0] - self._next < self.frame_samples / 2

    def _reduce(self, now_s: float, quiet: bool, step_s: float, target_s: float) -> None:
        """Leave out a tick at a good moment, or several ticks if the buffer is far too deep."""
        assert self._next is not None
        if self._too_deep_since_s is None:
            self._too_deep_since_s = now_s
        lost = not self._is_due() and not peek_packet(self._waiting[0][2])[1]
        far = self._depth_s > self.max_depth_s + step_s + SLACK_S
        if far or lost or quiet or now_s - self._too_deep_since_s > PATIENCE_S:
            steps = int((self._depth_s - target_s) / step_s) if far else 1
            self._left_out = self._next, self._next + steps * self._step
            self._next += steps * self._step
            self._count.removed += steps
            self._too_deep_since_s = None
            self._drop_ended()

    def _drop_ended(self) -> None:
        """Discard packets that end before the next tick."""
        assert self._next is not None
        while self._waiting:
            timestamp, _, packet = self._waiting[0]
            if timestamp + peek_packet(packet)[0] * self.frame_samples > self._next:
                return
            self._discard()

    def _discard(self) -> None:
        del self._waiting[0]
        self._count.discarded += 1

    def _missing(self, step_s: float) -> Pulled:
        """Return the tick of a missing packet, or of a pause."""
        assert self._next is not None
        lost = False
        if self._waiting:
            timestamp, sequence, packet = self._waiting[0]
            lost = sequence != self._last + 1
            frames, redundant = peek_packet(packet)
            span = max(self._step, frames * self.frame_samples)  # as `Decoder.push` conceals
            if timestamp - self._next < span + self.frame_samples / 2:
                self._next = timestamp
                self._count.recovered += lost and redundant
                self._count.concealed += lost and not redundant
                return Pulled(None, packet)
        self._next += self._step
        self._count.concealed += lost
        self._empty += not self._waiting
        self._note_missing(step_s)
        return Pulled(None)

    def _note_missing(self, step_s: float) -> None:
        self._missing_s += step_s
        if self._missing_s >= GAP_S:
            self._playing, self._next = False, self._ended


def _extended(value: int, near: int, bits: int) -> int:
    """Return the integer nearest to ``near`` that equals ``value`` modulo ``2**bits``."""
    half = 1 << bits - 1
    return near + ((value - near + half) & ((1 << bits) - 1)) - half
