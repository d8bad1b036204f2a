"""The choice of bitrate and redundancy over simulated links."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import soundfile

import chirrup
from chirrup.errors import UsageError
from chirrup.live.adaptation import Adaptation, Choice, Costs, frames_for
from chirrup.live.endpoint import Endpoint
from chirrup.live.network import Network
from chirrup.live.receiver import Receiver
from chirrup.live.rtp import HEADER_BYTES as HEADER_BYTES_OF_RTP
from chirrup.live.sender import Sender

HEADER_BYTES, CONTROL_BPS = 40, 1000.0
ADDRESS = ("192.0.2.1", 5004)
SPEECH, _ = soundfile.read(f"{chirrup.__path__[0]}/clips/joe.flac", dtype="float32")


def adaptation(limit_bps: float, model: str = "iris-t1", **options: int) -> Adaptation:
    spec = chirrup.load(model).spec
    frames = frames_for(spec, HEADER_BYTES, limit_bps)
    costs = Costs(spec, frames, HEADER_BYTES, CONTROL_BPS)
    return Adaptation(costs, limit_bps, options.pop("most", spec.codebooks), **options)


def losses(policy: Adaptation, conditions: str, seconds: int, seed: int) -> Iterator[float]:
    """Yield the share of lost packets of each second."""
    network = Network(conditions, seed)
    packets = round(policy.costs.spec.frame_rate_hz / policy.costs.frames)
    for _ in range(seconds):
        for _ in range(packets):
            network.send(b"", 0.0)
        yield 1 - len(network.receive()) / packets


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit_bps", [8000, 12_000, 16_000, 24_000, 40_000])
def test_steps_of_loss(limit_bps: int, seed: int) -> None:
    """Loss of 0, 20 and 0 %: the redundancy follows, the rate stays below the limit, and after a
    step the choice settles."""
    policy = adaptation(limit_bps)
    before = policy.choice
    phases: list[list[Choice]] = []
    for conditions, seconds in (("loss:0%", 60), ("loss:20%", 120), ("loss:0%", 60)):
        phases.append([])
        for loss in losses(policy, conditions, seconds, seed):
            choice = policy.report(loss, 0.005, 0.05)
            phases[-1].append(choice)
            assert policy.costs.rate_bps(choice) <= limit_bps
    first, lossy, last = phases
    assert before.redundancy <= policy.costs.spec.codebooks
    assert first[-1].redundancy == last[-1].redundancy == 0
    assert first[-1].codebooks == last[-1].codebooks
    assert {choice.redundancy for choice in phases[0] + phases[1]}.isdisjoint({1})
    if limit_bps > 8000:  # with fewer codes, copies do not pay
        assert lossy[5].redundancy >= 2
        assert min(choice.redundancy for choice in lossy[10:]) >= 2
    assert min(choice.codebooks for choice in lossy) >= 0.5 * first[-1].codebooks
    for settled in (first[40:], lossy[20:], last[40:]):
        changes = sum(a != b for a, b in pairwise(settled))
        # at 8 kbit/s and 20 % loss, the choices with and without copies are equally good
        assert changes <= len(settled) / (10 if limit_bps == 8000 else 25), settled


@dataclass
class Bottleneck:
    """A queue of one second before a line, which drops what does not fit."""

    line_bps: float
    waiting_bits: float = 0.0
    trips_s: list[float] = field(default_factory=list)

    def second(self, rate_bps: float) -> tuple[float, float]:
        """Return the loss and the round trip of a second."""
        self.waiting_bits = max(0.0, self.waiting_bits + rate_bps - self.line_bps)
        dropped = max(0.0, self.waiting_bits - self.line_bps)
        self.waiting_bits -= dropped
        self.trips_s.append(0.05 + self.waiting_bits / self.line_bps)
        return dropped / rate_bps, self.trips_s[-1]


@pytest.mark.parametrize("line_bps", [14_000, 20_000])
def test_a_line_that_is_slower_than_the_limit(line_bps: int) -> None:
    """The rate falls below that of the line before it drops packets for long, and stays near it."""
    policy, line = adaptation(40_000), Bottleneck(line_bps)
    policy.costs.frames = 2
    rates, lost = [], []
    for _ in range(300):
        rates.append(policy.costs.rate_bps(policy.choice))
        loss, trip_s = line.second(rates[-1])
        lost.append(loss)
        policy.report(loss, 0.005, trip_s)
    assert sum(lost[10:]) == 0
    assert sum(trip_s > 0.4 for trip_s in line.trips_s[30:]) <= 0.1 * 270
    assert 0.75 * line_bps <= sum(rates[30:]) / 270 <= line_bps


def test_jitter_is_no_queue() -> None:
    """The round trip varies with the jitter, which takes no bitrate."""
    policy = adaptation(24_000)
    for number in range(100):
        policy.report(0.0, 0.04, 0.05 + 0.02 * (number % 15))
    assert policy.choice.codebooks == policy.costs.spec.codebooks


@pytest.mark.parametrize("model", ["iris-t1", "lrac-t1", "focal-small", "tq-small"])
def test_limits(model: str) -> None:
    """All choices are below the limit. The error for a limit that is too low states the lowest."""
    spec = chirrup.load(model).spec
    for limit_bps in (6_000, 20_000, 200_000, 1_000_000):
        try:
            policy = adaptation(limit_bps, model)
        except UsageError as error:
            lowest_bps = float(str(error).split(" needs ")[1].split()[0])
            assert limit_bps < lowest_bps
            continue
        assert policy.costs.frames % spec.chunk_frames == 0
        for number in range(60):
            policy.report(0.3 * (number % 2), 0.0, None)
            assert policy.costs.rate_bps(policy.choice) <= limit_bps
        policy.note_control(2 * CONTROL_BPS)
        assert policy.costs.rate_bps(policy.choice) <= max(
            limit_bps, policy.costs.rate_bps(policy._lowest)
        )


def test_a_given_redundancy_and_a_highest_bitrate_are_kept() -> None:
    policy = adaptation(24_000, most=6, redundancy=2)
    for loss in (0.0, 0.4, 0.0):
        for _ in range(20):
            assert policy.report(loss, 0.0, None) == (6, 2)


def test_reports_change_the_stream() -> None:
    """Sender and receiver, with the simulated network between them: the packets follow the loss,
    the rate on the line stays below the limit in each second, and nothing is malformed."""
    codec, limit_bps, ip_bytes = chirrup.load("iris-t1"), 24_000, 28
    choice = Choice(codec.codebooks, 1)
    costs = Costs(codec.spec, 2, ip_bytes + HEADER_BYTES_OF_RTP, 2400.0)
    policy = Adaptation(costs, limit_bps, choice.codebooks)
    sender = Sender(codec, 6000, 1, codec.input_rate_hz, 7, 2, policy)
    alice = Endpoint(7, sender)
    receiver = Receiver(lambda description: codec)
    bob = Endpoint(9, receiver=receiver)
    seen: list[tuple[int, int]] = []
    for phase, conditions in enumerate(("delay:20ms", "delay:20ms+loss:25%", "delay:20ms")):
        network = Network(conditions, 1)
        for second in range(8 * phase, 8 * phase + 8):
            bits = 0
            for tick in range(50):
                now_s = second + 0.02 * tick
                datagrams = alice.push(SPEECH[480 * tick : 480 * tick + 480])
                if tick == 0:
                    control = alice.control(now_s) or b""
                    sender.note_control(8 * (len(control) + ip_bytes))
                    datagrams.append(control)
                for datagram in datagrams:
                    bits += 8 * (len(datagram) + ip_bytes)
                    network.send(datagram, now_s)
                for arrival in network.receive(now_s):
                    bob.receive(arrival.packet, ADDRESS, arrival.time_s)
                receiver.pull(now_s)
                if tick == 25 and (report := bob.control(now_s)):
                    alice.receive(report, ADDRESS, now_s)
            assert bits <= limit_bps, (second, bits, sender.description)
        seen.append((sender.encoder.codebooks, sender.encoder.redundancy))
    assert seen[0][0] == codec.codebooks
    assert seen[0][1] <= 2
    assert seen[1][1] >= 6
    assert seen[2][1] < seen[1][1]
    assert receiver.playout is not None
    count = receiver.playout.statistics
    assert (count.malformed, bob.ignored, alice.ignored) == (0, 0, 0)
    assert count.recovered > 0.5 * (count.recovered + count.concealed)
    assert sender.statistics.round_trip_ms == pytest.approx(0, abs=30)
