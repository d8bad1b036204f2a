"""Playout with real models: network, jitter buffer and decoder, from packets to audio."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.live.jitter import PATIENCE_S
from chirrup.live.network import Network
from chirrup.live.playout import Playout
from clicks import roughness
from small_model import speech_like

SPEECH, RATE_HZ = soundfile.read(f"{chirrup.__path__[0]}/clips/joe.flac", dtype="float32")


@dataclass
class Heard:
    """The audio of each tick, and whether the tick is the one of a packet after a packet."""

    playout: Playout
    ticks: list[np.ndarray]
    regular: list[bool]


def heard(
    codec: chirrup.Codec,
    packets: list[bytes],
    conditions: str,
    *,
    drift: float = 0.0,
    note: Callable[[Playout], None] = lambda playout: None,
) -> Heard:
    """Send packets over a network, and play them in ticks of the audio's length."""
    samples = codec.packet_frames * codec.frame_samples
    period_s = samples / codec.sample_rate_hz
    network, playout, now_s = Network(conditions, 1), Playout(codec.decoder()), 0.0
    for number, packet in enumerate(packets):
        network.send(packet, (number + 1) * period_s * (1 + drift))
    result = Heard(playout, [], [])
    while now_s < (len(packets) + 20) * period_s * (1 + drift):
        for arrival in network.receive(now_s):
            place = arrival.number * samples
            playout.push(arrival.number, place, arrival.packet, arrival.time_s)
        before = playout.statistics
        audio = playout.pull(now_s)
        after = playout.statistics
        result.ticks.append(audio)
        result.regular.append((after.played, after.removed) == (before.played + 1, before.removed))
        note(playout)
        now_s += audio.shape[-1] / codec.sample_rate_hz
    return result


@pytest.mark.parametrize("model", ["iris-t1", "lrac-t1"])
@pytest.mark.parametrize("conditions", ["loss:10%", "loss:10%+jitter:20ms+reorder+duplicate"])
def test_speech_over_a_bad_network(model: str, conditions: str) -> None:
    """The audio is finite, as long as its ticks, of the right level, and without clicks.

    A seam is a click if its curvature is 1.5 times the curvature of the audio within 10 ms of it.
    """
    codec = chirrup.load(model)
    encoder = codec.encoder(6000, redundancy=1)
    packets = encoder.push(SPEECH) + encoder.flush()
    result = heard(codec, packets, conditions)
    audio = np.concatenate(result.ticks)
    assert np.isfinite(audio).all()
    assert audio.dtype == np.float32
    assert {tick.shape for tick in result.ticks} == {(codec.frame_samples,)}
    level_db = 10 * np.log10(np.square(audio).sum() / np.square(SPEECH).sum())
    assert abs(level_db) < 3
    count = result.playout.statistics
    assert count.lost == pytest.approx(0.1 * len(packets), rel=0.3)
    assert count.recovered == pytest.approx(0.9 * count.lost, rel=0.1)
    irregular = ~(np.array(result.regular[1:]) & np.array(result.regular[:-1]))
    assert irregular.sum() > 1.5 * count.lost
    assert roughness(result.ticks, RATE_HZ)[irregular].max() < 1.5
    silenced = [tick * regular for tick, regular in zip(result.ticks, result.regular, strict=True)]
    assert roughness(silenced, RATE_HZ)[irregular].max() > 10, "the criterion finds clicks"


def test_damaged_packets_are_counted_and_concealed() -> None:
    codec = chirrup.load("lrac-t1")
    encoder = codec.encoder(1000, redundancy=1)
    packets = encoder.push(SPEECH[: 2 * RATE_HZ]) + encoder.flush()
    result = heard(codec, packets, "bit-errors:2%+loss:5%")
    count = result.playout.statistics
    assert count.malformed > 20
    audio = np.concatenate(result.ticks)
    assert np.isfinite(audio).all()
    assert np.abs(audio).max() < 3


def test_nothing_is_heard_before_the_first_packet() -> None:
    codec = chirrup.load("iris-t1")
    playout = Playout(codec.decoder())
    for tick in range(10):
        assert not playout.pull(0.02 * tick).any()
    packet = codec.encoder(6000).push(SPEECH[RATE_HZ : 2 * RATE_HZ])[20]
    playout.push(7, 0, packet, 0.2)
    assert playout.pull(0.25).any()


@pytest.mark.parametrize(
    ("model", "shape"), [("focal-small", (1920,)), ("spectro-small", (2, 1920))]
)
def test_chunks_and_channels_keep_their_shape(model: str, shape: tuple[int, ...]) -> None:
    codec = chirrup.load(model)
    audio = np.stack([speech_like(codec.input_rate_hz)] * codec.channels)
    encoder = codec.encoder()
    packets = encoder.push(audio[0] if codec.channels == 1 else audio) + encoder.flush()
    result = heard(codec, packets, "loss:20%+jitter:30ms")
    assert {tick.shape for tick in result.ticks} == {shape}
    assert result.playout.statistics.played >= 0.6 * len(packets)


def test_drift_is_corrected_in_quiet_moments() -> None:
    """Speech of 0.6 s, and silence of 0.4 s. The clocks are 1 % apart."""
    codec = chirrup.load("iris-t1")
    loud = speech_like(20 * RATE_HZ) * (np.arange(20 * RATE_HZ) % RATE_HZ < 0.6 * RATE_HZ)
    encoder = codec.encoder(1000)
    packets = encoder.push(loud.astype(np.float32)) + encoder.flush()
    assert PATIENCE_S > 0.6
    for drift in (-0.01, 0.01):
        changed, quiet = [0], [True]

        def note(playout: Playout, changed: list[int] = changed, quiet: list[bool] = quiet) -> None:
            count = playout.statistics
            changed.append(count.removed + count.inserted)
            quiet.append(playout._quiet)

        result = heard(codec, packets, "delay:20ms", drift=drift, note=note)
        count = result.playout.statistics
        assert (count.removed, count.inserted)[drift > 0] == pytest.approx(10, abs=2)
        assert count.late == 0
        steps = np.flatnonzero(np.diff(changed))
        assert np.mean([quiet[step] for step in steps]) > 0.9
