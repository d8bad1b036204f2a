"""Folding: rewriting a trained model as an equal model of fewer and cheaper operations.

Weight norm becomes plain weights. Layers and quantizers define further folding (`Streaming.fold`,
`Quantizer.fold`) and their exported form (`exported`).
"""

import copy
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from chirrup.lab.export.model_folder import rounded
from chirrup.lab.models import Model
from chirrup.lab.nn import Streaming
from chirrup.lab.quantizers.quantizer import Quantizer

M = TypeVar("M", bound=nn.Module)


def fold(model: Model, exact: bool = False, compact: bool = False) -> Model:
    """Return a copy without weight norm and layer scales, with weights rounded to float16.

    The weights stay float32 tensors. The rounded model is the reference for the export, whose
    float16 storage is therefore lossless.

    Args:
        exact: whether to skip rounding, so that even near ties give the model's codes.
        compact: whether to round matrices further, to 8 bits with a scale per row.
    """
    # deepcopy would share the parametrizations that are removed below
    folded: Model = cast(Any, type(model))(model.config)
    folded.eval().requires_grad_(False)
    folded.load_state_dict(model.state_dict())
    for module in folded.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
            module.weight = nn.Parameter(cast(Tensor, module.weight), requires_grad=False)
    for module in folded.modules():
        if isinstance(module, Streaming | Quantizer):
            module.fold()
    if exact:
        return folded
    entries = [level.codebook for level in folded.quantizer.trained_levels]
    for tensor in (*folded.parameters(), *entries):
        tensor.data = tensor.data.half().float()
    if compact:
        for tensor in folded.parameters():
            if tensor.dim() > 1 and tensor[0].numel() > 1:  # other rows are a number each
                tensor.data = torch.from_numpy(rounded(tensor.numpy()))
    return folded


def for_export(folded: Model) -> tuple["EncoderGraph", "DecoderGraph"]:
    """Return the encoder and the decoder of a folded model as modules for the export.

    The encoder takes audio ``[batch, samples]``, or ``[batch, channels, samples]`` for joint
    coding, and its states. It returns codes ``int32 [batch, codebooks, frames]`` and the new
    states. The decoder takes codes and its states, and returns audio and the new states.
    `initial_state` defines names and order of the states.
    """
    copied = shared_copy(folded)
    replace_layers(copied, lambda layer: layer.exported())
    search, lookup = copied.quantizer.exported()
    mono = copied.channels == 1
    return EncoderGraph(copied.encoder, search, mono), DecoderGraph(lookup, copied.decoder, mono)


def for_one_frame(graph: nn.Module) -> nn.Module:
    """Return a copy of a module for calls of one frame, or of one chunk of frames."""
    copied = shared_copy(graph)
    replace_layers(copied, lambda layer: layer.one_frame())
    return copied


def shared_copy(module: M) -> M:
    """Return a copy with the same tensors, whose layers can be replaced, to save memory."""
    tensors = *module.parameters(), *module.buffers()
    return copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})


def replace_layers(module: nn.Module, change: Callable[[Streaming], Streaming]) -> None:
    """Replace every streaming layer within ``module`` by ``change(layer)``."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Streaming) and (other := change(child)) is not child:
                setattr(parent, name, other)


class EncoderGraph(nn.Module):
    """Encoder and search as one module; see `for_export`."""

    def __init__(self, encoder: Streaming, search: nn.Module, mono: bool) -> None:
        super().__init__()
        self.encoder, self.search, self.mono = encoder, search, mono
        self.names = list(encoder.initial_state(1))

    def forward(self, audio: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        audio = audio[:, None] if self.mono else audio
        latent, after = self.encoder(audio, dict(zip(self.names, states, strict=True)))
        return self.search(latent), *(after[name] for name in self.names)


class DecoderGraph(nn.Module):
    """Lookup and decoder as one module; see `for_export`."""

    def __init__(self, lookup: nn.Module, decoder: Streaming, mono: bool) -> None:
        super().__init__()
        self.lookup, self.decoder, self.mono = lookup, decoder, mono
        self.names = list(decoder.initial_state(1))

    def forward(self, codes: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        audio, after = self.decoder(self.lookup(codes), dict(zip(self.names, states, strict=True)))
        return audio[:, 0] if self.mono else audio, *(after[name] for name in self.names)


class HalfGraph(nn.Module):
    """One of the two layers of a decoder with `Model.has_features`.

    Layer 0 maps codes to features ``[batch, dim, frames]``, layer 1 maps features to audio
    ``[batch, samples]``. The states have the decoder's names.
    """

    def __init__(self, whole: DecoderGraph, index: int) -> None:
        super().__init__()
        self.lookup = whole.lookup if index == 0 else None
        self.decoder, self.layer = whole.decoder, str(index)
        self.names = [name for name in whole.names if name.startswith(f"{index}.")]

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        x, after = x if self.lookup is None else self.lookup(x), {}
        x = self.decoder.run(self.layer, x, dict(zip(self.names, states, strict=True)), after)
        return x[:, 0] if self.lookup is None else x, *(after[name] for name in self.names)
