"""The choice of bitrate and redundancy from the reports of a receiver, below a limit of the rate.

The limit includes the headers of the packet, RTP, encryption, UDP and IP, and the control
datagrams. The module reads no clock and draws no random numbers.
docs/explanation/adaptation.md explains the rules.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from chirrup.bitstream import MAX_PACKET_FRAMES, MAX_REDUNDANT
from chirrup.errors import UsageError
from chirrup.spec import ModelSpec

FIRST_LOSS: Final = 0.05
"""Loss that is assumed before the first report."""
RISE, FALL = 0.5, 0.15
"""Weights of a report with more and with less loss than the average."""
DECODED: Final = 1.0
"""Quality of a frame with the fewest codes, compared with a concealed one."""
GAIN: Final = 0.01
"""Least gain of the expected quality for which the choice changes."""
PRICE: Final = 0.02
"""Quality that one kbit/s has to bring. Bits that bring less are not sent."""
QUEUE_S: Final = 0.15
"""Growth of the round trip that means a queue in the network."""
JITTERS: Final = 4
"""Times the jitter that the round trip may grow besides."""
TRIPS: Final = 30
"""Reports whose least round trip counts as the round trip of an empty network."""
BACK_OFF: Final = 0.8
"""Factor of the rate after a report of a queue."""
RECOVERY: Final = 1.01
"""Factor of the rate after each other report, up to the limit that was given."""


class Choice(NamedTuple):
    """Codebooks of a packet, and codebooks of the previous packet that it repeats."""

    codebooks: int
    redundancy: int


@dataclass
class Costs:
    """The rate of a stream with all headers.

    Attributes:
        spec: the model.
        frames: frames of a packet.
        header_bytes: bytes of a datagram besides the codec's packet: IP, UDP, RTP and encryption.
        control_bps: rate of the control datagrams.
    """

    spec: ModelSpec
    frames: int
    header_bytes: int
    control_bps: float = 0.0

    def rate_bps(self, choice: Choice) -> float:
        """Return the rate of a choice in bit/s."""
        codes = self.frames * sum(choice) * self.spec.bits_per_code
        packet_bytes = 1 + bool(choice.redundancy) + math.ceil(codes / 8)
        packets = self.spec.frame_rate_hz / self.frames
        return 8 * (self.header_bytes + packet_bytes) * packets + self.control_bps


def frames_for(spec: ModelSpec, header_bytes: int, limit_bps: float) -> int:
    """Return the fewest frames of a packet whose headers take at most half of a limit, or 4."""
    choices = range(spec.packet_frames, MAX_PACKET_FRAMES + 1, spec.chunk_frames)
    for frames in choices:
        if 8 * header_bytes * spec.frame_rate_hz / frames <= limit_bps / 2:
            return frames
    return choices[-1]


class Adaptation:
    """The policy of one stream.

    Copies below the lowest bitrate that the model was trained for are not chosen, because a frame
    that is decoded from them is not better than a concealed one (docs/explanation/loss.md).

    Args:
        costs: the rates of the choices.
        limit_bps: highest rate with all headers.
        most: most codebooks of a packet.
        redundancy: the redundancy, if it is not to be chosen.

    Raises:
        UsageError: no choice is below the limit.

    Attributes:
        choice: the present choice.
        loss: average of the loss.
    """

    def __init__(
        self, costs: Costs, limit_bps: float, most: int, redundancy: int | None = None
    ) -> None:
        self.costs, self.limit_bps = costs, limit_bps
        self.loss = FIRST_LOSS
        self._now_bps = limit_bps
        least = min(most, costs.spec.codebooks_at(costs.spec.lowest_bitrate_bps))
        self._choices = [
            Choice(codebooks, again)
            for codebooks in range(least, most + 1)
            for again in range(min(codebooks, MAX_REDUNDANT) + 1)
            if (again == redundancy if redundancy is not None else not 0 < again < least)
        ]
        if not self._choices:
            raise UsageError(f"redundancy must be from 0 to {most} codebooks, not {redundancy}")
        self._lowest = min(self._choices, key=costs.rate_bps)
        if (lowest_bps := costs.rate_bps(self._lowest)) > limit_bps:
            raise UsageError(
                f"a rate of {limit_bps:.9g} bit/s is too low: {costs.spec.name} needs "
                f"{math.ceil(lowest_bps)} bit/s with all headers and {costs.frames} frames a packet"
            )
        self._trips_s: deque[float] = deque(maxlen=TRIPS)
        self.choice = self._lowest
        self._choose()

    def report(self, loss: float, jitter_s: float, round_trip_s: float | None) -> Choice:
        """Take a report and return the choice from now on.

        Args:
            loss: share of the packets that were lost since the report before.
            jitter_s: interarrival jitter.
            round_trip_s: time of a datagram to the receiver and back, if it is known.
        """
        self.loss += (loss - self.loss) * (RISE if loss > self.loss else FALL)
        queue = False
        if round_trip_s is not None:
            self._trips_s.append(round_trip_s)
            grown_s = round_trip_s - min(self._trips_s)
            queue = grown_s > QUEUE_S + JITTERS * jitter_s
        if queue:
            present_bps = min(self._now_bps, self.costs.rate_bps(self.choice))
            self._now_bps = max(BACK_OFF * present_bps, self.costs.rate_bps(self._lowest))
        else:
            self._now_bps = min(RECOVERY * self._now_bps, self.limit_bps)
        return self._choose()

    def note_control(self, control_bps: float) -> Choice:
        """Take the rate of the control datagrams and return the choice from now on."""
        self.costs.control_bps = control_bps
        return self._choose()

    def _choose(self) -> Choice:
        allowed = [c for c in self._choices if self.costs.rate_bps(c) <= self._now_bps]
        best = max(allowed or [self._lowest], key=self._worth)
        gain = self._worth(best) - self._worth(self.choice)
        if self.choice not in allowed or gain > GAIN:
            self.choice = best
        return self.choice

    def _worth(self, choice: Choice) -> float:
        """Return the expected quality of a frame, less the price of the rate.

        A lost frame has the quality of the codebooks that the next packet repeats, if that packet
        arrives.
        """
        whole, repeated = map(self._quality, choice)
        expected = (1 - self.loss) * (whole + self.loss * repeated)
        return expected - PRICE * self.costs.rate_bps(choice) / 1000

    def _quality(self, codebooks: int) -> float:
        """Return the quality of a frame; a concealed one has 0."""
        if not codebooks:
            return 0.0
        return DECODED + math.log1p(self.costs.spec.bitrates_bps[codebooks - 1] / 1000)
