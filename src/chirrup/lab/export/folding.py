"""A trained model rewritten for running: the same function, fewer and cheaper operations.

Weight norm becomes plain weights. Each layer and the quantizer say what else becomes a constant of
theirs (`Streaming.fold`, `Quantizer.fold`), and in which operations they run (`exported`).
"""

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from chirrup.lab.export.model_folder import rounded
from chirrup.lab.models import Model
from chirrup.lab.nn import Streaming
from chirrup.lab.quantizers.quantizer import Quantizer


def fold(model: Model, exact: bool = False, compact: bool = False) -> Model:
    """A copy without weight norm and layer scales, its weights rounded to float16.

    They stay float32 tensors. The rounded model is the one that ships: what is exported from it
    needs half the bytes and loses nothing.

    Args:
        exact: do not round, so that codes are those of the model even where they are close.
        compact: round matrices further, to 8 bits and a scale for each output.
    """
    folded: Model = cast(Any, type(model))(model.config)  # copies share what removing undoes
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
            if tensor.dim() > 1:
                tensor.data = torch.from_numpy(rounded(tensor.numpy()))
    return folded


def for_export(folded: Model) -> tuple["EncoderGraph", "DecoderGraph"]:
    """Encoder and decoder graphs of a folded model.

    The encoder takes audio ``[batch, samples]``, or ``[batch, channels, samples]`` if it codes
    several jointly, and its states and gives codes ``int32 [batch, codebooks, frames]`` and the new
    states; the decoder takes codes and its states and gives audio and the new states. State names
    and order are `initial_state`'s.
    """
    copied = copy.deepcopy(folded)
    replace_layers(copied, lambda layer: layer.exported())
    search, lookup = copied.quantizer.exported()
    mono = copied.channels == 1
    return EncoderGraph(copied.encoder, search, mono), DecoderGraph(lookup, copied.decoder, mono)


def for_one_frame(graph: nn.Module) -> nn.Module:
    """A copy of a graph for calls of one frame, or of one chunk of frames."""
    copied = copy.deepcopy(graph)
    replace_layers(copied, lambda layer: layer.one_frame())
    return copied


def replace_layers(module: nn.Module, change: Callable[[Streaming], Streaming]) -> None:
    """Put ``change(layer)`` in the place of every streaming layer within ``module``."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Streaming) and (other := change(child)) is not child:
                setattr(parent, name, other)


class EncoderGraph(nn.Module):
    def __init__(self, encoder: Streaming, search: nn.Module, mono: bool) -> None:
        super().__init__()
        self.encoder, self.search, self.mono = encoder, search, mono
        self.names = list(encoder.initial_state(1))

    def forward(self, audio: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        audio = audio[:, None] if self.mono else audio
        latent, after = self.encoder(audio, dict(zip(self.names, states, strict=True)))
        return self.search(latent), *(after[name] for name in self.names)


class DecoderGraph(nn.Module):
    def __init__(self, lookup: nn.Module, decoder: Streaming, mono: bool) -> None:
        super().__init__()
        self.lookup, self.decoder, self.mono = lookup, decoder, mono
        self.names = list(decoder.initial_state(1))

    def forward(self, codes: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        audio, after = self.decoder(self.lookup(codes), dict(zip(self.names, states, strict=True)))
        return audio[:, 0] if self.mono else audio, *(after[name] for name in self.names)


class HalfGraph(nn.Module):
    """One of the two layers of a decoder that `Model.has_features`, its states named as there: from
    codes to features ``[batch, dim, frames]``, or from these to audio ``[batch, samples]``."""

    def __init__(self, whole: DecoderGraph, index: int) -> None:
        super().__init__()
        self.lookup = whole.lookup if index == 0 else None
        self.decoder, self.layer = whole.decoder, str(index)
        self.names = [name for name in whole.names if name.startswith(f"{index}.")]

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        x, after = x if self.lookup is None else self.lookup(x), {}
        x = self.decoder.run(self.layer, x, dict(zip(self.names, states, strict=True)), after)
        return x[:, 0] if self.lookup is None else x, *(after[name] for name in self.names)
