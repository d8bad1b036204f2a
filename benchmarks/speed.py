"""Measure speed, memory and start-up of a model on one core, with PyTorch and the machine's limits.

README.md in this folder explains the tables. The script needs Linux.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import copy
import importlib.metadata
import importlib.util
import itertools
import re
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from rich.table import Table

import chirrup
from chirrup.evaluate.peers import PEERS, CommandPeer, ModelPeer, Peer
from chirrup.evaluate.peers.lyra import FRAME_SAMPLES, QUANTIZERS, Lyra2, Networks
from chirrup.runtime.engine import Engine
from chirrup.runtime.graph import Graph
from processes import memory, start_up
from shared import console, machine, speech_like, table

RATE, WARM_UP = 24_000, 20
Row = tuple[Callable[[np.ndarray], Any], Callable[[Any], Any]]
"""Functions that encode and decode the next frame of a stream."""


def engines(encoder: Engine, decoder: Engine) -> Row:
    state = {"encoder": encoder.initial_state(), "decoder": decoder.initial_state()}

    def encode(pcm: np.ndarray) -> np.ndarray:
        codes, state["encoder"] = encoder(pcm[None, None], state["encoder"])
        return codes

    def decode(codes: np.ndarray) -> np.ndarray:
        audio, state["decoder"] = decoder(codes, state["decoder"])
        return audio

    return encode, decode


def dynamic(graph: Graph) -> Graph:
    """Return a copy of the graph that computes single frames with the form for any length."""
    other = copy.copy(graph)
    other.frame = graph.block
    return other


def lyra(frames: int) -> Row:
    """Return Lyra v2 at 6000 bit/s, which codes frames of 20 ms of a signal of its own."""
    folder = Lyra2().folder
    assert folder is not None
    networks, rate = Networks(folder), 6000
    signal = speech_like(frames, FRAME_SAMPLES).reshape(-1, 1, 1, FRAME_SAMPLES)
    pieces = itertools.cycle(signal)
    return (lambda _: networks.encode(next(pieces), QUANTIZERS[rate])), networks.decode


def live(codec: chirrup.Codec) -> Row:
    encoder, decoder = codec.encoder(codec.bitrates_bps[-1]), codec.decoder()
    return (lambda pcm: encoder.push(pcm)[0]), decoder.push


def take_turns(rows: dict[str, Row], frames: int, size: int) -> dict[str, np.ndarray]:
    """Run all rows frame by frame, in a random order for each frame.

    Returns:
        Milliseconds ``[frames, encode | decode | both, CPU | wall]`` of each row.
    """
    rng = np.random.default_rng(0)
    signal = speech_like(frames + WARM_UP, size).reshape(-1, size)
    spent = {name: np.zeros((WARM_UP + frames, 3, 2)) for name in rows}
    for index, pcm in enumerate(signal):
        for name in rng.permutation(list(rows)):
            encode, decode = rows[name]
            start = clock()
            codes = encode(pcm)
            middle = clock()
            decode(codes)
            end = clock()
            spent[name][index] = 1000 * np.array([middle - start, end - middle, end - start])
    return {name: values[WARM_UP:] for name, values in spent.items()}


def clock() -> np.ndarray:
    """Return CPU time of the process and wall time, in seconds."""
    return np.array([time.process_time(), time.perf_counter()])


def per_frame(codec: chirrup.Codec, frames: int) -> Table:
    rows: dict[str, Row] = {}
    if codec.engine == "native":
        rows["native engine"] = engines(*codec.engines())
    rows["live Encoder and Decoder"] = live(codec)
    graphs = chirrup.load(codec.folder, engine="onnx")
    encoder, decoder = (cast(Graph, engine) for engine in graphs.engines())
    rows["ONNX Runtime, graphs of one frame"] = engines(encoder, decoder)
    rows["ONNX Runtime, graphs of any length"] = engines(dynamic(encoder), dynamic(decoder))
    if (missing := Lyra2().missing()) is None:
        rows["Lyra v2, 20 ms at 6000 bit/s"] = lyra(frames)
    else:
        console.print(f"Lyra's row is left out: {missing}")
    if importlib.util.find_spec("torch"):
        from eager import torch_rows

        rows |= torch_rows(codec.name)
    else:
        console.print(
            "PyTorch's rows are left out, it is not installed: pip install 'chirrup[train]'"
        )
    size = codec.frame_samples
    alone = {
        name: float(np.median(take_turns({name: row}, frames, size)[name][:, 2, 0]))
        for name, row in rows.items()
    }
    spent = take_turns(rows, frames, size)
    first, frame_ms = next(iter(spent.values()))[:, 2, 0], 1000 * size / codec.sample_rate_hz
    result = table(
        f"{frame_ms:g} ms a frame: ms of CPU, or wall time where marked; {frames} frames",
        *("", "encode", "decode", "both", "p99", "both, wall", "p99, wall", "ratio", "x real time"),
        *("alone", "ratio alone"),
    )
    for label, values in spent.items():
        mid, high = np.median(values, 0), np.percentile(values, 99, 0)
        cells = [mid[0, 0], mid[1, 0], mid[2, 0], high[2, 0], mid[2, 1], high[2, 1]]
        ratio = f"{np.median(values[:, 2, 0] / first):.2f}"
        speed = f"{frame_ms / mid[2, 0]:.1f}"
        own = f"{alone[label]:.2f}", f"{alone[label] / next(iter(alone.values())):.2f}"
        result.add_row(label, *(f"{cell:.2f}" for cell in cells), ratio, speed, *own)
    return result


def cpu_ms(call: Callable[[], object], repeats: int) -> float:
    """Return the median CPU time of a warm call."""
    spent = []
    for _ in range(repeats + 2):
        start = time.process_time()
        call()
        spent.append(1000 * (time.process_time() - start))
    return float(np.median(spent[2:]))


def floors(codec: chirrup.Codec) -> Table:
    """Return the times to read the weights and to compute the arithmetic of a frame, alone."""
    parts = codec.description["audit"]["parts"].values()
    parameters = sum(part["parameters"] for part in parts)
    mflop = sum(part["mflops"] for part in parts) / codec.frame_rate_hz
    weights = np.ones((parameters // 1024, 1024), np.float32)
    vector, square = np.ones(1024, np.float32), np.ones((1024, 1024), np.float32)
    product = cpu_ms(lambda: square @ square, 10)
    size = f"{weights.nbytes / 1e6:.1f} MB"
    result = table("Floors of a frame, ms of CPU, median", "", "ms")
    result.add_row(f"read the weights once, {size}, np.sum", f"{cpu_ms(weights.sum, 100):.2f}")
    gemv = cpu_ms(lambda: weights @ vector, 100)
    result.add_row("the same as a matrix-vector product", f"{gemv:.2f}")
    speed = 2 * 1024**3 / product / 1e6
    text = f"{mflop:.1f} MFLOP at {speed:.0f} GFLOP/s (1024 x 1024 matrix product)"
    result.add_row(text, f"{mflop / speed:.2f}")
    return result


def bulk(codec: chirrup.Codec, seconds: float = 60) -> Table:
    """Return the times of a whole signal in each engine, median of turns."""
    signal = speech_like(seconds, codec.sample_rate_hz)
    names = [codec.engine] if codec.engine == "onnx" else [codec.engine, "onnx"]
    codecs = {name: chirrup.load(codec.folder, engine=name) for name in names}
    spent: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for _ in range(4):
        for name, one in codecs.items():
            start = clock()
            codes = one.encode(signal)
            middle = clock()
            one.decode(codes)
            end = clock()
            spent[name].append(np.stack([middle - start, end - middle, end - start]))
    result = table(
        f"A signal of {seconds:g} s at once", "", "CPU s", "wall s", "x real time (CPU)", "ratio"
    )
    first = np.median(spent[names[0]][1:], axis=0)
    for name in names:
        median = np.median(spent[name][1:], axis=0)
        for row, (cpu, wall), base in zip(("encode", "decode", "both"), median, first):
            cells = f"{cpu:.2f}", f"{wall:.2f}", f"{seconds / cpu:.1f}", f"{cpu / base[0]:.2f}"
            result.add_row(f"{name}, {row}", *cells)
    return result


def next_to_peers(name: str, rounds: int = 5, seconds: float = 10) -> Table:
    """Return the times of the model and of each installed codec, which code a signal in turns."""
    peers: list[Peer] = [ModelPeer(name), *PEERS.values()]
    signal, rng = speech_like(seconds, RATE), np.random.default_rng(0)
    systems = [
        (peer, rate)
        for peer in peers
        if peer.missing() is None
        for rate in sorted({peer.bitrates_bps[0], peer.bitrates_bps[-1]})
    ]
    spent = np.zeros((rounds + 1, len(systems), 2))
    for index in range(rounds + 1):
        for place in rng.permutation(len(systems)):
            peer, rate = systems[place]
            coded = peer.code(signal, RATE, rate)
            spent[index, place] = coded.encode_seconds, coded.decode_seconds
    median = np.median(spent[1:], axis=0)
    result = table(
        f"{seconds:g} s of {RATE / 1000:g} kHz mono next to other codecs, wall time, median",
        *("", "kbit/s", "encode, x real time", "decode, x real time", "both, ratio to first row"),
    )
    for (peer, rate), (encode, decode) in zip(systems, median, strict=True):
        started = " (*)" if isinstance(peer, CommandPeer) else ""
        result.add_row(
            f"{peer.label}{started}",
            f"{rate / 1000:g}",
            f"{seconds / encode:.0f}",
            f"{seconds / decode:.0f}",
            f"{(encode + decode) / median[0].sum():.3f}",
        )
    result.caption = "(*) a command: the time includes the start of its process and its files"
    return result


def installed() -> Table:
    """Return the sizes of the packages that `pip install chirrup` installs."""
    result = table("Installed size, without extras, MB", "", "MB")
    sizes: dict[str, float] = {}
    names = ["chirrup"]
    for name in names:
        dist = importlib.metadata.distribution(name)
        files = [dist.locate_file(file) for file in dist.files or ()]
        sizes[name] = sum(os.path.getsize(str(f)) for f in files if os.path.isfile(str(f))) / 1e6
        needs = [text for text in dist.requires or () if "extra ==" not in text]
        found = [re.split(r"[^A-Za-z0-9._-]", text)[0].lower() for text in needs]
        names += [other for other in found if other not in names and has(other)]
    for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:8]:
        result.add_row(name, f"{size:.0f}")
    result.add_row(f"all {len(sizes)} packages", f"{sum(sizes.values()):.0f}")
    return result


def has(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed, memory and start-up on one core.")
    parser.add_argument("model", nargs="?", default="iris-t1", help="a model's name or folder")
    parser.add_argument("--frames", type=int, default=500, help="frames of the table of frames")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("--memory", action="store_true", help="measure only memory; takes minutes")
    parser.add_argument("--minutes", type=int, default=60, help="length of the file of --memory")
    parser.add_argument("--channels", type=int, default=1, help="channels of the file of --memory")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    console.print(machine())
    codec = chirrup.load(options.model)
    if options.memory:
        lengths = options.minutes, options.channels
        console.print(memory(options.model, codec.sample_rate_hz, *lengths))
        return
    console.print(start_up(options.model))
    console.print(per_frame(codec, options.frames))
    console.print(floors(codec))
    console.print(bulk(codec))
    console.print(next_to_peers(options.model))
    console.print(installed())


if __name__ == "__main__":
    main()
