"""The simulated network: rates, distributions, order, and equal results of a seed."""

from pathlib import Path

import numpy as np
import pytest

from chirrup.errors import FileError, UsageError
from chirrup.live.network import Arrival, Network, parse_network

PACKETS, PERIOD_S = 20_000, 0.02
PAYLOAD = bytes(range(16))


def sent_over(text: str, seed: int = 0, packets: int = PACKETS) -> list[Arrival]:
    network = Network(text, seed)
    for number in range(packets):
        network.send(PAYLOAD, number * PERIOD_S)
    return network.receive()


def lost(arrivals: list[Arrival], packets: int = PACKETS) -> np.ndarray:
    found = np.ones(packets, bool)
    found[[arrival.number for arrival in arrivals]] = False
    return found


def delays_s(arrivals: list[Arrival]) -> np.ndarray:
    return np.array([arrival.time_s - arrival.number * PERIOD_S for arrival in arrivals])


def runs(flags: np.ndarray) -> np.ndarray:
    """Return the lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    return edges[1::2] - edges[::2]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("loss", "loss-10"),
        ("loss:2.5", "loss-2.5"),
        ("loss:10%", "loss-10"),
        ("bursts:20%,5", "bursts-20-5-100"),
        ("bursts:10,3,50", "bursts-10-3-50"),
        ("jitter:30ms+loss:5%", "loss-5+jitter-30"),
        ("reorder:5%,60ms", "reorder-5-60"),
        ("duplicate+bit-errors:0.1%", "duplicate-1+bit-errors-0.1"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert parse_network(text).name == name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rain", "'rain' is not a condition of a network: use loss:10%"),
        ("loss:", "'loss:' is not a condition"),
        ("trace", "'trace' is not a condition"),
        ("loss:5%+", "'' is not a condition"),
        ("loss:101", "'101' of 'loss:101' is not 0 to 100 per cent"),
        ("loss:5ms", "'5ms' of"),
        ("jitter:nan", "'nan' of 'jitter:nan' is not 0 to 60000 milliseconds"),
        ("delay:1,2", "has 2 values, delay takes 1"),
        ("bursts:10,0.5", "'0.5' of 'bursts:10,0.5' is not 1 to"),
        ("bursts:90,3", "lose at most 75 % of all packets, not 90 %: use longer bursts"),
        ("loss:1+loss:2", "has loss twice"),
    ],
)
def test_a_wrong_text_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_network(text)


def test_without_effects_packets_arrive_at_once() -> None:
    network = Network(parse_network("loss:0"))
    network.send(b"a", 1.0)
    network.send(b"b", 2.0)
    assert network.next_s == 1.0
    assert network.receive(1.5) == [(1.0, 0, b"a", None)]
    assert network.receive() == [(2.0, 1, b"b", None)]
    assert network.next_s is None


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_losses_are_independent(share: float) -> None:
    flags = lost(sent_over(f"loss:{100 * share}%"))
    assert flags.mean() == pytest.approx(share, abs=0.01)
    if 0 < share < 1:
        assert runs(flags).mean() == pytest.approx(1 / (1 - share), rel=0.05)


@pytest.mark.parametrize(
    ("share", "length", "inside"), [(0.1, 3, 1.0), (0.2, 8, 1.0), (0.1, 5, 0.5)]
)
def test_bursts_have_their_share_and_length(share: float, length: float, inside: float) -> None:
    arrivals = sent_over(f"bursts:{100 * share}%,{length},{100 * inside}%", packets=100_000)
    flags = lost(arrivals, 100_000)
    assert flags.mean() == pytest.approx(share, rel=0.1)
    if inside == 1:
        assert runs(flags).mean() == pytest.approx(length, rel=0.1)
    else:  # a lost packet is followed by another if the burst lasts and it is lost as well
        following = flags[1:][flags[:-1]].mean()
        enters = share / (inside - share) / length
        stays = 1 - 1 / length
        assert following == pytest.approx(stays * inside, rel=0.1)
        assert following > enters


def test_a_network_may_begin_in_a_burst() -> None:
    first = [lost(sent_over("bursts:30%,50", seed, 1), 1)[0] for seed in range(2000)]
    assert np.mean(first) == pytest.approx(0.3, abs=0.03)


def test_jitter_is_a_queue_with_exponential_delays() -> None:
    alone = Network("jitter:40ms", seed=1)
    for number in range(PACKETS):
        alone.send(PAYLOAD, 10.0 * number)  # nothing waits behind the packet before
    times = np.array([a.time_s - 10 * a.number for a in alone.receive()])
    assert (times.mean(), times.std()) == pytest.approx((0.04, 0.04), rel=0.03)
    assert np.quantile(times, 0.97) == pytest.approx(0.04 * np.log(1 / 0.03), rel=0.05)
    queue = sent_over("jitter:40ms+delay:100ms")
    assert [arrival.number for arrival in queue] == list(range(PACKETS))
    assert delays_s(queue).min() >= 0.1


def test_reordered_packets_are_overtaken() -> None:
    arrivals = sent_over("reorder:5%,50ms")
    assert np.mean(delays_s(arrivals) > 0.049) == pytest.approx(0.05, abs=0.01)
    numbers = np.array([arrival.number for arrival in arrivals])
    assert np.mean(np.diff(numbers) < 0) == pytest.approx(0.05, abs=0.01)


def test_duplicates_arrive_twice() -> None:
    numbers = [arrival.number for arrival in sent_over("duplicate:5%")]
    assert set(numbers) == set(range(PACKETS))
    assert len(numbers) == pytest.approx(1.05 * PACKETS, rel=0.01)


@pytest.mark.parametrize("share", [1e-300, 0.001, 0.05, 1.0])
def test_bit_errors_are_independent(share: float) -> None:
    packets = np.frombuffer(
        b"".join(arrival.packet for arrival in sent_over(f"bit-errors:{100 * share}%")), np.uint8
    )
    bits = np.unpackbits(packets.reshape(PACKETS, 16), axis=1)
    wrong = bits != np.unpackbits(np.frombuffer(PAYLOAD, np.uint8))
    assert wrong.mean() == pytest.approx(share, rel=0.05, abs=1e-9)
    places = wrong.mean(axis=0)
    assert places == pytest.approx(share, rel=1, abs=0.001)


def test_a_seed_gives_the_same_and_another_seed_does_not() -> None:
    text = "loss:10%+bursts:5%,4+jitter:40ms+reorder+duplicate+bit-errors"
    assert sent_over(text, 3, 500) == sent_over(text, 3, 500)
    assert sent_over(text, 3, 500) != sent_over(text, 4, 500)


def test_known_losses_of_a_seed() -> None:
    """The losses are the same in every version of Python and of Chirrup."""
    assert np.flatnonzero(lost(sent_over("loss:10%", 1, 60), 60)).tolist() == [26, 43, 44, 48]


@pytest.mark.parametrize("loses", ["loss:10%", "bursts:10%,3"])
def test_other_effects_and_contents_do_not_change_what_is_lost(loses: str) -> None:
    alone = lost(sent_over(loses, 5))
    both = lost(sent_over(f"{loses}+jitter:40ms+duplicate:5%+bit-errors:1%", 5))
    assert np.array_equal(alone, both)
    network = Network(loses, 5)
    for number in range(PACKETS):
        network.send(bytes(number % 7), number * PERIOD_S)
    assert np.array_equal(alone, lost(network.receive()))


def test_a_trace_gives_delay_or_loss_of_each_packet(tmp_path: Path) -> None:
    path = tmp_path / "my trace.txt"
    path.write_text("# a comment\n10\nlost\n\n120.5  # late\n")
    arrivals = sent_over(f"trace:{path}+delay:5ms", packets=6)
    assert [(a.number, round(1000 * (a.time_s - a.number * PERIOD_S), 6)) for a in arrivals] == [
        (0, 15),
        (3, 15),
        (2, 125.5),
        (5, 125.5),
    ]
    name = parse_network(f"trace:{path}").name
    assert name.startswith("trace-my-trace-")
    path.write_text("10\n")
    assert parse_network(f"trace:{path}").name != name


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"10\nlate\n", "line 2 of the trace .* is 'late': write a delay of 0 to 60000 ms"),
        (b"-1\n", "line 1 of the trace .* is '-1'"),
        (b"# none\n", "has no packets"),
        (b"\xff\xfe", "is not text"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_wrong_trace_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "trace.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match=words):
        parse_network(f"trace:{path}")
