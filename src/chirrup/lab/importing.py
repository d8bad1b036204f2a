"""The published weights of SpectroStream (``encoder``, ``decoder`` and ``quantizer.safetensors``).

How their keys are called is not known for certain, so they are matched by rules:

1. The part of a key after its last dot or slash is its leaf: ``kernel``, ``weight``, ``w`` or
   ``embedding`` is a weight, ``bias`` or ``b`` a bias, what comes before it the layer. A file's
   layers are in natural order of their names: numbers within them count as numbers.
2. Weights are channels-last, as TensorFlow's and JAX's: ``[time, bins, in, out]`` of a
   convolution, ``[in, out]`` (also ``[1, in, out]`` or ``[1, 1, in, out]``) of one over flattened
   bins. A transposed convolution is ``[time, bins, out, in]`` (TensorFlow) or
   ``[time, bins, in, out]`` (JAX, where time and bins also run the other way round).
3. Our layers, in the order in which audio passes them, each take the first layer of the file that
   nobody has taken and whose weight and bias have their shapes.
4. Codebooks are one tensor ``[levels, entries, dim]`` or one ``[entries, dim]`` a level, in order.

What fits none is an error that lists it. Rule 3 cannot tell layers of one shape apart but by their
order: `Imported.layers` says who took what, to be looked at, and ``names`` overrules.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from chirrup.lab.models.spectrostream import SpectroStream
from chirrup.lab.nn import ConvTranspose2d, set_weight

WEIGHTS, BIASES = {"kernel", "weight", "w", "embedding", "embeddings"}, {"bias", "b"}
PARTS = ("encoder", "decoder")
Kind = Literal["tensorflow", "jax"]


@dataclass(frozen=True)
class Imported:
    """What was read: for each of our layers the layer of the file, as ``encoder:name``."""

    layers: dict[str, str]


@dataclass(frozen=True)
class _Layer:
    name: str
    weight: Tensor
    bias: Tensor | None

    @property
    def shapes(self) -> str:
        bias = "none" if self.bias is None else list(self.bias.shape)
        return f"{self.name}: weight {list(self.weight.shape)}, bias {bias}"


@torch.no_grad()
def import_spectrostream(
    model: SpectroStream,
    folder: Path,
    *,
    transposed: Kind = "tensorflow",
    names: Mapping[str, str] | None = None,
) -> Imported:
    """Put the weights of a release into ``model``, which is left half done if they do not fit.

    Args:
        folder: with the three files.
        transposed: how weights of transposed convolutions are laid out, see rule 2.
        names: for some of our layers (``encoder.0.inner.2``) the layer of the file.

    Raises:
        ValueError: something in a file has no place here, or the other way round.
    """
    taken: dict[str, str] = {}
    for part in PARTS:
        layers = _layers(load_file(folder / f"{part}.safetensors"), part)
        left = {layer.name: layer for layer in layers}
        missing = []
        for name, module in _convolutions(model, part).items():
            wanted = (names or {}).get(name)
            candidates = [each for each in left.values() if wanted in (None, each.name)]
            fitting = (each for each in candidates if _fitted(each, module, transposed) is not None)
            if (found := next(fitting, None)) is None:
                conv: Any = module.get_submodule("conv")
                shape = list(conv.weight.shape) if wanted is None else f"named {wanted!r}"
                missing.append(f"{name}: {shape}")
                continue
            _put(module, found, transposed)
            taken[name] = f"{part}:{found.name}"
            del left[found.name]
        if missing or left:
            raise ValueError(
                f"{part}.safetensors does not fit. Ours without a layer of the file: "
                f"{'; '.join(missing) or 'none'}. Of the file without one of ours: "
                f"{'; '.join(layer.shapes for layer in left.values()) or 'none'}"
            )
    _put_codebooks(model, load_file(folder / "quantizer.safetensors"))
    return Imported(taken)


def natural(name: str) -> list[tuple[int, int | str]]:
    """A key to sort by in which 2 comes before 10."""
    return [(0, int(x)) if x.isdigit() else (1, x) for x in re.split(r"(\d+)", name) if x]


def _layers(tensors: dict[str, Tensor], part: str) -> list[_Layer]:
    grouped: dict[str, dict[str, Tensor]] = {}
    strange = []
    for key, value in tensors.items():
        name, leaf = re.sub(r"[./][^./]*$", "", f"/{key}")[1:], re.split(r"[./]", key)[-1]
        kind = "weight" if leaf in WEIGHTS else "bias" if leaf in BIASES else None
        if kind is None:
            strange.append(f"{key}: {list(value.shape)}")
        else:
            grouped.setdefault(name, {})[kind] = value.float()
    alone = [name for name, values in grouped.items() if "weight" not in values]
    if strange or alone:
        raise ValueError(
            f"{part}.safetensors has tensors that are neither weight nor bias: "
            f"{'; '.join([*strange, *(f'{name}: a bias alone' for name in alone)])}"
        )
    ordered = sorted(grouped, key=natural)
    return [_Layer(name, grouped[name]["weight"], grouped[name].get("bias")) for name in ordered]


def _convolutions(model: SpectroStream, part: str) -> dict[str, nn.Module]:
    """Our layers with weights, by name, in the order in which audio passes them."""
    modules = model.get_submodule(part).named_modules()
    return {f"{part}.{name}": module for name, module in modules if hasattr(module, "conv")}


def _fitted(layer: _Layer, module: nn.Module, transposed: Kind) -> Tensor | None:
    """The layer's weight in our order, or None if weight or bias have another shape."""
    conv: Any = module.get_submodule("conv")
    weight, ours, flat = layer.weight, conv.weight, conv.weight.dim() == 3
    bias = module.bias if isinstance(module, ConvTranspose2d) else conv.bias
    if layer.bias is None or layer.bias.numel() != bias.numel():
        return None
    if flat:
        while weight.dim() > 2 and weight.shape[0] == 1:
            weight = weight[0]
        weight = weight.T[:, :, None] if weight.dim() == 2 else weight
    elif weight.dim() == 2 and ours.shape[2:] == (1, 1):
        weight = weight.T[:, :, None, None]
    elif weight.dim() == 4 and isinstance(module, ConvTranspose2d):
        ours_order = (3, 2, 0, 1) if transposed == "tensorflow" else (2, 3, 0, 1)
        weight = weight.permute(ours_order)
        weight = weight if transposed == "tensorflow" else weight.flip(2, 3)
    elif weight.dim() == 4:
        weight = weight.permute(3, 2, 0, 1)
    return weight if weight.shape == ours.shape else None


