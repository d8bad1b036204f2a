"""Pauses that a sender leaves out, and the noise that the receiver plays in them."""

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.live.endpoint import Endpoint
from chirrup.live.network import Network
from chirrup.live.pauses import Pauses
from chirrup.live.receiver import Receiver
from chirrup.live.sender import Sender

SPEECH, RATE_HZ = soundfile.read(f"{chirrup.__path__[0]}/clips/joe.flac", dtype="float32")
ADDRESS = ("192.0.2.1", 5004)
HEADER_BYTES, PAUSE_S, NOISE = 28, 6, 0.002


def call(
    model: str, signal: np.ndarray, talks: np.ndarray, *, vad: bool, conditions: str = "delay:20ms"
) -> tuple[Sender, Receiver, np.ndarray, np.ndarray]:
    """Send a signal in ticks of 10 ms, each with whether the key is pressed.

    Returns:
        The two ends, what is played and the bits on the line of each second.
    """
    codec = chirrup.load(model)
    pauses = Pauses(RATE_HZ, codec.sample_rate_hz) if vad else None
    sender = Sender(codec, codec.bitrates_bps[-1], 0, RATE_HZ, 7, pauses=pauses)
    receiver = Receiver(lambda description: codec)
    alice, bob = Endpoint(7, sender), Endpoint(9, receiver=receiver)
    network, played, bits = Network(conditions, 1), [], np.zeros(len(talks) // 100)
    play_s = 0.0
    for tick, talk in enumerate(talks):
        now_s = tick / 100
        datagrams = alice.push(signal[RATE_HZ * tick // 100 : RATE_HZ * (tick + 1) // 100], talk)
        datagrams += [alice.control(now_s) or b""] * (tick % 100 == 0)
        for datagram in datagrams:
            bits[tick // 100] += 8 * (len(datagram) + HEADER_BYTES)
            network.send(datagram, now_s)
        for arrival in network.receive(now_s):
            bob.receive(arrival.packet, ADDRESS, arrival.time_s)
        if tick % 100 == 50 and (report := bob.control(now_s)):
            alice.receive(report, ADDRESS, now_s)
        while now_s >= play_s:
            audio = receiver.pull(play_s)
            audio = np.zeros(codec.sample_rate_hz // 50, np.float32) if audio is None else audio
            played.append(audio)
            play_s += len(audio) / codec.sample_rate_hz
    return sender, receiver, np.concatenate(played), bits


def level_db(signal: np.ndarray) -> float:
    return 10 * np.log10(np.square(signal).mean() + 1e-12)


@pytest.mark.parametrize("conditions", ["delay:20ms", "delay:20ms+loss:10%"])
def test_silence_costs_next_to_nothing(conditions: str) -> None:
    """The pause has noise of the level of the room, and the speech around it is played."""
    speech = SPEECH[: 3 * RATE_HZ]
    room = np.random.default_rng(0).normal(0, NOISE, (6 + PAUSE_S) * RATE_HZ)
    signal = room.astype(np.float32)
    signal[: len(speech)] += speech
    signal[-len(speech) :] += speech
    talks = np.ones(100 * (6 + PAUSE_S), bool)
    sender, receiver, played, bits = call("iris-t1", signal, talks, vad=True, conditions=conditions)
    pause = slice(3 * RATE_HZ + RATE_HZ * 3 // 2, (2 + PAUSE_S) * RATE_HZ)
    assert bits[5 : 2 + PAUSE_S].mean() < 0.05 * bits[1]
    assert level_db(played[pause]) == pytest.approx(20 * np.log10(NOISE), abs=3)
    assert level_db(played[: 3 * RATE_HZ]) == pytest.approx(level_db(speech), abs=3)
    assert level_db(played[-2 * RATE_HZ :]) == pytest.approx(level_db(speech[RATE_HZ:]), abs=3)
    assert sender.statistics.left_out > 0.8 * 50 * PAUSE_S
    assert receiver.playout is not None
    count = receiver.playout.statistics
    share = count.lost / (count.lost + count.received)
    assert share == pytest.approx(0.1 if "loss" in conditions else 0.0, abs=0.05)
    assert count.restarts == 0


@pytest.mark.parametrize("model", ["iris-t1", "tq-small"])
def test_a_key_that_is_released(model: str) -> None:
    """Nothing is sent then, except reports. The end and the beginning of the talk are whole."""
    codec = chirrup.load(model)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(4 * RATE_HZ) / RATE_HZ).astype(np.float32)
    talks = np.ones(400, bool)
    talks[100:300] = False
    sender, receiver, played, bits = call(model, tone, talks, vad=False)
    packets = sender.statistics.packets + sender.statistics.left_out
    frames_s = codec.packet_frames / codec.frame_rate_hz
    assert packets == pytest.approx(4 / frames_s, rel=0.04)
    assert sender.statistics.left_out == pytest.approx(2 / frames_s, rel=0.05)
    assert bits[2] < 4000
    rate_hz = codec.sample_rate_hz
    assert receiver.codec is not None
    sound = np.square(played[: len(played) // 480 * 480].reshape(-1, 480)).mean(axis=1) > 1e-3
    assert sound.sum() * 480 / rate_hz >= 1.9
