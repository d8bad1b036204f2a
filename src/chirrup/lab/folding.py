"""A trained model rewritten for running: the same function, fewer and cheaper operations.

Weight norm becomes plain weights, SnakeBeta's exponentials, the quantizer's projections and SimVQ's
linear layers become constants, and an FFT two small matrix products, which every runtime has.
"""

import copy
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from chirrup.lab.matrix_stft import replace_transforms
from chirrup.lab.model_folder import rounded
from chirrup.lab.models import Model
from chirrup.lab.models.iris import Conv2FormerBlock
from chirrup.lab.nn import LSTM, SnakeBeta, State, Streaming
from chirrup.lab.quantizers.bsq import BinarySphericalQuantizer
from chirrup.lab.quantizers.rvq import Level, ResidualVectorQuantizer
from chirrup.lab.quantizers.simvq import SimVQLevel


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
        if isinstance(module, Conv2FormerBlock):
            for conv, scale in (
                (module.project.conv, module.scale_1),
                (module.contract.conv, module.scale_2),
            ):
                conv.weight *= scale[:, :, None]
                cast(Tensor, conv.bias).mul_(scale[:, 0])
                scale.fill_(1.0)
        if isinstance(module, SimVQLevel):
            module.fold()
    if exact:
        return folded
    entries = [module.codebook for module in folded.modules() if isinstance(module, Level)]
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
    replace_transforms(copied)
    for module in list(copied.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SnakeBeta):
                setattr(module, name, FoldedSnake(child))
            elif isinstance(child, LSTM):
                setattr(module, name, FoldedLSTM(child))
    quantizer, mono = copied.quantizer, copied.channels == 1
    if isinstance(quantizer, BinarySphericalQuantizer):
        search, lookup = Signs(quantizer), Bits(quantizer)
    elif quantizer.level(0).projects:
        search, lookup = FoldedSearch(quantizer), FoldedLookup(quantizer)
    else:
        search, lookup = PlainSearch(quantizer), PlainLookup(quantizer)
    return EncoderGraph(copied.encoder, search, mono), DecoderGraph(lookup, copied.decoder, mono)


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


class FoldedSnake(Streaming):
    """x + h - h cos(f x), with h = 1 / (2 beta) and f = 2 alpha kept as numbers."""

    frequency: Tensor
    height: Tensor

    def __init__(self, snake: SnakeBeta) -> None:
        super().__init__()
        self.register_buffer("frequency", 2 * snake.log_alpha.exp())
        self.register_buffer("height", 0.5 * (-snake.log_beta).exp())

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return (x + self.height) - self.height * torch.cos(self.frequency * x), state


class Signs(nn.Module):
    """Latents ``[batch, bits, frames]`` to codes ``int32 [batch, 1, frames]``."""

    def __init__(self, quantizer: BinarySphericalQuantizer) -> None:
        super().__init__()
        powers = [2.0**bit for bit in reversed(range(quantizer.bits))]
        self.register_buffer("powers", torch.tensor(powers)[:, None])

    def forward(self, latent: Tensor) -> Tensor:
        return ((latent > 0) * self.get_buffer("powers")).sum(dim=1, keepdim=True).int()


class Bits(nn.Module):
    """Codes ``int32 [batch, 1, frames]`` to ``[batch, bits, frames]``, in floating point, which
    holds so small integers: the runtime has no bitwise operators for them everywhere."""

    def __init__(self, quantizer: BinarySphericalQuantizer) -> None:
        super().__init__()
        powers = [2.0**bit for bit in reversed(range(quantizer.bits))]
        self.register_buffer("powers", torch.tensor(powers)[:, None])
        self.height = quantizer.bits**-0.5

    def forward(self, codes: Tensor) -> Tensor:
        halves = (codes.float() / self.get_buffer("powers")).floor() * 0.5
        odd = halves != halves.floor()
        entry = torch.where(odd, self.height, -self.height)
        return torch.where(codes >= 0, entry, 0.0)


class FoldedSearch(nn.Module):
    """Residual search in the projected spaces.

    All projections are applied to the latent at once. A chosen entry then takes its share out of
    the levels after it: project_in_k(project_out_j(entry)) is a small matrix product, so the
    residual itself is never computed.
    """

    def __init__(self, quantizer: ResidualVectorQuantizer) -> None:
        super().__init__()
        levels = [quantizer.level(index) for index in range(len(quantizer.levels))]
        inward = [level.project_in.weight[:, :, 0] for level in levels]
        self.register_buffer("project", torch.cat(inward).T.contiguous())
        bias = torch.cat([cast(Tensor, level.project_in.bias) for level in levels])
        for index, level in enumerate(levels):
            weight, offset = level.table()
            self.register_buffer(f"weight_{index}", weight.contiguous())
            self.register_buffer(f"offset_{index}", offset)
            if inward[index + 1 :]:
                later = torch.cat(inward[index + 1 :]).T
                outward, constant = level.project_out.weight[:, :, 0], level.project_out.bias
                bias[-later.shape[1] :] -= cast(Tensor, constant) @ later
                self.register_buffer(f"entries_{index}", level.entries().clone())
                self.register_buffer(f"share_{index}", outward.T @ later)
        self.register_buffer("bias", bias)
        self.levels, self.code_dim = len(levels), levels[0].codebook.shape[1]

    def forward(self, latent: Tensor) -> Tensor:
        rest = latent.transpose(1, 2) @ self.get_buffer("project") + self.get_buffer("bias")
        codes = []
        for index in range(self.levels):
            projected, rest = rest[:, :, : self.code_dim], rest[:, :, self.code_dim :]
            scores = projected @ self.get_buffer(f"weight_{index}")
            offset = getattr(self, f"offset_{index}")
            code = (scores if offset is None else scores + offset).argmax(dim=2)
            codes.append(code.int())
            if index + 1 < self.levels:
                entry = F.embedding(code, self.get_buffer(f"entries_{index}"))
                rest = rest - entry @ self.get_buffer(f"share_{index}")
        return torch.stack(codes, dim=1)


