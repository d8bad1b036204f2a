"""Measure the parts of FocalCodec-Stream on one core: PyTorch, and the graphs of the runtime.

    python benchmarks/focal.py [MODEL] [--chunks 20] [--core N]

MODEL is a configuration, by default focal-65k, with random weights, which make no difference to the
speed. README.md in this folder explains the table.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime is imported before chirrup

import argparse
import copy
import time
from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from chirrup.lab.export.export import to_onnx
from chirrup.lab.export.folding import for_one_frame
from chirrup.lab.export.int8 import int8_products
from chirrup.lab.models import build
from chirrup.lab.models.focalcodec import FocalCodec
from chirrup.lab.nn import Streaming
from shared import console, machine, speech_like, table

Step = Callable[[np.ndarray], np.ndarray]
"""Computes the next chunk of a part's stream."""
WARM_UP = 3
ROWS = (
    "PyTorch, eager",
    "PyTorch, bfloat16",
    "graph",
    "graph of one chunk",
    "and 8-bit weights",
)


class Part(nn.Module):
    """A part as a graph, whose inputs and outputs include the states."""

    def __init__(self, layer: Streaming) -> None:
        super().__init__()
        self.layer, self.names = layer, list(layer.initial_state(1))

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        y, after = self.layer(x, dict(zip(self.names, states, strict=True)))
        return y, *(after[name] for name in self.names)


def steps(layer: Streaming, chunk: Tensor) -> dict[str, Step]:
    """Return the ways to run a part. Each way has its own state."""
    states = layer.initial_state(1)
    part = Part(layer)
    feeds = (chunk, *states.values())
    plain = to_onnx(part, feeds, states, None)
    one = to_onnx(for_one_frame(part), feeds, states, None)
    ways = (
        eager(part, torch.float32),
        eager(copy.deepcopy(part).bfloat16(), torch.bfloat16),
        graph(plain.SerializeToString(), states),
        graph(one.SerializeToString(), states),
        graph(int8_products(one).SerializeToString(), states),
    )
    return dict(zip(ROWS, ways, strict=True))


def eager(part: Part, dtype: torch.dtype) -> Step:
    """Return a step of the part whose weights and arithmetic are in ``dtype``."""
    state = [
        value.to(dtype) if value.is_floating_point() else value
        for value in part.layer.initial_state(1).values()
    ]

    @torch.inference_mode()
    def step(x: np.ndarray) -> np.ndarray:
        nonlocal state
        y, *state = part(torch.from_numpy(x).to(dtype), *state)
        return y.float().numpy()

    return step


def graph(content: bytes, states: dict[str, Tensor]) -> Step:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    state = {name: ort.OrtValue.ortvalue_from_numpy(x.numpy()) for name, x in states.items()}

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal state
        value = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(x))
        y, *after = session.run_with_ort_values(None, {"input": value, **state})
        state = dict(zip(states, after, strict=True))
        return y.numpy()

    return step


Flows = dict[str, list[np.ndarray]]
"""Chunks of the stream of each way."""


def take_turns(ways: dict[str, Step], flows: Flows) -> tuple[np.ndarray, Flows]:
    """Run all ways chunk by chunk, in a random order for each chunk.

    Returns:
        Milliseconds of CPU ``[chunks, ways]`` without the first three chunks, and the outputs of
        each way.
    """
    random, names = np.random.default_rng(0), list(ways)
    count = len(flows[names[0]])
    spent, given = np.zeros((count, len(names))), {name: [] for name in names}
    for index in range(count):
        for place in random.permutation(len(names)):
            name = names[place]
            start = time.process_time()
            y = ways[name](flows[name][index])
            spent[index, place] = 1000 * (time.process_time() - start)
            given[name].append(y)
    return spent[WARM_UP:], given


def main() -> None:
    parser = argparse.ArgumentParser(description="FocalCodec-Stream by parts, on one core.")
    parser.add_argument("model", nargs="?", default="focal-65k", help="a configuration")
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    torch.set_num_threads(1)
    console.print(machine())
    torch.manual_seed(0)
    model = build(options.model)
    if not isinstance(model, FocalCodec):
        raise SystemExit(f"{options.model} is not a configuration of FocalCodec-Stream")
    model.eval().requires_grad_(False)
    count, size = options.chunks + WARM_UP, model.chunk_frames * model.input_frame_samples
    signal = speech_like(count * size / model.input_rate_hz, model.input_rate_hz)
    chunks = [x[None, None] for x in np.split(signal[: count * size], count)]
    flows: Flows = dict.fromkeys(ROWS, chunks)
    chunk_ms = 1000 * size / model.input_rate_hz
    parts = {
        "features": model.features,
        "compressor": model.compressor,
        "decompressor": model.decompressor,
        "waveform": model.waveform,
    }
    costs, codes = np.zeros((len(ROWS), len(parts))), {}
    for place, (name, layer) in enumerate(parts.items()):
        spent, flows = take_turns(steps(layer, torch.from_numpy(flows[ROWS[0]][0])), flows)
        costs[:, place] = np.median(spent, axis=0)
        if name == "compressor":
            codes = {way: np.concatenate(given, axis=2) > 0 for way, given in flows.items()}
            height = np.float32(model.config.bits**-0.5)
            flows = {way: [np.where(x > 0, height, -height) for x in flows[way]] for way in ROWS}
        console.print(f"{name}: {', '.join(f'{cost:.1f}' for cost in costs[:, place])} ms")
    result = table(f"ms of CPU for a chunk of {chunk_ms:g} ms, median of {options.chunks}", "")
    for heading in (*parts, "all", "ratio to PyTorch", "real-time factor"):
        result.add_column(heading, justify="right")
    for row, each in zip(ROWS, costs, strict=True):
        ratio = each.sum() / costs[0].sum()
        cells = [*(f"{cost:.1f}" for cost in (*each, each.sum())), f"{ratio:.2f}"]
        result.add_row(row, *cells, f"{each.sum() / chunk_ms:.2f}")
    console.print(result)
    for row in ROWS[1:]:
        same = codes[row] == codes[ROWS[0]]
        share = same.all(axis=1).mean()
        console.print(
            f"{row}: {share:.1%} of the codes and {same.mean():.2%} of the bits equal PyTorch's"
        )


if __name__ == "__main__":
    main()
