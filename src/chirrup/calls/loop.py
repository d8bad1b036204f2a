"""The loop of a live connection, in real time: samples to the link, datagrams to the output."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chirrup.calls.outputs import Output
from chirrup.calls.sources import Source
from chirrup.live.endpoint import Endpoint
from chirrup.live.link import Link
from chirrup.live.receiver import Receiver

CONTROL_S: Final = 1.0
"""Time between two reports, and between two meters."""
FIRST_CONTROL_S: Final = 0.1
"""Time between two reports in the first second, so that a lost one delays the start little.

A limit of the rate has no room for them."""
FASTER: Final = 1.001
"""Rate at which a pipe may be sent, relative to real time, because its clock may be faster."""
LATE_S: Final = 0.2
"""Delay after which a clock of ticks begins anew."""
DRAIN_S: Final = 2.0
"""Time after Ctrl-C in which the datagrams that a simulated network delays are still sent."""


@dataclass
class Loop:
    """The loop of one end. It belongs to one thread.

    Args:
        endpoint: the end, with a sender if there is a source, and a receiver if there is an output.
        link: its link.
        source: samples to be sent.
        output: output of the received audio, from the first stream on.
        pace: rate at which the source is sent, relative to real time; None is as it comes.
        limited: the rate has a limit.
        once: end when the source has ended, and the first stream has ended, or stays away, and is
            played.
        stop: ends the loop.
        each_second: called once a second.
    """

    endpoint: Endpoint
    link: Link
    source: Source | None
    output: Output | None
    pace: float | None
    limited: bool
    once: bool
    stop: threading.Event
    each_second: Callable[[], None]

    def run(self) -> None:
        """Run until ``stop`` is set, or with ``once`` until the streams have ended."""
        now_s = self._start_s = time.monotonic()
        self._due_s = self._tick_s = self._meter_s = self._control_s = now_s
        self._sending, self._ended_s = self.source is not None, math.inf
        while not self.stop.is_set() and not self._finished(now_s):
            now_s = time.monotonic()
            if now_s >= self._meter_s + CONTROL_S:
                self._meter_s = now_s
                self.each_second()
            if now_s >= self._control_s:
                self._control(now_s)
            for datagram, address in self.link.receive(self._next_s() - now_s):
                self.endpoint.receive(datagram, address, time.monotonic())
            if self._sending:
                self._take()
            if self.endpoint.receiver is not None and self.output is not None:
                self._tick(self.endpoint.receiver, self.output)
        if self._sending:
            self._end()
        self._drain()

    def _control(self, now_s: float) -> None:
        """Send the reports of this second, and determine the time of the next ones."""
        datagram = self.endpoint.control(now_s, sending=self._sending)
        self._send(datagram)
        if self.endpoint.sender is not None and datagram is not None:
            control_bps = 8 * (len(datagram) + self.link.header_bytes) / CONTROL_S
            self.endpoint.sender.note_control(control_bps)
        first = now_s < self._start_s + CONTROL_S and not self.limited
        self._control_s = now_s + (FIRST_CONTROL_S if first else CONTROL_S)

    def _next_s(self) -> float:
        """Return the time at which there is something to do."""
        times_s = [self._control_s, self._meter_s + CONTROL_S]
        if self._sending and self.source is not None and self.source.ready:
            times_s.append(self._due_s)
        receiver, output = self.endpoint.receiver, self.output
        if receiver is not None and receiver.playout is not None and output is not None:
            times_s += [self._tick_s] * (not (output.device and output.started))
        return min(times_s)

    def _send(self, datagram: bytes | None) -> None:
        """Send a datagram, if the address of the other end is known."""
        receiver = self.endpoint.receiver
        address = None
        if self.link.listen and receiver is not None:
            address = receiver.sender(time.monotonic())
        if datagram is not None and (address is not None or not self.link.listen):
            self.link.send(datagram, address)

    def _take(self) -> None:
        """Send the samples that are due."""
        source = self.source
        assert source is not None
        while time.monotonic() >= self._due_s and (piece := source.take()) is not None:
            for datagram in self.endpoint.push(piece):
                self._send(datagram)
            if self.pace is not None:
                self._due_s = max(self._due_s, time.monotonic() - LATE_S)
                self._due_s += piece.shape[-1] / source.rate_hz / self.pace
        if source.ended:
            self._end()

    def _end(self) -> None:
        """End the stream that is sent."""
        self._sending = False
        for datagram in self.endpoint.flush():
            self._send(datagram)
        self._send(self.endpoint.control(time.monotonic(), end=True))

    def _tick(self, receiver: Receiver, output: Output) -> None:
        """Play the ticks that are due: by the clock of a device, or by that of this machine."""
        now_s = time.monotonic()
        if receiver.playout is None or now_s < self._tick_s - LATE_S:
            self._tick_s = now_s
            return
        rate_hz = receiver.playout.rate_hz
        while output.hungry if output.device and output.started else now_s >= self._tick_s:
            audio = receiver.pull(now_s)
            assert audio is not None
            output.write(audio, rate_hz)
            self._tick_s = max(self._tick_s, now_s - LATE_S) + audio.shape[-1] / rate_hz

    def _finished(self, now_s: float) -> bool:
        receiver = self.endpoint.receiver
        if receiver is None:
            return not self._sending
        if not self.once or self._sending or receiver.playout is None:
            return False
        if not receiver.is_over(now_s):
            self._ended_s = math.inf
            return False
        self._ended_s = min(self._ended_s, now_s)
        return now_s > self._ended_s + receiver.playout.statistics.target_ms / 1000 + LATE_S

    def _drain(self) -> None:
        """Send what a simulated network still delays."""
        stopped = self.stop.is_set()
        end_s = time.monotonic() + (DRAIN_S if stopped else math.inf)
        while self.link.busy and time.monotonic() < end_s and stopped == self.stop.is_set():
            for datagram, address in self.link.receive(0.1):
                self.endpoint.receive(datagram, address, time.monotonic())
