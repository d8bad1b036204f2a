"""Delay from mouth to ear on loopback, measured with real clocks, as tables.

    python benchmarks/delay.py [MODEL] [--seconds 20] [--runs 3] [--bitrate 1000 3000 6000]
    python benchmarks/delay.py [MODEL] --pipe

Two threads talk over UDP on loopback: the first reads a paced input and encodes, the second has the
jitter buffer and the decoder, and a paced output that takes a packet's audio at each tick. The
input has bursts at random places; a burst's delay is the time between its onset at the input and at
the output. Buffers of sound devices are not part of it.

With ``--pipe``, bursts pass ``chirrup encode --chunk 60 | chirrup decode`` at the pace of their
samples.
"""

import argparse
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import numpy as np

import chirrup
from chirrup.live.network import Network
from chirrup.live.playout import Playout
from chirrup.stream import Encoder

NETWORKS = ("delay:0ms", "jitter:10ms+loss:2%")
HEADER = struct.Struct(">HI")
CHUNK_MS = 60
WARM_S = 2.0
"""Beginning of a run without bursts, in which engines are opened and the depth settles."""


def bursts(seconds: float, rate_hz: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a signal ``float32 [samples]`` of bursts of 40 ms, and their places in samples."""
    random = np.random.default_rng(seed)
    signal = random.normal(0, 1e-4, round(seconds * rate_hz)).astype(np.float32)
    burst = 0.3 * np.sin(2 * np.pi * 500 / rate_hz * np.arange(round(0.04 * rate_hz)))
    starts_s = np.arange(WARM_S, seconds - 1, 0.5)
    places = ((starts_s + random.uniform(0, 0.2, len(starts_s))) * rate_hz).astype(int)
    for place in places:
        signal[place : place + len(burst)] += burst.astype(np.float32)
    return signal, places


def onset(audio: np.ndarray) -> int | None:
    """Return the place of the first sample of a burst, or None if there is none."""
    level = np.abs(audio)
    return int(np.argmax(level > level.max() / 4)) if level.max(initial=0) > 0.05 else None


def sleep_until(time_s: float) -> None:
    time.sleep(max(0.0, time_s - time.monotonic()))


@dataclass
class Measured:
    """The delay of each burst, and the time of processing of each packet and each tick, in ms."""

    delays_ms: list[float] = field(default_factory=list)
    sending_ms: list[float] = field(default_factory=list)
    playing_ms: list[float] = field(default_factory=list)
    lost: int = 0


def send(encoder: Encoder, signal: np.ndarray, start_s: float, port: int, done: Measured) -> None:
    """Encode a signal at its pace. A sample can be read when its packet's audio is complete."""
    samples = encoder.frames_per_packet * encoder.spec.input_frame_samples
    step = encoder.frames_per_packet * encoder.spec.frame_samples
    number = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        for end in range(samples, len(signal) + 1, samples):
            due_s = start_s + end / encoder.spec.input_rate_hz
            sleep_until(due_s)
            for packet in encoder.push(signal[end - samples : end]):
                header = HEADER.pack(number & 0xFFFF, number * step & 0xFFFFFFFF)
                link.sendto(header + packet, ("127.0.0.1", port))
                number += 1
            done.sending_ms.append(1000 * (time.monotonic() - due_s))


def talk(
    codec: chirrup.Codec, bitrate_bps: int, conditions: str, seconds: float, seed: int
) -> Measured:
    """Send bursts over loopback, and measure them at the other end."""
    rate_hz, done = codec.sample_rate_hz, Measured()
    signal, places = bursts(seconds, codec.input_rate_hz, seed)
    encoder, playout = codec.encoder(bitrate_bps), Playout(codec.decoder())
    network = Network(conditions, seed)
    audio, times_s = [], []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.0.0.1", 0))
        link.setblocking(False)
        start_s = time.monotonic() + 0.1
        arguments = encoder, signal, start_s, link.getsockname()[1], done
        sender = threading.Thread(target=send, args=arguments)
        sender.start()
        tick_s = start_s + np.random.default_rng(seed).uniform(0, 0.02)
        while tick_s < start_s + seconds:
            wait(link, network, playout, tick_s)
            audio.append(playout.pull(tick_s))
            times_s.append(time.monotonic())
            done.playing_ms.append(1000 * (times_s[-1] - tick_s))
            tick_s += audio[-1].shape[-1] / rate_hz
        sender.join()
    whole = np.concatenate(audio)
    step = len(audio[0])
    for place in places:
        mouth_s = start_s + place / codec.input_rate_hz
        begin = max(0, int((mouth_s - times_s[0]) * rate_hz) - step)
        found = onset(whole[begin : begin + round(0.4 * rate_hz)])
        if found is None:
            done.lost += 1
            continue
        tick, offset = divmod(begin + found, step)
        ear_s = times_s[tick] + offset / rate_hz
        done.delays_ms.append(1000 * (ear_s - mouth_s))
    return done


def wait(link: socket.socket, network: Network, playout: Playout, until_s: float) -> None:
    """Take the datagrams that arrive up to a time."""
    while True:
        left_s = until_s - time.monotonic()
        ready = select.select([link], [], [], max(0.0, left_s))[0]
        if ready:
            network.send(link.recv(2048), time.monotonic())
        if left_s <= 0 and not ready:
            break
    for arrival in network.receive(until_s):
        sequence, timestamp = HEADER.unpack_from(arrival.packet)
        playout.push(sequence, timestamp, arrival.packet[HEADER.size :], arrival.time_s)


def onset_shift_ms(codec: chirrup.Codec, bitrate_bps: int) -> float:
    """Return how much later than in the input the bursts begin in a decoded signal, as a median.

    The codec makes onsets softer."""
    signal, places = bursts(20, codec.input_rate_hz, 0)
    audio = codec.decode(codec.encode(signal, bitrate_bps))
    rate_hz, shifts_ms = codec.sample_rate_hz, []
    for place in places * rate_hz // codec.input_rate_hz:
        begin = place - rate_hz // 100
        found = onset(audio[begin : place + rate_hz // 5])
        if found is not None:
            shifts_ms.append(1000 * (begin + found - place) / rate_hz)
    return float(np.median(shifts_ms))


def print_talks(codec: chirrup.Codec, bitrates_bps: list[int], seconds: float, runs: int) -> None:
    framing_ms = 1000 * codec.packet_frames * codec.frame_samples / codec.sample_rate_hz
    model_ms = 1000 * codec.delay_samples / codec.sample_rate_hz
    print(
        "| kbit/s | network | delay, ms: median | 90 % | framing | model | softer onset | encoding "
        "| decoding | buffer and network | bursts | lost |\n" + "|---" * 12 + "|"
    )
    for bitrate_bps in bitrates_bps:
        onset_ms = onset_shift_ms(codec, bitrate_bps)
        for conditions in NETWORKS:
            done = [talk(codec, bitrate_bps, conditions, seconds, seed) for seed in range(runs)]
            delays_ms = np.concatenate([one.delays_ms for one in done])
            total_ms = float(np.median(delays_ms))
            sending_ms = float(np.median(np.concatenate([one.sending_ms for one in done])))
            playing_ms = float(np.median(np.concatenate([one.playing_ms for one in done])))
            rest_ms = total_ms - framing_ms - model_ms - onset_ms - sending_ms - playing_ms
            print(
                f"| {bitrate_bps / 1000:g} | {conditions} | {total_ms:.0f} "
                f"| {np.quantile(delays_ms, 0.9):.0f} | {framing_ms:.0f} | {model_ms:.0f} "
                f"| {onset_ms:.0f} | {sending_ms:.1f} | {playing_ms:.1f} | {rest_ms:.0f} "
                f"| {len(delays_ms)} | {sum(one.lost for one in done)} |",
                flush=True,
            )


def print_pipe(codec: chirrup.Codec, seconds: float) -> None:
    """Print when the samples of bursts leave a pipe of two commands, at the pace of the input."""
    rate_hz, chunk = codec.input_rate_hz, round(CHUNK_MS / 1000 * codec.input_rate_hz)
    signal = np.random.default_rng(0).normal(0, 1e-4, round(seconds * rate_hz))
    starts = np.arange(8 * chunk, len(signal) - 20 * chunk, 8 * chunk)
    places = starts + np.arange(len(starts)) * (rate_hz // 100) % chunk  # all places of a chunk
    burst = 0.3 * np.sin(2 * np.pi * 500 / rate_hz * np.arange(round(0.04 * rate_hz)))
    for place in places:
        signal[place : place + len(burst)] += burst
    data = np.rint(signal * 32767).astype("<i2").tobytes()
    program = [sys.executable, "-m", "chirrup"]
    encode = [*program, "encode", "-", "-", "--raw", f"s16@{rate_hz}", "--chunk", str(CHUNK_MS)]
    encoder = subprocess.Popen(
        [*encode, "--model", codec.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    decode = [*program, "decode", "-", "-", "--raw"]
    decoder = subprocess.Popen(decode, stdin=encoder.stdout, stdout=subprocess.PIPE)
    assert encoder.stdin
    assert encoder.stdout
    assert decoder.stdout
    encoder.stdout.close()
    start_s, piece = time.monotonic(), 2 * (rate_hz // 100)

    def feed() -> None:
        assert encoder.stdin
        for end in range(piece, len(data) + 1, piece):
            sleep_until(start_s + end / 2 / rate_hz)
            encoder.stdin.write(data[end - piece : end])
            encoder.stdin.flush()
        encoder.stdin.close()

    feeder = threading.Thread(target=feed)
    feeder.start()
    read, arrivals = bytearray(), []
    while part := os.read(decoder.stdout.fileno(), 65_536):
        read += part
        arrivals.append((len(read) // 2, time.monotonic()))
    feeder.join()
    sizes = np.array([size for size, _ in arrivals])
    times_s = np.array([time_s for _, time_s in arrivals])
    audio = np.frombuffer(bytes(read), "<i2").astype(np.float32) / 32768
    by_place: dict[int, list[float]] = {}
    for place in places[places > WARM_S * rate_hz]:
        found = onset(audio[place - piece : place + chunk])
        if found is not None:
            left_s = times_s[np.searchsorted(sizes, place - piece + found, side="right")]
            delay_ms = 1000 * (left_s - start_s - place / rate_hz)
            by_place.setdefault(int(place % chunk * 1000 / rate_hz), []).append(delay_ms)
    print("| place in the chunk, ms | delay, ms: median | least | most |\n|---|---|---|---|")
    for place_ms, delays_ms in sorted(by_place.items()):
        print(
            f"| {place_ms} | {np.median(delays_ms):.0f} | {min(delays_ms):.0f} "
            f"| {max(delays_ms):.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="Name or folder of a model.")
    parser.add_argument("--bitrate", type=int, nargs="+", default=[1000, 3000, 6000])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--pipe", action="store_true", help="Measure encode --chunk and decode.")
    given = parser.parse_args()
    codec = chirrup.load(given.model) if given.model else chirrup.load()
    if given.pipe:
        print_pipe(codec, given.seconds)
    else:
        print_talks(codec, given.bitrate, given.seconds, given.runs)


if __name__ == "__main__":
    main()