class FoldedLookup(nn.Module):
    """Codes to latents: the entries of all levels side by side, then one matrix product."""

    def __init__(self, quantizer: ResidualVectorQuantizer) -> None:
        super().__init__()
        levels = [quantizer.level(index) for index in range(len(quantizer.levels))]
        size, code_dim = levels[0].codebook.shape
        absent = torch.zeros(1, code_dim)
        table = torch.cat([torch.cat([level.entries(), absent]) for level in levels])
        self.register_buffer("table", table)
        self.register_buffer(
            "offset", torch.arange(len(levels), dtype=torch.int32)[:, None] * (size + 1)
        )
        outward = [level.project_out.weight[:, :, 0] for level in levels]
        self.register_buffer("project", torch.cat(outward, dim=1).T.contiguous())
        self.register_buffer(
            "bias", torch.stack([cast(Tensor, a.project_out.bias) for a in levels])
        )
        self.size = size

    def forward(self, codes: Tensor) -> Tensor:
        present = codes >= 0
        index = torch.where(present, codes, self.size) + self.get_buffer("offset")
        entries = F.embedding(index.transpose(1, 2), self.get_buffer("table")).flatten(2)
        bias = present.transpose(1, 2).float() @ self.get_buffer("bias")
        return (entries @ self.get_buffer("project") + bias).transpose(1, 2)


class PlainSearch(nn.Module):
    """Residual search in the latent space itself, for levels that do not project."""

    def __init__(self, quantizer: ResidualVectorQuantizer) -> None:
        super().__init__()
        levels = [quantizer.level(index) for index in range(len(quantizer.levels))]
        self.register_buffer("table", torch.cat([level.entries() for level in levels]))
        for index, level in enumerate(levels):
            weight, offset = level.table()
            self.register_buffer(f"weight_{index}", weight.contiguous())
            self.register_buffer(f"offset_{index}", offset)
        self.levels, self.size = len(levels), levels[0].codebook.shape[0]

    def forward(self, latent: Tensor) -> Tensor:
        rest, codes = latent.transpose(1, 2), []
        for index in range(self.levels):
            scores = rest @ self.get_buffer(f"weight_{index}")
            offset = getattr(self, f"offset_{index}")
            code = (scores if offset is None else scores + offset).argmax(dim=2).int()
            codes.append(code)
            if index + 1 < self.levels:
                rest = rest - F.embedding(code + index * self.size, self.get_buffer("table"))
        return torch.stack(codes, dim=1)


class PlainLookup(nn.Module):
    """Codes to latents: the sum of the entries, whose table `PlainSearch` has too."""

    def __init__(self, quantizer: ResidualVectorQuantizer) -> None:
        super().__init__()
        levels = [quantizer.level(index) for index in range(len(quantizer.levels))]
        self.register_buffer("table", torch.cat([level.entries() for level in levels]))
        size = levels[0].codebook.shape[0]
        self.register_buffer("offset", torch.arange(len(levels), dtype=torch.int32)[:, None] * size)

    def forward(self, codes: Tensor) -> Tensor:
        index = codes.clamp(min=0) + self.get_buffer("offset")
        entries = F.embedding(index.transpose(1, 2), self.get_buffer("table"))
        return (entries * (codes >= 0).transpose(1, 2)[..., None]).sum(2).transpose(1, 2)


class FoldedLSTM(Streaming):
    """`LSTM` whose layers are one operator each in an exported graph.

    PyTorch's own export takes the number of time steps for a constant. ONNX has the gates in the
    order input, output, forget, cell; PyTorch has input, forget, cell, output.
    """

    def __init__(self, lstm: LSTM) -> None:
        super().__init__()
        self.lstm, self.size = lstm, lstm.rnn.hidden_size
        for layer in range(lstm.rnn.num_layers):
            ordered = []
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                values = getattr(lstm.rnn, f"{kind}_l{layer}").detach()
                given, forget, cell, out = values.chunk(4)
                ordered.append(torch.cat([given, out, forget, cell])[None])
            self.register_buffer(f"input_{layer}", ordered[0])
            self.register_buffer(f"hidden_{layer}", ordered[1])
            self.register_buffer(f"bias_{layer}", torch.cat(ordered[2:], dim=1))

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        return self.lstm.initial_state(batch, device)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if not torch.onnx.is_in_onnx_export():
            return self.lstm(x, state)
        x = x.permute(2, 0, 1)
        after: dict[str, list[Tensor]] = {"hidden": [], "cell": []}
        for layer in range(self.lstm.rnn.num_layers):
            time, batch, _ = x.shape
            weights = (f"input_{layer}", f"hidden_{layer}", f"bias_{layer}")
            y, *last = torch.onnx.ops.symbolic_multi_out(
                "LSTM",
                (
                    x,
                    *(self.get_buffer(name) for name in weights),
                    None,
                    *(state[name][:, layer][None] for name in after),
                ),
                {"hidden_size": self.size},
                dtypes=(x.dtype,) * 3,
                shapes=((time, 1, batch, self.size), *((1, batch, self.size),) * 2),
            )
            x = y[:, 0]
            for name, value in zip(after, last, strict=True):
                after[name].append(value[0])
        stacked = {name: torch.stack(values, dim=1) for name, values in after.items()}
        return x.permute(1, 2, 0), stacked
