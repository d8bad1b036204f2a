"""A long simulated call between clocks that are 100 ppm apart, as a table.

    python benchmarks/hour.py [MODEL] [--minutes 60] [--ppm 100 -100] [--network jitter:5ms+loss:2%]

Encoder, simulated network, jitter buffer and decoder run without a real clock. The signal repeats a
talk, a pause and a burst every 10 s. The delay is the time from the onset of a burst in the input,
on the sender's clock, to its onset in the output, on the receiver's clock, both compared with true
time.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import chirrup
from chirrup.files.conversion import read_mono
from chirrup.live.network import Network
from chirrup.live.playout import Playout, Statistics

CYCLE_S = 10.0
BURST_S = 9.0
"""Place of the burst in a cycle."""
LONGEST_S = 0.5
"""Time in which the burst has to come out."""
TALK = Path(chirrup.__file__).parent / "clips" / "joe.flac"


@dataclass
class Span:
    """A part of a call.

    Attributes:
        end_s: simulated time of its end.
        delays_ms: delay of each burst, and NaN for one that was lost.
        depths_ms: depth of the jitter buffer at each tick.
        most_waiting: most packets in the jitter buffer.
        statistics: the counts since the beginning.
    """

    end_s: float = 0.0
    delays_ms: list[float] = field(default_factory=list)
    depths_ms: list[float] = field(default_factory=list)
    most_waiting: int = 0
    statistics: Statistics = field(default_factory=Statistics)


def cycle(rate_hz: int) -> np.ndarray:
    """Return the signal of a cycle, ``float32 [samples]``: a talk, a pause and a burst."""
    random = np.random.default_rng(0)
    signal = random.normal(0, 1e-4, round(CYCLE_S * rate_hz)).astype(np.float32)
    talk = read_mono(TALK, rate_hz)[0][: round(8 * rate_hz)]
    signal[: len(talk)] += talk
    burst = 0.3 * np.sin(2 * np.pi * 500 / rate_hz * np.arange(round(0.1 * rate_hz)))
    signal[round(BURST_S * rate_hz) :][: len(burst)] += burst.astype(np.float32)
    return signal


class Ear:
    """The receiver's end, which measures when the bursts come out."""

    def __init__(self, rate_hz: int, drift: float) -> None:
        self.rate_hz, self.drift = rate_hz, drift
        self.next_s, self.number = BURST_S, 0
        self.heard: list[np.ndarray] = []

    def push(self, audio: np.ndarray, now_s: float) -> float | None:
        """Take the audio that begins at ``now_s``; return the delay of a burst in ms."""
        sent_s = self.next_s * (1 + self.drift)
        if now_s + len(audio) / self.rate_hz <= sent_s:
            return None
        if not self.heard:
            self.start_s = now_s
        self.heard.append(audio)
        if now_s < sent_s + LONGEST_S:
            return None
        level = np.abs(np.concatenate(self.heard))
        self.heard = []
        self.next_s += CYCLE_S
        if level.max() < 0.1:
            return np.nan
        onset_s = self.start_s + int(np.argmax(level > level.max() / 4)) / self.rate_hz
        return 1000 * (onset_s - sent_s)


def call(
    codec: chirrup.Codec, conditions: str, ppm: float, seconds: float, span_s: float
) -> Iterator[Span]:
    """Simulate a call, and yield each part of ``span_s``.

    Args:
        ppm: the sender's samples are longer by so much.
    """
    samples, drift = codec.packet_frames * codec.frame_samples, ppm * 1e-6
    rate_hz = codec.sample_rate_hz
    period_s = samples / rate_hz
    signal = cycle(rate_hz)
    encoder, network = codec.encoder(), Network(conditions, seed=1)
    playout, ear = Playout(codec.decoder()), Ear(rate_hz, drift)
    span, place, now_s = Span(), 0, 0.0
    for tick in range(1, round(seconds / period_s) + 1):
        now_s = tick * period_s
        while (complete_s := (place + samples) / rate_hz * (1 + drift)) <= now_s:
            for packet in encoder.push(signal[(place + np.arange(samples)) % len(signal)]):
                network.send(packet, complete_s)
            place += samples
        for arrival in network.receive(now_s):
            timestamp = arrival.number * samples & 0xFFFFFFFF
            sequence = arrival.number & 0xFFFF
            playout.push(sequence, timestamp, arrival.packet, arrival.time_s)
        audio = playout.pull(now_s)
        if (delay_ms := ear.push(audio, now_s)) is not None:
            span.delays_ms.append(delay_ms)
        span.depths_ms.append(playout.buffer.statistics.depth_ms)
        span.most_waiting = max(span.most_waiting, len(playout.buffer._waiting))
        if now_s >= span.end_s + span_s - 1e-6:
            span.end_s, span.statistics = now_s, playout.statistics
            yield span
            span = Span(now_s)


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="Name or folder of a model.")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--ppm", type=float, nargs="+", default=[100, -100])
    parser.add_argument("--network", default="jitter:5ms+loss:2%")
    given = parser.parse_args()
    codec = chirrup.load(given.model) if given.model else chirrup.load()
    print(
        "| clocks, ppm | minutes | delay, ms: median | least | most | depth, ms: mean | most "
        "packets in the buffer | late | inserted | removed | memory, MB |"
    )
    print("|---" * 11 + "|")
    for ppm in given.ppm:
        before = Statistics()
        span_s = 10 * min(given.minutes, 60)
        for span in call(codec, given.network, ppm, 60 * given.minutes, span_s):
            delays, count = np.array(span.delays_ms), span.statistics
            known = delays[~np.isnan(delays)]
            print(
                f"| {ppm:+g} | {span.end_s / 60:.0f} | {np.median(known):.0f} | {known.min():.0f} "
                f"| {known.max():.0f} | {np.mean(span.depths_ms):.1f} | {span.most_waiting} "
                f"| {count.late - before.late} | {count.inserted - before.inserted} "
                f"| {count.removed - before.removed} | {resident_mb():.1f} |",
                flush=True,
            )
            before = count


if __name__ == "__main__":
    main()
