"""What a codec costs as the LRAC challenge counts it, how late it is, and how far back it looks.

The rule: a multiply-accumulate by a weight is two FLOPS, and nothing else counts: no bias,
activation, norm, skip or Fourier transform. A codebook search is one product with every entry.
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

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)
_COUNTED = (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear, nn.GRU, nn.LSTM)

SAMPLES = 12_000
"""Of all streams and channels at once when latency is measured: each stream has a state of its own,
in double precision."""


@dataclass(frozen=True)
class Complexity:
    """Cost of one part.

    Attributes:
        mflops: millions of FLOPS per second of audio.
        parameters: learned numbers, gains of weight norm and codebooks of any kind included.
    """

    mflops: float
    parameters: int


def count(model: Model, folded: bool | None = None) -> dict[str, Complexity]:
    """Cost of "encoder", "quantizer" (project in, search, project out, all codebooks), "decoder".

    Args:
        folded: as in `Quantizer.macs_per_frame`.

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


def audit(model: Model, tried: Model) -> dict[str, Any]:
    """The audit of a model as ``model.json`` has it.

    Args:
        tried: the model, or a smaller one of the same latency, to measure the latency on.
    """
    return {
        "parts": {part: asdict(figures) for part, figures in count(model.on_meta()).items()},
        "latency_samples": nominal_latency_samples(model),
        "latency_measured_samples": latency_samples(tried),
        "receptive_field_samples": receptive_field_samples(model.encoder),
    }


def _plain(part: Any) -> Any:
    """A copy on the CPU that computes layer by layer, without the fast forms.

    A part without values, on the device "meta", stays there: it can be counted.
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
    """Gathers the multiply-accumulates of each layer with weights, by name, while ``part`` runs."""
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
        raise ValueError(f"these layers never ran as modules, no count: {', '.join(silent)}")


def _macs(layer: nn.Module, x: Tensor, y: Any) -> int:
    """A layer's steps times its weights. A step is an output of a convolution or a linear layer, of
    all channels, and an input of a transposed convolution; groups are in the weight's shape."""
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
    """Algorithmic latency from the structure: a chunk of frames (mostly one) to fill, then the
    delay of the output."""
    return model.chunk_frames * model.frame_samples + model.delay_samples


@torch.no_grad()
def latency_samples(model: Model) -> int:
    """Algorithmic latency as measured, in samples of the output.

    Changes each sample of one chunk by itself and looks for the first sample of audio that differs,
    on the streaming path, chunk by chunk, with the quantizer left out (it treats each frame on its
    own). Of a frame of more than 1000 samples, 60 or so are tried, the last one, which all of its
    output waits for, among them; of several channels, the first one. If audio sample m, its
    ``delay_samples`` taken off, depends on input up to sample n, then n - m + 1 samples have to
    come in before it can go out. The result is the largest such number.

    Raises:
        RuntimeError: some sample changes nothing.
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
        # By far more than a window takes away at its edge.
        changed[0][torch.arange(len(offset)), 0, offset] += 100
        first = _first_difference(plain, _streamed(encoder, decoder, changed))
        needed = (offset + 1) * model.sample_rate_hz / model.input_rate_hz
        latest = max(latest, ceil((needed - (first - model.delay_samples)).max()))
    return latest


def _streamed(encoder: Streaming, decoder: Streaming, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Audio of ``chunks [rows, channels, samples]``, chunk by chunk, from the initial state."""
    states: tuple[State, State] | None = None
    for x in chunks:
        before, after = states or (_start(encoder, len(x)), _start(decoder, len(x)))
        latent, before = encoder(x, before)
        y, after = decoder(latent, after)
        states = before, after
        yield y


def _first_difference(plain: Iterable[Tensor], changed: Iterable[Tensor]) -> Tensor:
    """The first sample of the first channel that differs, ``int [rows]``, in chunks of audio.

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
    raise RuntimeError(f"{int((first < 0).sum())} samples of a frame change no output")


def _start(part: Streaming, rows: int) -> State:
    return {name: value.double() for name, value in part.initial_state(rows).items()}


def receptive_field_samples(layers: Streaming, steps: int = 1) -> int:
    """How many samples an output step sees, recurrent layers, which see everything, left out.

    Args:
        steps: as many output steps in a row are tried, and the one that sees most counts: a step
            of a decoder sees more or less, by its place in the frame.
    """
    spans = [layers.span((step, step)) for step in range(steps)]
    return max(last - first + 1 for first, last in spans)
