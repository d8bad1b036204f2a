"""Scores against lost packets and wrong bits, at equal total bits, beside Opus and Codec2.

    python benchmarks/loss.py MODEL --clips CORPUS/speech_test --out runs/loss
    python benchmarks/loss.py MODEL --clips CORPUS/speech_train/ljspeech__* -m wer --out runs/loss
    python benchmarks/loss.py --out runs/loss --plots FOLDER  # only tables and plots

The scores are written to results.jsonl in the folder `--out`, as those of `chirrup evaluate`. If a
run is stopped, it continues. The name of the clip seeds the network, so that all codecs with the
same packets a second lose the same packets.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import argparse
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np

import chirrup
from chirrup.evaluate import alignment
from chirrup.evaluate.clips import audio_files, name_of, read_clip, speaker
from chirrup.evaluate.conditions import Condition, parse
from chirrup.evaluate.metrics import METRICS, score
from chirrup.evaluate.peers import PeerError
from chirrup.evaluate.peers.peer import resampled
from chirrup.evaluate.results import RESULTS, Results, Row
from chirrup.evaluate.run import Settings, describe_run
from chirrup.evaluate.statistics import Interval, paired
from chirrup.evaluate.tables import cell, lines
from chirrup.live.network import Network, NetworkConditions
from links import BareLink, Codec2Link, Link, ModelLink, OpusLink
from loss_plots import draw
from shared import console, table

LOSSES = [
    "clean",
    *(f"loss:{share}%" for share in (1, 3, 5, 10, 20, 30)),
    *(f"bursts:{share}%,3" for share in (3, 10, 20, 30)),
]
BIT_ERRORS = ["clean", *(f"bit-errors:{share}%" for share in (0.1, 0.5, 1, 2, 3, 5))]
TOTALS_BPS = (1000, 3000, 6000, 9000)
COPIES = (0, 1, 2, 4, 6)
OPUS_BPS, CODEC2_BPS = (6000, 9000, 20_000), (1200, 3200)
BARE_BPS = (1000, 3000)
RATE_HZ = 24_000


@dataclass(frozen=True)
class Plan:
    """Links, and the conditions under which they run."""

    links: tuple[Link, ...]
    conditions: tuple[Condition, ...]


def splits(
    codec: chirrup.Codec, totals_bps: Iterable[int], copies: Iterable[int]
) -> list[tuple[int, int]]:
    """Return the total bitrates and numbers of repeated codebooks that the codec supports."""
    return [
        (total_bps, count)
        for total_bps, count in product(totals_bps, copies)
        if (payload_bps := total_bps - count * codec.bitrates_bps[0]) in codec.bitrates_bps
        and count <= codec.codebooks_at(payload_bps)
    ]


def plans(
    models: Sequence[str],
    losses: Sequence[str],
    errors: Sequence[str],
    totals_bps: Sequence[int],
    copies: Sequence[int],
) -> list[Plan]:
    """Return the comparisons: packets of the first model that get lost, and frames with wrong bits.

    Opus and Codec2 are left out if they are not installed.
    """
    codecs = {(name if name in chirrup.models() else Path(name).name): name for name in models}
    loaded = {name: chirrup.load(model) for name, model in codecs.items()}
    first, codec = next(iter(loaded.items()))
    packets: list[Link] = [
        ModelLink(codec, first, total_bps, count)
        for total_bps, count in splits(codec, totals_bps, copies)
    ]
    frames: list[Link] = [
        BareLink(codec, name, rate_bps)
        for name, codec in loaded.items()
        for rate_bps in BARE_BPS
        if rate_bps in totals_bps
    ]
    peers: list[Link] = []
    try:
        packets += [OpusLink(rate_bps) for rate_bps in OPUS_BPS if max(totals_bps) >= 6000]
        peers = [Codec2Link(rate_bps) for rate_bps in CODEC2_BPS]
    except PeerError as lack:
        console.print(f"left out: {lack}")
    return [
        Plan((*packets, *peers), tuple(map(parse, losses))),
        Plan((*frames, *peers), tuple(map(parse, errors))),
    ]


def lost_share(network: NetworkConditions) -> float:
    """Return the share of packets that a network loses."""
    return sum(values[0] / 100 for kind, values in network.effects if kind in ("loss", "bursts"))


@lru_cache(64)
def read(path: Path, seconds: float, rate_hz: int) -> np.ndarray:
    """Read the first seconds of a clip, mono."""
    return read_clip(path, rate_hz, mono=True)[0][0][: round(seconds * rate_hz)]


@lru_cache(64)
def encoded(link: Link, audio: bytes, loss: float) -> list[bytes]:
    return link.encode(np.frombuffer(audio, np.float32), loss)


def through(
    link: Link, audio: np.ndarray, network: NetworkConditions, seed: int
) -> tuple[np.ndarray, int]:
    """Send a signal over a network.

    Returns:
        The decoded signal, its delay not removed, and the bits that were sent.
    """
    packets = encoded(link, audio.tobytes(), lost_share(network) if link.prepares else 0.0)
    sent = Network(network, seed)
    arrived: list[bytes | None] = [None] * len(packets)
    for number, packet in enumerate(packets):
        sent.send(packet, number * link.period_s)
    for arrival in sent.receive():
        arrived[arrival.number] = arrival.packet
    return link.decode(arrived), link.bits(packets)


def delay_of(link: Link, clips: Sequence[Path], seconds: float) -> int:
    """Return the delay of a link in samples. All its clips and conditions share it."""
    if link.delay_samples is not None:
        return link.delay_samples
    found = []
    for clip in clips:
        audio = read(clip, seconds, link.sample_rate_hz)
        decoded, _ = through(link, audio, NetworkConditions(), 0)
        found.append(alignment.correlations(audio[None], decoded[None], link.sample_rate_hz))
    return alignment.best_delay(found)


def measure(
    link: Link,
    condition: Condition,
    clip: Path,
    metrics: Sequence[str],
    *,
    seconds: float,
    draws: int,
    delay: int,
) -> Row:
    """Score one clip. The scores are means over the draws of the network."""
    audio, native = read(clip, seconds, RATE_HZ), read(clip, seconds, link.sample_rate_hz)
    found: dict[str, list[float | None]] = {name: [] for name in metrics}
    bits = 0
    for number in range(draws if condition.network.name else 1):
        seed = zlib.crc32(f"{name_of(clip)}/{number}".encode())
        decoded, bits = through(link, native, condition.network, seed)
        aligned = alignment.moved(decoded[None], delay, len(native))
        same_rate = resampled(aligned, link.sample_rate_hz, RATE_HZ)
        same_rate = alignment.moved(same_rate, 0, len(audio))[0]
        for name, values in found.items():
            values.append(score(name, audio, same_rate, RATE_HZ))
    known = {name: [v for v in values if v is not None] for name, values in found.items()}
    return Row(
        codec=link.name,
        label=link.label,
        ours=link.ours,
        version=link.version,
        bitrate_bps=link.bitrate_bps,
        condition=condition.name,
        clip=name_of(clip),
        speaker=speaker(clip),
        seconds=len(audio) / RATE_HZ,
        bits=bits,
        encode_seconds=0.0,
        decode_seconds=0.0,
        delay_ms=1000 * delay / link.sample_rate_hz,
        scores={name: float(np.mean(values)) if values else None for name, values in known.items()},
    )


def measure_all(
    plans: Sequence[Plan],
    clips: Sequence[Path],
    metrics: Sequence[str],
    path: Path,
    *,
    seconds: float,
    draws: int,
) -> None:
    """Score what ``path`` does not have yet, and add it."""
    results = Results.read(path) if path.exists() else Results({}, [])
    rows = {(row.version, row.system, row.condition, row.clip): row for row in results.rows}
    every = [c for plan in plans for c in plan.conditions]
    systems = Settings(tuple(clips), (), tuple(dict.fromkeys(every)), tuple(metrics))
    run = {**describe_run(systems), "seconds": seconds, "draws": draws}
    for plan in plans:
        for link in plan.links:
            delay = None
            for condition in plan.conditions:
                changed = False
                for clip in clips:
                    name = f"{link.name}-{link.bitrate_bps}"
                    key = (link.version, name, condition.name, name_of(clip))
                    old = rows.get(key)
                    wanted = [m for m in metrics if old is None or m not in old.scores]
                    if not wanted:
                        continue
                    if delay is None:
                        delay = delay_of(link, clips, seconds)
                    row = measure(
                        link, condition, clip, wanted, seconds=seconds, draws=draws, delay=delay
                    )
                    row.scores.update(old.scores if old else {})
                    rows[key], changed = row, True
                if changed:
                    Results(run, list(rows.values())).write(path)
                    console.print(f"{link.label} {link.bitrate_bps} {condition.name}", style="dim")


# --- tables --------------------------------------------------------------------------------------


def report(results: Results, metrics: Sequence[str]) -> None:
    """Print a table of each metric: a row a system, a column a condition."""
    rows = results.rows
    conditions = list(dict.fromkeys(row.condition for row in rows))
    for effect in ("loss", "bursts", "bit-errors"):
        columns = [name for name in conditions if name == "clean" or name.startswith(effect)]
        if len(columns) < 2:
            continue
        wanted = {row.system for row in rows if row.condition == columns[1]}
        for name in metrics:
            cells: dict[str, dict[str, str]] = {}
            kbps: dict[str, float] = {}
            for condition in columns:
                part = [r for r in rows if r.condition == condition and r.system in wanted]
                for line in lines([r for r in part if name in r.scores], [name]):
                    shown = cell(line.cells[name], METRICS[name])
                    cells.setdefault(line.title, {})[condition] = shown
                    kbps.setdefault(line.title, line.kbps)
            title = f"{METRICS[name].label}, {effect}"
            shown = table(title, "codec", "kbit/s", *columns)
            for system, by in sorted(cells.items(), key=lambda item: kbps[item[0]]):
                values = [by.get(condition, "") for condition in columns]
                shown.add_row(system, f"{kbps[system]:.2f}", *values)
            if cells:
                console.print(shown)
    console.print(changes(results, metrics))


def change(rows: Sequence[Row], system: str, condition: str, metric: str) -> Interval | None:
    """Return the change of a score from no loss to a condition, clip by clip."""
    scored = [row for row in rows if row.system == system and metric in row.scores]
    clean = {row.clip: row for row in scored if row.condition == "clean"}
    there = [row for row in scored if row.condition == condition and row.clip in clean]
    return paired(
        [row.scores[metric] for row in there],
        [clean[row.clip].scores[metric] for row in there],
        [row.speaker for row in there],
    )


def changes(results: Results, metrics: Sequence[str]) -> object:
    """Return a table of the changes from no loss, with their intervals."""
    shown = table("Change from no loss", "codec", "condition", *(METRICS[m].label for m in metrics))
    rows = results.rows
    for system, title, condition in dict.fromkeys((r.system, r.title, r.condition) for r in rows):
        if condition != "clean":
            found = [change(rows, system, condition, name) for name in metrics]
            cells = [cell(value, METRICS[m]) for m, value in zip(metrics, found, strict=True)]
            shown.add_row(title, condition, *cells)
    return shown


def one_a_speaker(paths: Iterable[Path], count: int) -> list[Path]:
    """Return ``count`` clips of as many speakers as possible."""
    turns: dict[str, int] = {}
    order = []
    for path in sorted(paths):
        name = speaker(path)
        turns[name] = turns.get(name, 0) + 1
        order.append((turns[name], path))
    return [path for _, path in sorted(order)][:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("models", nargs="*", help="Models. Only the first sends packets.")
    parser.add_argument("--clips", type=Path, nargs="+", help="Audio files, or folders of them.")
    parser.add_argument("--count", type=int, default=16, help="Use this many clips.")
    parser.add_argument("--seconds", type=float, default=5.0, help="Use the first seconds.")
    parser.add_argument("--draws", type=int, default=1, help="Draws of the network for a clip.")
    parser.add_argument("-m", "--metrics", nargs="+", default=["pesq_wb", "estoi", "distillmos"])
    parser.add_argument("--losses", nargs="*", default=LOSSES, help="Conditions for packets.")
    parser.add_argument("--errors", nargs="*", default=BIT_ERRORS, help="Conditions for frames.")
    parser.add_argument("--totals", type=int, nargs="+", default=TOTALS_BPS, help="In bit/s.")
    parser.add_argument("--copies", type=int, nargs="+", default=COPIES, help="Codebooks.")
    parser.add_argument("--out", type=Path, default=Path("runs/loss"))
    parser.add_argument("--plots", type=Path, help="Folder for the plots.")
    given = parser.parse_args()
    path = given.out / RESULTS
    if given.clips:
        files = [f for p in given.clips for f in (audio_files(p) if p.is_dir() else (p,))]
        given.out.mkdir(parents=True, exist_ok=True)
        measure_all(
            plans(given.models, given.losses, given.errors, given.totals, given.copies),
            one_a_speaker(files, given.count),
            given.metrics,
            path,
            seconds=given.seconds,
            draws=given.draws,
        )
    results = Results.read(path)
    scored = [name for name in METRICS if any(name in row.scores for row in results.rows)]
    report(results, scored)
    if given.plots:
        for plot in draw(results, scored, given.plots):
            console.print(f"plot: {plot}")


if __name__ == "__main__":
    main()
