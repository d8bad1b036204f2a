"""Complexity by the rules of the LRAC challenge, latency and receptive field of a model.

A multiply-accumulate by a weight counts as two FLOPS (crowdsourcing.cisco.com/lrac-challenge/2025,
"Baseline"). Biases, activations, normalisations, skip connections and Fourier transforms do not
count. A codebook search counts as one product with every entry.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from chirrup.lab.models import Model
from chirrup.lab.nn import State, Streaming
from chirrup.words import counted

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)
_COUNTED = (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear, nn.GRU, nn.LSTM)

LARGE = 50_000_000
"""Number of parameters from which a model is counted without its values, to save memory."""
SAMPLES = 12_000
"""Limit for the samples of all streams and channels in a batch of the latency measurement.

It bounds the memory of the streams' states, which are in double precision.
"""


@dataclass(frozen=True)
class Complexity:
    """Complexity of one part of a model.

    Attributes:
        mflops: millions of FLOPS per second of audio.
        parameters: number of parameters, including gains of weight norm and all codebooks.
    """

    mflops: float
    parameters: int


def count(model: Model, folded: bool | None = None) -> dict[str, Complexity]:
    """Return the complexity of the parts "encoder", "quantizer" and "decoder".

    The quantizer counts projections and search of all codebooks.

    Args:
        folded: see `Quantizer.macs_per_frame`.

    Raises:
        ValueError: a layer with weights never ran as a module, so it cannot be counted.
    """
    encoder, decoder = _plain(model.encoder), _plain(model.decoder)
    chunk = model.chunk_frames * model.input_frame_samples
    samples = ceil(model.input_rate_hz / chunk) * chunk
    device = next(encoder.parameters()).device
    macs = {}
    with torch.no_grad():
        with _counting(encoder) as counter:
            latent = encoder.offline(torch.zeros(1, model.channels, samples, device=device))
        macs["encoder"] = sum(counter.values())
        macs["quantizer"] = latent.shape[2] * model.quantizer.macs_per_frame(folded)
        with _counting(decoder) as counter:
            decoder.offline(latent)
        macs["decoder"] = sum(counter.values())
    parts = {"encoder": encoder, "quantizer": model.quantizer, "decoder": decoder}
    books = [level.codebook for level in model.quantizer.trained_levels]
    return {
        name: Complexity(
            mflops=2 * macs[name] * model.input_rate_hz / samples / 1e6,
            parameters=sum(
                value.numel()
                for value in {*part.parameters(), *(books if name == "quantizer" else ())}
            ),
        )
        for name, part in parts.items()
    }


def audit(model: Model, latency_model: Model) -> dict[str, Any]:
    """Return the audit of a model for ``model.json``.

    Args:
        latency_model: the model, or a smaller one with equal latency, to measure the latency on.
    """
    return {
        "parts": {part: asdict(figures) for part, figures in count(_countable(model)).items()},
        "latency_samples": nominal_latency_samples(model),
        "latency_measured_samples": latency_samples(latency_model),
        "receptive_field_samples": receptive_field_samples(model.encoder),
    }


def _countable(model: Model) -> Model:
    """Return the model, or if it is large a copy without values, on the device "meta"."""
    if sum(parameter.numel() for parameter in model.parameters()) < LARGE:
        return model
    with torch.device("meta"):
        return type(model)(model.config)  # type: ignore[call-arg]


def _plain(part: Any) -> Any:
    """Return a copy in float32 on the CPU, without the fast forms.

    A part on the device "meta" stays there.
    """
    part = copy.deepcopy(part).float().eval()
    if not any(value.is_meta for value in (*part.parameters(), *part.buffers())):
        part = part.cpu()
    for module in part.modules():
        if hasattr(module, "fast"):
            module.fast = False
    return part


@contextmanager
def _counting(part: nn.Module) -> Iterator[dict[str, int]]:
    """Count the multiply-accumulates of each layer with weights, by name, while ``part`` runs."""
    layers = {name: layer for name, layer in part.named_modules() if isinstance(layer, _COUNTED)}
    macs = dict.fromkeys(layers, 0)

    def hook(name: str) -> Callable[..., None]:
        def add(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            macs[name] += _macs(layer, inputs[0], output)

        return add

    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield macs
    finally:
        for handle in handles:
            handle.remove()
    silent = [name for name, value in macs.items() if value == 0]
    if silent:
        raise ValueError(f"layers that never ran as modules cannot be counted: {', '.join(silent)}")


def _macs(layer: nn.Module, x: Tensor, y: Any) -> int:
    """Return a layer's number of steps times its number of weights.

    A step is an output position of a convolution or a linear layer, or an input position of a
    transposed convolution. The shape of the weight accounts for groups.
    """
    if isinstance(layer, (nn.GRU, nn.LSTM)):
        weights = [p.numel() for name, p in layer.named_parameters() if name.startswith("weight")]
        return x.shape[:-1].numel() * sum(weights)
    if isinstance(layer, _TRANSPOSED):
        return x.numel() // layer.in_channels * layer.weight.numel()
    if isinstance(layer, _CONVOLUTIONS):
        return y.numel() // layer.out_channels * layer.weight.numel()
    assert isinstance(layer, nn.Linear)
    return y.numel() // layer.out_features * layer.weight.numel()


def nominal_latency_samples(model: Model) -> int:
    """Return the algorithmic latency: the length of a chunk of frames plus the model's delay."""
    return model.chunk_frames * model.frame_samples + model.delay_samples


