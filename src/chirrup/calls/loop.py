"""The loop of a live connection, in real time: samples to the link, datagrams to the output."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chirrup.calls.outputs import Output
from chirrup.calls.recorder import Recorder
from chirrup.calls.sources import Source
from chirrup.live.endpoint import Endpoint
from chirrup.live.link import Address, Link
from chirrup.live.receiver import Receiver

CONTROL_S: Final = 1.0
"""Time between two reports, and between two meters."""
FIRST_CONTROL_S: Final = 0.1
"""Least time between two reports in the first second of a connection, in which one may be lost."""
FASTER: Final = 1.001
"""Rate at which a pipe may be sent, relative to real time, because its clock may be faster."""
LATE_S: Final = 0.2
"""Delay after which a clock of ticks begins anew."""
MAX_TICKS: Final = 10
"""Ticks that are played before the next datagrams are read."""
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
        control_bps: highest rate of the control datagrams in the first second.
        once: end when the source has ended or the other end has left, and the stream of the other
            end has ended, or stays away, and is played.
        stop: ends the loop.
        each_second: called once a second.
        talks: returns whether the samples of the source are to be sent.
        recorder: records what is sent and played.
    """

    endpoint: Endpoint
    link: Link
    source: Source | None
    output: Output | None
    pace: float | None
    control_bps: float
    once: bool
    stop: threading.Event
    each_second: Callable[[], None]
    talks: Callable[[], bool] = lambda: True
    recorder: Recorder | None = None

    def run(self) -> None:
        """Run until ``stop`` is set, or with ``once`` until the streams have ended."""
        now_s = self._start_s = time.monotonic()
        self._due_s = self._tick_s = self._meter_s = self._control_s = now_s
        self._sending, self._ended_s = self.source is not None, math.inf
        self._last_caller: Address | None = None
        while not self.stop.is_set() and not self._finished(now_s):
            now_s = time.monotonic()
            if now_s >= self._meter_s + CONTROL_S:
                self._meter_s = now_s
                self.each_second()
            for datagram, address in self.link.receive(self._next_s() - now_s):
                self.endpoint.receive(datagram, address, time.monotonic())
            now_s = time.monotonic()
            if (caller := self._caller) != self._last_caller:  # the description precedes the voice
                self._last_caller, self._due_s = caller, now_s
                self._start_s = self._control_s = now_s
            if now_s >= self._control_s:
                self._control(now_s)
            if self._sending:
                self._take()
            if self.endpoint.receiver is not None and self.output is not None:
                self._tick(self.endpoint.receiver, self.output)
        if self._sending:
            self._end()
        if self.endpoint.sender is not None:
            self._send(self.endpoint.leave())
        self._drain()

    def _control(self, now_s: float) -> None:
        """Send the reports of this second, and determine the time of the next ones."""
        datagram = self.endpoint.control(now_s, sending=self._sending)
        self._send(datagram)
        bits = 0 if datagram is None else 8 * (len(datagram) + self.link.header_bytes)
        interval_s = CONTROL_S
        if now_s < self._start_s + CONTROL_S:
            interval_s = min(max(bits / self.control_bps, FIRST_CONTROL_S), CONTROL_S)
        if self.endpoint.sender is not None:
            self.endpoint.sender.note_control(bits / interval_s)
        self._control_s = now_s + interval_s

    def _next_s(self) -> float:
        """Return the time at which there is something to do."""
        times_s = [self._control_s, self._meter_s + CONTROL_S]
        if self._sending and self.source is not None and self.source.ready and self._reachable:
            times_s.append(self._due_s)
        receiver, output = self.endpoint.receiver, self.output
        if receiver is not None and receiver.playout is not None and output is not None:
            times_s += [self._tick_s] * (not (output.device and output.started))
        return min(times_s)

    @property
    def _caller(self) -> Address | None:
        """Address of the end that has called this one, until it leaves or is silent.

        In a room it is another value after somebody has joined.
        """
        receiver = self.endpoint.receiver
        if self.link.shared:
            return self.link.others
        if receiver is None or not self.link.listen:
            return None
        return receiver.sender(time.monotonic())

    @property
    def _reachable(self) -> bool:
        """Whether the address of the other end is known."""
        return not self.link.listen or self._caller is not None

    def _send(self, datagram: bytes | None) -> None:
        """Send a datagram to the other end, if its address is known."""
        caller = self._caller
        if datagram is not None and (caller is not None or not self.link.listen):
            self.link.send(datagram, caller)

    def _take(self) -> None:
        """Send the samples that are due. A file waits for a caller, other sources do not."""
        source = self.source
        assert source is not None
        if not self._reachable:
            self._due_s = time.monotonic()
            while source.live and source.take() is not None:
                pass
            return
        while time.monotonic() >= self._due_s and (piece := source.take()) is not None:
            talks = self.talks()
            if self.recorder is not None:
                self.recorder.sent(piece * talks, source.rate_hz)
            for datagram in self.endpoint.push(piece, talks):
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
        """Play the ticks that are due: by the clock of a device, or by this machine's."""
        now_s = time.monotonic()
        if receiver.playout is None or now_s < self._tick_s - LATE_S:
            self._tick_s = now_s
            return
        rate_hz, device = receiver.playout.rate_hz, output.device and output.started
        for _ in range(MAX_TICKS):
            if not (output.hungry if device else now_s >= self._tick_s):
                return
            audio = receiver.pull(now_s)
            assert audio is not None
            output.write(audio, rate_hz)
            if self.recorder is not None:
                self.recorder.received(audio, rate_hz)
            self._tick_s = max(self._tick_s, now_s - LATE_S) + audio.shape[-1] / rate_hz

    def _finished(self, now_s: float) -> bool:
        receiver = self.endpoint.receiver
        if receiver is None:
            return not self._sending
        if not self.once or receiver.playout is None or (self._sending and self._reachable):
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
