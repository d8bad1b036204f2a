"""Measurement of the delays of packets, from which a jitter buffer takes its depth."""

import math
from bisect import bisect_left, insort
from collections import deque
from typing import Final

QUANTILE: Final = 0.97
"""Share of the packets that arrive in time if the buffer has its target depth."""
WINDOW_S: Final = 5.0
"""Age up to which the delay of a packet is used."""
WINDOW_PACKETS: Final = 1024
"""Number of packets up to which delays are used."""
MARGIN_S: Final = 0.002
"""Depth beyond the delay at the quantile, for ticks that are not exactly on time."""
START_S: Final = 0.04
"""Target before anything is measured."""
FALL_S: Final = 3.0
"""Time constant with which the target falls. It rises at once."""
_LONGEST_STEP_S: Final = 0.1
"""Time between two packets that counts for the fall, so that the target outlasts a pause."""


class Delays:
    """The delays of recent packets, and the depth that a jitter buffer needs for them.

    The delay of a packet is its transit time minus the smallest transit time of the window. Clock
    drift and the unknown offset between the two clocks cancel out. WebRTC's NetEq measures in the
    same way (``DelayManager``, ``PacketArrivalHistory``), also with a quantile of 0.97.

    Attributes:
        target_s: depth to aim at.
        least_s: smallest transit time of the window.
        jitter_s: interarrival jitter of RFC 3550, section 6.4.1.
    """

    def __init__(self, min_depth_s: float, max_depth_s: float) -> None:
        self.min_depth_s, self.max_depth_s = min_depth_s, max_depth_s
        self.target_s = min(max(START_S, min_depth_s), max_depth_s)
        self.jitter_s = 0.0
        self.begin()

    def begin(self) -> None:
        """Begin a new stream. The target stays, because the network is probably the same."""
        self.least_s = math.inf
        self.forget()

    def forget(self) -> None:
        """Forget the delays of a stream that goes on with a longer delay."""
        self._window: deque[tuple[float, float]] = deque()  # arrival time, transit time
        self._sorted: list[float] = []  # the transit times

    def push(self, transit_s: float, arrival_s: float, redundancy_s: float) -> None:
        """Measure a packet.

        Args:
            transit_s: arrival time minus timestamp.
            arrival_s: arrival time.
            redundancy_s: duration of the earlier frames that the packet repeats.
        """
        elapsed_s = 0.0
        if self._window:
            last_arrival_s, last_transit_s = self._window[-1]
            elapsed_s = min(max(0.0, arrival_s - last_arrival_s), _LONGEST_STEP_S)
            self.jitter_s += (abs(transit_s - last_transit_s) - self.jitter_s) / 16
        window = self._window
        window.append((arrival_s, transit_s))
        insort(self._sorted, transit_s)
        while window[0][0] < arrival_s - WINDOW_S or len(window) > WINDOW_PACKETS:
            del self._sorted[bisect_left(self._sorted, window.popleft()[1])]
        moved_s = max(0.0, self._sorted[0] - self.least_s)
        self.least_s = self._sorted[0]
        covered = self._sorted[math.ceil(QUANTILE * len(self._sorted)) - 1] - self.least_s
        wanted_s = max(covered + redundancy_s + MARGIN_S, self.min_depth_s)
        held_s = self.target_s - moved_s
        held_s -= (held_s - wanted_s) * elapsed_s / FALL_S
        self.target_s = min(max(wanted_s, held_s), self.max_depth_s)