def _put(module: nn.Module, layer: _Layer, transposed: Kind) -> None:
    weight, conv = _fitted(layer, module, transposed), cast(Any, module.get_submodule("conv"))
    assert weight is not None
    assert layer.bias is not None
    set_weight(conv, weight)
    bias = module.bias if isinstance(module, ConvTranspose2d) else conv.bias
    bias.copy_(layer.bias.reshape(bias.shape))


def _put_codebooks(model: SpectroStream, tensors: dict[str, Tensor]) -> None:
    levels = [model.quantizer.level(index) for index in range(model.codebooks)]
    shape = tuple(levels[0].codebook.shape)
    if levels[0].projects:
        raise ValueError("the release has codebooks without projections, this model projects")
    whole = [value for value in tensors.values() if value.shape == (len(levels), *shape)]
    each = [tensors[key] for key in sorted(tensors, key=natural) if tensors[key].shape == shape]
    found = list(whole[0]) if len(whole) == 1 else each
    if len(found) != len(levels) or len(tensors) != (1 if len(whole) == 1 else len(levels)):
        listed = "; ".join(f"{key}: {list(value.shape)}" for key, value in tensors.items())
        raise ValueError(
            f"quantizer.safetensors does not fit: {len(levels)} codebooks {list(shape)} are "
            f"wanted, one by one or as one tensor; it has {listed}"
        )
    for level, entries in zip(levels, found, strict=True):
        level.place(torch.arange(shape[0]), entries.float())
