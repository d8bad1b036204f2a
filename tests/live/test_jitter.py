"""The jitter buffer: order, holes, late and repeated packets, depth, drift, new streams, floods."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chirrup.live.jitter import GAP_S, MAX_WAITING, JitterBuffer, Pulled
from chirrup.live.network import Arrival, Network

RATE_HZ, FRAME = 24_000, 480
TICK_S = FRAME / RATE_HZ


def packet(number: int, frames: int = 1, redundant: bool = False) -> bytes:
    return bytes([(frames - 1) << 1 | redundant]) + number.to_bytes(4, "big")


def number_of(data: bytes | None) -> int | None:
    return None if data is None else int.from_bytes(data[1:5], "big")


@dataclass
class Run:
    """A buffer after a run, with the packets that came out and the depth of each tick."""

    buffer: JitterBuffer
    pulled: list[Pulled] = field(default_factory=list)
    depths_ms: list[float] = field(default_factory=list)
    most_waiting: int = 0

    @property
    def played(self) -> list[int]:
        return [n for p in self.pulled if (n := number_of(p.packet)) is not None]


def run(
    arrivals: Iterable[Arrival],
    ticks: int,
    *,
    buffer: JitterBuffer | None = None,
    numbers: Callable[[int], tuple[int, int]] = lambda n: (n, n * FRAME),
    quiet: Callable[[int], bool] = lambda tick: False,
    tick_s: float = TICK_S,
    source: int = 0,
    start_s: float = 0.0,
) -> Run:
    """Push each packet at its arrival time, and pull once a tick.

    Args:
        numbers: sequence number and timestamp of a packet.
    """
    done = Run(buffer or JitterBuffer(FRAME, RATE_HZ))
    left = iter(arrivals)
    arrival = next(left, None)
    for tick in range(ticks):
        now_s = start_s + tick * tick_s
        while arrival is not None and arrival.time_s <= now_s:
            sequence, timestamp = numbers(arrival.number)
            done.buffer.push(sequence, timestamp, arrival.packet, arrival.time_s, source)
            arrival = next(left, None)
        done.most_waiting = max(done.most_waiting, len(done.buffer._waiting))
        done.pulled.append(done.buffer.pull(now_s, quiet(tick)))
        done.depths_ms.append(done.buffer.statistics.depth_ms)
    check_counts(done)
    return done


def check_counts(done: Run) -> None:
    count = done.buffer.statistics
    waiting = len(done.buffer._waiting)
    assert count.received == count.played + count.late + count.discarded + waiting


def sent_over(
    text: str, packets: int, seed: int = 0, drift: float = 0.0, redundant: bool = False
) -> list[Arrival]:
    network = Network(text, seed)
    for number in range(packets):
        network.send(packet(number, redundant=redundant), number * TICK_S * (1 + drift))
    return network.receive()


# --- any order, duplication and loss --------------------------------------------------------------

DELAYS_MS = st.one_of(st.none(), st.integers(0, 50), st.tuples(*2 * [st.integers(0, 50)]))
"""Delay of a packet: None if it is lost, two if it arrives twice."""


def arrivals_of(delays_ms: Sequence[int | tuple[int, ...] | None]) -> list[Arrival]:
    found = []
    for number, delays in enumerate(delays_ms):
        for delay in (delays,) if isinstance(delays, int) else delays or ():
            found.append(Arrival(number * TICK_S + delay / 1000, number, packet(number)))
    return sorted(found)


@example([None] * 6, 0, 2289)  # the depth is the target, apart from rounding
@given(st.lists(DELAYS_MS, max_size=120), st.integers(0, 65_535), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_packet_that_comes_in_time_is_played_once_in_order(
    delays_ms: list[int | tuple[int, ...] | None], sequence: int, timestamp: int
) -> None:
    """The depth is at least 60 ms, and no packet comes more than 50 ms late, so all are in time.

    A gap of 0.3 s begins playout anew and is not in this test."""
    runs = "".join("." if delays is None else "x" for delays in delays_ms)
    arrivals = arrivals_of([0, *delays_ms, 0])
    done = run(
        arrivals,
        len(delays_ms) + 12,
        buffer=JitterBuffer(FRAME, RATE_HZ, min_depth_s=0.06),
        numbers=lambda n: ((n + sequence) % 65_536, (n * FRAME + timestamp) % 2**32),
    )
    assert done.played == sorted({arrival.number for arrival in arrivals})
    count = done.buffer.statistics
    assert (count.late, count.discarded) == (0, 0)
    assert count.duplicates == len(arrivals) - count.received
    assert count.lost == delays_ms.count(None)
    first = next(tick for tick, p in enumerate(done.pulled) if p.packet is not None)
    assert 0.06 <= first * TICK_S < 0.081
    if "." * round(GAP_S / TICK_S) not in runs:
        ticks = [number_of(p.packet) for p in done.pulled[first : first + len(delays_ms) + 2]]
        expected = [None if delays is None else n for n, delays in enumerate([0, *delays_ms, 0])]
        assert ticks == expected, "a hole takes the tick of its packet"


@given(
    st.lists(
        st.tuples(st.integers(-30, 30), st.integers(-40, 400), st.integers(0, 3), st.booleans()),
        max_size=150,
    )
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_packets_come_out_in_order_and_at_most_once(
    steps: list[tuple[int, int, int, bool]],
) -> None:
    """Each step moves the clock, pushes a packet near the place in the stream, and may pull."""
    buffer, now_s, place = JitterBuffer(FRAME, RATE_HZ), 0.0, 100
    done = Run(buffer)
    for move, wait_ms, frames, pulls in steps:
        now_s += max(0, wait_ms) / 1000
        place = max(0, place + move)
        buffer.push(place, place * FRAME, packet(place, frames + 1), now_s)
        if pulls:
            done.pulled.append(buffer.pull(now_s, quiet=frames == 0))
    check_counts(done)
    if buffer.statistics.restarts == 0:
        assert done.played == sorted(set(done.played))


def test_an_overtaken_packet_is_played_in_its_place() -> None:
    done = run(sent_over("reorder:20%,30ms+duplicate:20%", 500), 510)
    assert done.played == list(range(500))
    assert done.buffer.statistics.duplicates == pytest.approx(100, abs=30)


# --- holes ----------------------------------------------------------------------------------------


def test_a_hole_gets_the_redundancy_of_the_packet_behind_it() -> None:
    lost = {10, 20, 21, 30}
    arrivals = [a for a in sent_over("loss:0", 1000, redundant=True) if a.number not in lost]
    done = run(arrivals, 1005)
    assert done.played == [n for n in range(1000) if n not in lost]
    behind = [number_of(p.following) for p in done.pulled if p.following is not None]
    assert behind == [11, 22, 31]
    count = done.buffer.statistics
    assert (count.lost, count.recovered) == (4, 3)
    assert count.target_ms == pytest.approx(22, abs=0.1), "a packet and the margin"


def test_packets_of_several_frames() -> None:
    """A lost packet is as long as the packet before, and the last packet may be shorter."""
    sizes = [2, 2, 2, 1, 2, 2, 4, 4, 1]
    starts = np.cumsum([0, *sizes])
    buffer, pulled, now_s = JitterBuffer(FRAME, RATE_HZ), [], 1.0
    for number, size in enumerate(sizes):
        if number not in (1, 4, 7):
            start = int(starts[number])
            buffer.push(number, start * FRAME, packet(number, size), 1.0 + start * TICK_S)
    for size in [0, *sizes[:-1]]:
        now_s += size * TICK_S
        pulled.append(buffer.pull(now_s + 0.04))
    names = [(number_of(p.packet), number_of(p.following)) for p in pulled]
    assert names[:5] == [(0, None), (None, 2), (2, None), (3, None), (None, 5)]
    assert names[5:] == [(5, None), (6, None), (None, 8), (8, None)]


def test_nothing_stalls_when_the_sender_is_gone() -> None:
    arrivals = sent_over("loss:0", 300)
    done = run([a for a in arrivals if not 100 <= a.number < 200], 330)
    assert done.played == [*range(100), *range(200, 300)]
    assert done.buffer.statistics.concealed == pytest.approx(GAP_S / TICK_S, abs=1)


@pytest.mark.parametrize("ticks", [1, 5, 30])
def test_a_pause_and_the_end_conceal_nothing(ticks: int) -> None:
    """In a pause, timestamps go on and sequence numbers do not. Packet 80 is late, 120 is lost."""

    def position(number: int) -> int:
        return number + ticks * (number >= 50)

    delays = {80: 5}
    arrivals = sorted(
        Arrival((position(number) + delays.get(number, 0)) * TICK_S, number, packet(number))
        for number in range(150)
        if number != 120
    )
    count = run(arrivals, 250, numbers=lambda n: (n, position(n) * FRAME)).buffer.statistics
    assert (count.lost, count.late, count.concealed, count.inserted) == (1, 1, 2, 0)


def test_a_break_without_losses_inserts_ticks() -> None:
    """From packet 100 on, the delay is 0.4 s longer."""
    arrivals = [Arrival((n + 20 * (n >= 100)) * TICK_S, n, packet(n)) for n in range(200)]
    done = run(arrivals, 260)
    count = done.buffer.statistics
    assert done.played == list(range(200))
    assert (count.lost, count.late, count.concealed) == (0, 0, 0)
    assert count.inserted == pytest.approx(GAP_S / TICK_S, abs=1)


# --- depth ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pauses", [True, False])
@pytest.mark.parametrize("mean_ms", [0, 5, 20, 60])
def test_the_depth_follows_the_jitter(mean_ms: float, pauses: bool) -> None:
    """At most 3 % of the packets are late, and the depth is at most a tick and the slack more."""
    arrivals = sent_over(f"jitter:{mean_ms}ms", 3000, seed=2)
    done = run(arrivals, 3020, quiet=lambda tick: pauses and tick % 50 < 10)
    delays_ms = 1000 * np.array([a.time_s - a.number * TICK_S for a in arrivals])
    needed = np.quantile(delays_ms - delays_ms.min(), 0.97)
    count = done.buffer.statistics
    assert count.late <= 0.03 * 3000
    assert count.discarded <= 0.01 * 3000
    assert np.mean(done.depths_ms[500:3000]) <= max(needed, 20) * 1.3 + 32
    assert count.jitter_ms <= 1.3 * mean_ms + 0.01
    assert done.most_waiting < 30


@pytest.mark.parametrize("change_s", [0.1, 0.2])
def test_the_depth_follows_a_change_of_the_delay(change_s: float) -> None:
    """A longer way costs a few packets, and the depth follows the short way back in 15 s."""
    arrivals = sorted(
        a._replace(time_s=a.time_s + change_s * (1000 <= a.number < 2000))
        for a in sent_over("jitter:2ms", 3000)
    )
    done = run(arrivals, 3020, quiet=lambda tick: tick % 50 < 10)
    count = done.buffer.statistics
    assert count.late <= 20
    assert count.inserted <= change_s / TICK_S + 2
    assert count.discarded == pytest.approx(change_s / TICK_S, abs=3)
    played = np.array([number_of(p.packet) or -1 for p in done.pulled])
    for number, most_ms in ((990, 80), (1990, 80 + 1000 * change_s), (2990, 80)):
        delay_ms = 1000 * TICK_S * (int(np.flatnonzero(played == number)[0]) - number)
        assert delay_ms <= most_ms
    assert done.buffer.statistics.depth_ms < 60


HOUR = round(3600 / TICK_S)


@pytest.mark.parametrize("ppm", [100, -100])
def test_an_hour_of_drift_keeps_the_depth(ppm: int) -> None:
    """In an hour 100 ppm are 0.36 s: 18 packets of 20 ms are removed or inserted."""
    arrivals = sent_over("jitter:3ms", HOUR, drift=-ppm * 1e-6)
    done = run(arrivals, HOUR, quiet=lambda tick: tick % 100 < 20)
    depths_ms = np.array(done.depths_ms[500:]).reshape(-1, 500)[:, ::50].mean(axis=1)
    assert depths_ms.min() >= 20
    assert depths_ms.max() <= 60
    assert abs(depths_ms[:30].mean() - depths_ms[-30:].mean()) < 20
    count = done.buffer.statistics
    against, along = (count.removed, count.inserted)[:: 1 if ppm > 0 else -1]
    assert against == pytest.approx(18, abs=2)
    assert along <= 1
    assert count.discarded == count.removed
    assert count.late < 0.002 * HOUR
    assert done.most_waiting <= 5
    assert len(done.buffer._delays._sorted) <= 300


def test_a_tick_is_removed_without_a_quiet_moment_after_a_second() -> None:
    done = run(sent_over("jitter:3ms", 40_000, drift=-200e-6), 40_000)
    assert done.buffer.statistics.removed == pytest.approx(8, abs=2)
    assert max(done.depths_ms[500:]) < 55


# --- streams --------------------------------------------------------------------------------------


def test_numbers_wrap() -> None:
    """70,000 packets pass the end of 16 bits, and the timestamps the end of 32."""
    arrivals = sent_over("loss:5%+jitter:10ms+reorder:2%", 70_000, seed=4)
    wrapped = run(
        arrivals, 70_010, numbers=lambda n: ((n + 65_000) % 65_536, (n * FRAME - 9600) % 2**32)
    )
    plain = run(arrivals, 70_010)
    assert wrapped.pulled == plain.pulled
    assert wrapped.buffer.statistics.lost == 70_000 - len(arrivals)


@pytest.mark.parametrize("source", [0, 7])
@pytest.mark.parametrize("pause_s", [0.5, 5.0, 600.0])
def test_a_sender_that_begins_again_is_played(source: int, pause_s: float) -> None:
    buffer = JitterBuffer(FRAME, RATE_HZ)
    run(sent_over("jitter:3ms", 200), 220, buffer=buffer)
    start_s = 220 * TICK_S + pause_s
    while buffer._playing:
        buffer.pull(start_s)
    arrivals = sent_over("jitter:3ms", 200, seed=9)
    again = run(
        [a._replace(time_s=a.time_s + start_s) for a in arrivals],
        210,
        buffer=buffer,
        numbers=lambda n: (n + 12_345, n * FRAME + 99_999_999),
        source=source,
        start_s=start_s,
    )
    assert again.played == list(range(200))
    assert buffer.statistics.restarts == 1
    assert buffer.statistics.lost == 0
    assert buffer.statistics.depth_ms < 80


@pytest.mark.parametrize("pause_s", [0.1, 0.4, 3.0, 600.0])
@pytest.mark.parametrize("counts", [True, False])
def test_a_pause_of_the_sender(pause_s: float, counts: bool) -> None:
    """The timestamps count the pause or not. If not, a short pause is a longer delay."""
    shift = round(pause_s / TICK_S) * counts
    arrivals = [
        a._replace(time_s=a.time_s + pause_s * (a.number >= 200))
        for a in sent_over("jitter:3ms", 1200)
    ]
    done = run(
        arrivals,
        round((24.2 + pause_s) / TICK_S),
        buffer=JitterBuffer(FRAME, RATE_HZ, min_depth_s=0.04),
        numbers=lambda n: (n, (n + shift * (n >= 200)) * FRAME),
    )
    missing = sorted(set(range(1200)) - set(done.played))
    if pause_s < GAP_S and not counts:
        assert len(missing) <= 15
        assert set(missing) <= set(range(200, 300))
    else:
        assert missing == []
    assert done.buffer.statistics.depth_ms < 100


def test_packets_of_another_source_do_not_disturb() -> None:
    arrivals = sent_over("loss:0", 300)
    buffer, played, now_s = JitterBuffer(FRAME, RATE_HZ), [], 0.0
    random = np.random.default_rng(0)
    for arrival in arrivals:
        for source in (1, 0):
            numbers = random.integers(2**32, size=(5, 2)).tolist()
            for sequence, timestamp in numbers if arrival.number else []:
                buffer.push(sequence, timestamp, b"garbage", now_s, source)
        if arrival.number:  # the right numbers of a wrong source, and the other way round
            buffer.push(arrival.number, arrival.number * FRAME, b"garbage", now_s, 1)
            buffer.push(arrival.number + 9000, arrival.number * FRAME, b"garbage", now_s, 0)
        now_s = arrival.time_s
        buffer.push(arrival.number, arrival.number * FRAME, arrival.packet, now_s)
        played.append(number_of(buffer.pull(now_s).packet))
    assert [n for n in played if n is not None] == list(range(len(played) - played.count(None)))
    assert played.count(None) <= 3
    assert buffer.statistics.lost == 0


def test_a_packet_before_the_first_tick_is_not_late() -> None:
    buffer = JitterBuffer(FRAME, RATE_HZ)
    buffer.push(10, 10 * FRAME, packet(10), 0.2)
    assert number_of(buffer.pull(0.241).packet) == 10
    buffer.push(9, 9 * FRAME, packet(9), 0.241)
    assert (buffer.statistics.late, buffer.statistics.discarded) == (0, 1)


def test_packets_whose_ticks_were_left_out_are_not_late() -> None:
    """The caller was busy for 0.6 s, and pulls before it reads what has arrived."""
    buffer = JitterBuffer(FRAME, RATE_HZ)
    buffer.push(10, 10 * FRAME, packet(10), 0.2)
    assert number_of(buffer.pull(0.801).packet) is None
    for number in range(11, 41):
        buffer.push(number, number * FRAME, packet(number), 0.801)
    count = buffer.statistics
    assert (count.removed, count.discarded) == (28, 1 + 27)
    assert (count.late, count.concealed) == (1, 1)
    assert len(buffer._waiting) == 2


# --- floods ---------------------------------------------------------------------------------------


def test_a_flood_that_nobody_pulls_is_bounded_and_the_latest_is_played() -> None:
    buffer = JitterBuffer(FRAME, RATE_HZ)
    for number in range(20_000):
        buffer.push(number, number * FRAME, packet(number), number * TICK_S)
        assert len(buffer._waiting) <= MAX_WAITING
    now_s = 20_000 * TICK_S
    first = number_of(buffer.pull(now_s).packet)
    assert first is not None
    assert now_s - first * TICK_S < 0.1
    buffer.push(20_000, 20_000 * FRAME, packet(20_000), now_s)
    assert number_of(buffer.pull(now_s + TICK_S).packet) == first + 1


def test_pulls_without_packets_return_nothing() -> None:
    buffer = JitterBuffer(FRAME, RATE_HZ)
    assert all(buffer.pull(tick * TICK_S) == (None, None) for tick in range(100))
    assert buffer.statistics.concealed == 0


def test_packets_that_are_much_too_late_are_not_lost() -> None:
    buffer = JitterBuffer(FRAME, RATE_HZ)
    late = range(100, 120)
    times = sorted((0.02 * n + (0.55 if n in late else 0.0), n) for n in range(300))
    arrivals = [Arrival(time_s, n, packet(n)) for time_s, n in times]
    count = run(arrivals, 350, buffer=buffer, start_s=0.001).buffer.statistics
    assert (count.received, count.lost, count.late) == (300, 0, 20)
    assert count.restarts == 0
