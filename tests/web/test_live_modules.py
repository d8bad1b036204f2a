"""The modules of live use of the page, in Node, against Python."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.bitstream import pack_packet, unpack_packet
from chirrup.cli.demo import CLIP
from chirrup.errors import FormatError
from chirrup.live.jitter import JitterBuffer
from chirrup.live.network import Network
from chirrup.live.playout import Playout
from chirrup.serve import assets
from chirrup.zoo import FOLDER

Run = Callable[..., Any]


@pytest.fixture
def run(modules: Path, tmp_path: Path) -> Run:
    """Run a task of ``live.mjs`` and return its result."""

    def run_task(task: str, **given: Any) -> Any:
        job = tmp_path / "job.json"
        job.write_text(json.dumps({"task": task} | given))
        script = Path(__file__).with_name("live.mjs")
        command = ["node", str(script), str(modules), str(assets.ENGINE), str(job)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        return json.loads(done.stdout)

    return run_task


def model(bits: int = 10, codebooks: int = 12, size: int | None = None) -> dict[str, Any]:
    size = size or 1 << bits
    return {"bits_per_code": bits, "codebooks": codebooks, "codebook_size": size}


def plain(codes: np.ndarray | None) -> dict[str, Any] | None:
    """Return codes ``[codebooks, frames]`` as the page has them."""
    return None if codes is None else {"codes": codes.T.ravel().tolist(), "codebooks": len(codes)}


@pytest.mark.parametrize("bits", [5, 9, 10, 16])
def test_packets_are_those_of_python(bits: int, run: Run) -> None:
    random = np.random.default_rng(bits)
    contents = []
    for frames in range(-(-8 // bits), 5):
        for books, extra_books, extra_frames in ((1, 0, 0), (12, 1, 1), (3, 3, 4), (2, 12, 16)):
            codes = random.integers(0, 1 << bits, (books, frames))
            extra = random.integers(0, 1 << bits, (extra_books, extra_frames))
            contents.append((codes, extra if extra.size else None))
    packets = [pack_packet(codes, extra, bits) for codes, extra in contents]
    given = [(plain(codes), plain(extra)) for codes, extra in contents]
    assert run("pack", packets=given, bits=bits) == [packet.hex() for packet in packets]
    found = run("unpack", packets=[packet.hex() for packet in packets], model=model(bits))
    assert found == [{"present": codes, "redundant": extra} for codes, extra in given]


def test_malformed_packets_are_refused_as_in_python(run: Run) -> None:
    random = Random(1)
    packets = [random.randbytes(random.randrange(20)) for _ in range(2000)]
    packets += [bytes([random.randrange(8), *packet[1:]]) for packet in packets if packet]
    found = run("unpack", packets=[packet.hex() for packet in packets], model=model(10, 12, 1000))
    refused = 0
    for packet, result in zip(packets, found, strict=True):
        try:
            expected = unpack_packet(packet, 10, 12, 1000)
        except FormatError:
            assert isinstance(result, str)
            refused += 1
        else:
            present, redundant = plain(expected.codes), plain(expected.redundant)
            assert result == {"present": present, "redundant": redundant}
    assert 1000 < refused < len(packets) - 100


@pytest.mark.parametrize("conditions", ["loss:5%", "loss:20%+jitter:60ms+duplicate:5%+reorder"])
def test_the_jitter_buffer_is_that_of_python(conditions: str, run: Run) -> None:
    """The packets of a stream and of another one that follows it, with other numbers."""
    random = Random(2)
    network, events = Network(conditions, seed=3), []
    for number in range(1500):
        redundant = np.zeros((1, 1), int) if number % 3 else None
        packet = pack_packet(np.full((2, 1), number % 1024), redundant, 10)
        first = 65_000 if number < 800 else 7
        label = (first + number) & 0xFFFF, (2**32 - 200_000 + 480 * number) % 2**32, number // 800
        network.send(packet, 0.02 * number + (1.0 if number >= 800 else 0.0), label)
    for arrival in network.receive():
        sequence, timestamp, source = arrival.label
        push = [sequence, timestamp, arrival.packet.hex(), arrival.time_s, source]
        events.append((arrival.time_s, {"push": push}))
    for tick in range(1600):
        now_s = 0.0201 * tick
        events.append((now_s, {"pull": [now_s, random.random() < 0.3]}))
    events.sort(key=lambda event: event[0])

    buffer, pulled = JitterBuffer(480, 24_000), []
    for _, event in events:
        if push := event.get("push"):
            buffer.push(push[0], push[1], bytes.fromhex(push[2]), push[3], push[4])
        else:
            result = buffer.pull(*event["pull"])
            pulled.append([packet.hex() if packet else None for packet in result])
    expected = vars(buffer.statistics)
    sizes = {"frame_samples": 480, "sample_rate_hz": 24_000}
    found = run("jitter", model=sizes, events=[event for _, event in events])
    assert found["pulled"] == pulled
    assert found["counts"] == {name: expected[name] for name in found["counts"]}
    assert 1000 * found["depth"] == pytest.approx(expected["depth_ms"])
    assert 1000 * found["target"] == pytest.approx(expected["target_ms"])
    assert expected["restarts"] == 1


@pytest.mark.parametrize("name", ["iris-t1", "lrac-t1"])  # "model" and "repeat" of lost_frames
def test_playout_is_that_of_python(name: str, run: Run) -> None:
    codec = chirrup.load(name)
    clip, _ = soundfile.read(CLIP, frames=2 * 24_000, dtype="float32")
    encoder = codec.encoder(bitrate_bps=codec.bitrates_bps[3], redundancy=2, frames_per_packet=2)
    packets = encoder.push(clip[:24_000])
    encoder.change(codec.bitrates_bps[1], redundancy=0)
    packets += encoder.push(clip[24_000:])
    step_s = 2 * codec.frame_samples / codec.sample_rate_hz
    network = Network("loss:15%+jitter:15ms+bit-errors:0.1%", seed=4)
    for number, packet in enumerate(packets):
        if not 60 < 100 * number / len(packets) < 80:  # a gap, which fades to silence
            network.send(packet, number * step_s, number)
    arrivals = network.receive()
    step = 2 * codec.frame_samples
    labels = [(arrival.label, arrival.label * step) for arrival in arrivals]

    playout, pieces, next_one = Playout(codec.decoder(frames_per_packet=2)), [], 0
    ticks, now_s = [], 0.001
    while now_s < 2.2:
        while next_one < len(arrivals) and arrivals[next_one].time_s <= now_s:
            arrival = arrivals[next_one]
            playout.push(*labels[next_one], arrival.packet, arrival.time_s)
            next_one += 1
        pieces.append(playout.pull(now_s))
        ticks.append(now_s)
        now_s += len(pieces[-1]) / codec.sample_rate_hz
    given = [
        (*label, arrival.packet.hex(), arrival.time_s)
        for label, arrival in zip(labels, arrivals, strict=True)
    ]
    program = str(FOLDER / name / assets.PROGRAM)
    described = assets.describe(FOLDER / name)
    found = run("play", model=described, program=program, arrivals=given, ticks=ticks)
    expected, statistics = np.concatenate(pieces), vars(playout.statistics)
    audio = np.array(found["audio"])
    started = next(n for n, piece in enumerate(pieces) if piece.any())
    before = sum(map(len, pieces[:started]))
    assert found["counts"] == {key: statistics[key] for key in found["counts"]}
    assert statistics["recovered"] > 2
    assert statistics["concealed"] > 2
    audio, expected = audio[len(audio) - len(expected) + before :], expected[before:]
    assert np.square(audio - expected).mean() < 1e-6 * np.square(expected).mean()


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(48_000, 24_000), (24_000, 44_100), (44_100, 16_000)]
)
def test_resampling_in_pieces(from_hz: int, to_hz: int, run: Run) -> None:
    def tones(rate_hz: int, frequencies: tuple[float, ...]) -> np.ndarray:
        time = np.arange(rate_hz // 5) / rate_hz
        return 0.2 * sum((np.sin(2 * np.pi * hz * time) for hz in frequencies), np.zeros(len(time)))

    lower = min(from_hz, to_hz)
    passed, beyond = (0.01 * lower, 0.2 * lower, 0.41 * lower), (0.53 * lower,)
    more = beyond if to_hz < from_hz else ()  # above half the new rate
    signal = tones(from_hz, passed + more).tolist()
    one, other, whole = run(
        "resample", signal=signal, rates=[from_hz, to_hz], pieces=[128, 1, len(signal)]
    )
    assert one == other == whole
    expected = tones(to_hz, passed)
    missing = len(expected) - len(one)
    assert 0 < missing <= 34 * max(1, to_hz / from_hz) + 1  # the samples that it holds back
    error = (np.array(one) - expected[: len(one)])[200:]
    assert np.square(error).mean() < 1e-6 * np.square(expected).mean()


def test_equal_rates_pass_through(run: Run) -> None:
    signal = [0.5, -0.25, 0.125]
    assert run("resample", signal=signal, rates=[24_000, 24_000], pieces=[2]) == [signal]


def test_the_network_loses_as_often_as_its_conditions_say(run: Run) -> None:
    count = 40_000
    random = run("network", conditions={"loss_percent": 10}, packets=count)
    assert len(random) == pytest.approx(0.9 * count, rel=0.01)
    bursts = run("network", conditions={"bursts_percent": 10, "burst_packets": 4}, packets=count)
    assert len(bursts) == pytest.approx(0.9 * count, rel=0.03)
    gaps = np.diff([label for label, *_ in bursts]) - 1
    assert gaps[gaps > 0].mean() == pytest.approx(4, rel=0.08)
    assert run("network", conditions={}, packets=50) == [[n, 0, 0] for n in range(50)]


def test_the_network_delays_and_damages(run: Run) -> None:
    conditions = {"jitter_ms": 5, "delay_ms": 30, "bit_errors_percent": 1}
    arrivals = np.array(run("network", conditions=conditions, packets=20_000))
    delays = arrivals[:, 1]
    assert delays.min() == pytest.approx(0.03, abs=1e-3)
    assert delays.mean() == pytest.approx(0.035, abs=5e-4)
    times = arrivals[:, 0] / 50 + delays
    assert (np.diff(times) >= 0).all()
    assert arrivals[:, 2].mean() == pytest.approx(1.28, rel=0.03)  # of the 128 bits of a packet


@pytest.mark.parametrize("place_ms", [0.0, 0.3, 0.9])
def test_times_below_the_resolution_of_the_clock_are_right(place_ms: float, run: Run) -> None:
    """The clock counts milliseconds, and the work always begins at the same place between two."""
    mean_ms = run("meter", work_ms=0.4, place_ms=place_ms, frames=20_000)
    assert mean_ms == pytest.approx(0.4, abs=0.06)