@torch.no_grad()
def latency_samples(model: Model) -> int:
    """Measure the algorithmic latency, in samples of the output.

    For each input sample of one chunk, the model runs with only this sample changed, chunk by chunk
    and without the quantizer, which treats frames separately. The first output sample that differs
    gives the dependence. If output sample m, less ``delay_samples``, depends on input up to sample
    n, then n - m + 1 input samples are needed before it can be output. The result is the maximum.

    If a frame has more than 1000 samples, about 60 of them are tried, including the last one, for
    which all of the frame's output waits. With several channels the first one is tried.

    Raises:
        RuntimeError: some input sample changes no output.
    """
    encoder, decoder = _plain(model.encoder).double(), _plain(model.decoder).double()
    chunk = model.chunk_frames * model.input_frame_samples
    every = 1 if model.input_frame_samples <= 1000 else model.input_frame_samples // 60
    generator = torch.Generator().manual_seed(0)
    chunks = nominal_latency_samples(model) // model.frame_samples + 4
    noise = torch.randn(chunks, 1, model.channels, chunk, generator=generator, dtype=torch.double)
    plain, latest = list(_streamed(encoder, decoder, noise)), 0
    rows = max(1, SAMPLES // (model.channels * chunk))
    for offset in torch.arange(chunk - 1, -1, -every).split(rows):
        changed = list(noise.expand(-1, len(offset), -1, -1))
        changed[0] = changed[0].clone()
        # Large enough to remain visible after a window's taper.
        changed[0][torch.arange(len(offset)), 0, offset] += 100
        first = _first_difference(plain, _streamed(encoder, decoder, changed))
        needed = (offset + 1) * model.sample_rate_hz / model.input_rate_hz
        latest = max(latest, ceil((needed - (first - model.delay_samples)).max()))
    return latest


def _streamed(encoder: Streaming, decoder: Streaming, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Return the audio of ``chunks [rows, channels, samples]``, chunk by chunk."""
    states: tuple[State, State] | None = None
    for x in chunks:
        before, after = states or (_start(encoder, len(x)), _start(decoder, len(x)))
        latent, before = encoder(x, before)
        y, after = decoder(latent, after)
        states = before, after
        yield y


def _first_difference(plain: Iterable[Tensor], changed: Iterable[Tensor]) -> Tensor:
    """Return the first sample of the first channel that differs, ``int [rows]``.

    Raises:
        RuntimeError: a row never differs.
    """
    first, start = torch.tensor(-1), 0
    for one, several in zip(plain, changed, strict=False):
        x, y = one[:, 0], several[:, 0]
        differs = (y - x).abs() > 1e-11 * (y.abs() + x.abs()).amax(1, keepdim=True)
        found = differs.any(1) & (first < 0)
        first = torch.where(found, start + differs.int().argmax(1), first)
        start += y.shape[1]
        if (first >= 0).all():
            return first
    without = counted(int((first < 0).sum()), "input sample")
    raise RuntimeError(f"no output depends on {without}")


def _start(part: Streaming, rows: int) -> State:
    return {name: value.double() for name, value in part.initial_state(rows).items()}


def receptive_field_samples(layers: Streaming, steps: int = 1) -> int:
    """Return the number of input samples that an output step depends on.

    Recurrent layers, which depend on all earlier samples, are left out.

    Args:
        steps: number of successive output steps to try; the largest result counts. In a decoder the
            result depends on the position of the step in its frame.
    """
    spans = [layers.span((step, step)) for step in range(steps)]
    return max(last - first + 1 for first, last in spans)
