"""The loops of `chirrup send` and `chirrup receive`: blocks of samples to a link, and back."""

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from chirrup.live.link import Link
from chirrup.live.receiver import Receiver
from chirrup.live.sender import Sender

CONTROL_S: Final = 1.0
"""Time between two reports, and between two meters."""
FIRST_CONTROL_S: Final = 0.1
"""Time between two reports in the first second, so that a lost one delays the start little."""
FASTER: Final = 1.001
"""Rate at which a pipe may be sent, relative to real time, because its clock may be faster."""
DRAIN_S: Final = 2.0
"""Time after Ctrl-C in which the datagrams that a simulated network delays are still sent."""
LATE_S: Final = 0.2
"""Delay after which a clock of ticks begins anew."""


def transmit(
    sender: Sender,
    link: Link,
    blocks: Iterator[np.ndarray],
    rate_hz: int,
    *,
    live: bool,
    stop: threading.Event,
    each_second: Callable[[], None],
) -> None:
    """Send a stream until its samples end, or ``stop`` is set.

    Args:
        sender: the sender.
        link: a link to the receiver.
        blocks: samples as `Encoder.push` takes them, in blocks of any length. They are read in
            another thread.
        rate_hz: their rate.
        live: the blocks come in real time.
        stop: ends the stream.
        each_second: called once a second.
    """
    waiting: queue.Queue[np.ndarray | BaseException | None] = queue.Queue(maxsize=50)
    reader = threading.Thread(target=_read, args=(blocks, waiting, rate_hz, stop), daemon=True)
    reader.start()
    start_s = due_s = time.monotonic()
    next_s = meter_s = start_s
    while not stop.is_set():
        now_s = time.monotonic()
        if now_s >= next_s:
            link.send(sender.control())
            next_s = now_s + (CONTROL_S if now_s > start_s + CONTROL_S else FIRST_CONTROL_S)
        if now_s >= meter_s + CONTROL_S:
            meter_s = now_s
            each_second()
        for datagram, _ in link.receive(min(0.01, due_s - now_s)):
            sender.receive(datagram)
        if time.monotonic() < due_s:
            continue
        try:
            block = waiting.get(timeout=0.01)
        except queue.Empty:
            continue
        if isinstance(block, BaseException):
            raise block
        if block is None:
            break
        for datagram in sender.push(block):
            link.send(datagram)
        due_s = max(due_s, time.monotonic() - LATE_S)
        due_s += block.shape[-1] / rate_hz / (FASTER if live else 1)
    for datagram in (*sender.flush(), sender.control(end=True)):
        link.send(datagram)
    stopped = stop.is_set()
    end_s = time.monotonic() + (DRAIN_S if stopped else math.inf)
    while link.busy and time.monotonic() < end_s and stopped == stop.is_set():
        for datagram, _ in link.receive(0.1):
            sender.receive(datagram)


def _read(
    blocks: Iterator[np.ndarray],
    waiting: "queue.Queue[np.ndarray | BaseException | None]",
    rate_hz: int,
    stop: threading.Event,
) -> None:
    """Read blocks, cut into pieces of 10 ms or less."""
    end: BaseException | None = None
    try:
        for block in blocks:
            step = max(1, rate_hz // 100)
            for start in range(0, block.shape[-1], step):
                while not stop.is_set():
                    try:
                        waiting.put(block[..., start : start + step], timeout=0.1)
                        break
                    except queue.Full:
                        continue
            if stop.is_set():
                return
    except BaseException as error:
        end = error
    waiting.put(end)


def listen(
    receiver: Receiver,
    link: Link,
    write: Callable[[np.ndarray], None],
    *,
    once: bool,
    stop: threading.Event,
    each_second: Callable[[], None],
) -> None:
    """Receive streams in real time until ``stop`` is set.

    Args:
        receiver: the receiver.
        link: a link that listens.
        write: takes the audio of each tick, from the first stream on.
        once: end when the first stream has ended, or stays away, and is played.
        stop: ends the reception.
        each_second: called once a second.
    """
    tick_s = meter_s = report_s = time.monotonic()
    ended_s: float | None = None
    while not stop.is_set():
        now_s = time.monotonic()
        if now_s >= meter_s + CONTROL_S:
            meter_s = now_s
            each_second()
        if now_s >= report_s + CONTROL_S:
            report_s = now_s
            if (report := receiver.report(now_s)) is not None:
                link.send(*report)
        for datagram, address in link.receive(min(0.02, tick_s - now_s)):
            receiver.receive(datagram, address, time.monotonic())
        now_s = time.monotonic()
        if receiver.playout is None or now_s < tick_s - LATE_S:
            tick_s = now_s
            continue
        if now_s < tick_s:
            continue
        audio = receiver.pull(now_s)
        assert audio is not None
        write(audio)
        tick_s = max(tick_s, now_s - LATE_S) + audio.shape[-1] / receiver.playout.rate_hz
        ended_s = (ended_s or now_s) if receiver.is_over(now_s) else None
        if once and ended_s is not None:
            depth_s = receiver.playout.statistics.target_ms / 1000
            if now_s > ended_s + depth_s + LATE_S:
                return
