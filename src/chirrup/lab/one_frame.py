"""What does the same on exactly one frame, or chunk of frames, in less time.

The IRIS decoder: the time axis is gone, so every layer is a product. Same weights, same states,
same result as `models.iris.Decoder` on one frame, in half the time: a runtime's cost at this size
is the number of its operations, and convolutions of one step.

Long depthwise convolutions, as FocalCodec-Stream's: a product and a sum for each frame of a chunk
take a third of the time of the runtime's convolution.
"""

import copy
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab.folding import DecoderGraph, FoldedLookup
from chirrup.lab.matrix_stft import MatrixISTFT
from chirrup.lab.models.iris import Conv2FormerBlock, SpectralHead
from chirrup.lab.nn import Conv1d, LayerNorm, ReplicatedConv1d, Sequential, State, Streaming


def for_one_frame(graph: nn.Module) -> nn.Module:
    """``graph`` itself, or what does the same for one frame faster."""
    layers = cast(Sequential, graph.decoder).layers if isinstance(graph, DecoderGraph) else []
    if any(isinstance(layer, Conv2FormerBlock) for layer in layers):
        return OneFrameDecoder(cast(DecoderGraph, graph))
    if any(map(is_long_depthwise, graph.modules())):
        graph = copy.deepcopy(graph)
        for module in list(graph.modules()):
            for name, child in list(module.named_children()):
                if is_long_depthwise(child):
                    setattr(module, name, ShortDepthwise(cast(ReplicatedConv1d, child)))
    return graph


LONG = 64
"""Steps of a kernel from which on a convolution of each channel is taken apart."""


def is_long_depthwise(layer: nn.Module) -> bool:
    if not isinstance(layer, ReplicatedConv1d):
        return False
    conv = layer.conv
    return conv.groups == conv.in_channels == conv.out_channels and layer.context >= LONG


class ShortDepthwise(Streaming):
    """A long `ReplicatedConv1d` of each channel by itself, for few steps: each output step is the
    sum over a product of the kernel with what it sees."""

    def __init__(self, layer: ReplicatedConv1d) -> None:
        super().__init__()
        self.layer = layer

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        return self.layer.initial_state(batch, device)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        line, after = self.layer.line(x, state)
        conv, size = self.layer.conv, self.layer.conv.kernel_size[0]
        kernel = conv.weight[:, 0]
        steps = [
            (line[:, :, at : at + size] * kernel).sum(2, keepdim=True) for at in range(x.shape[2])
        ]
        return torch.cat(steps, dim=2) + cast(Tensor, conv.bias)[:, None], after


class OneFrameDecoder(nn.Module):
    """Codes ``int32 [1, codebooks, 1]`` and states to audio ``[1, frame_samples]`` and states."""

    def __init__(self, graph: DecoderGraph) -> None:
        super().__init__()
        first, *blocks, head, istft = cast(Sequential, graph.decoder).layers
        self.lookup = cast(FoldedLookup, graph.lookup)
        self.first = OneStepConv(cast(Conv1d, first))
        self.blocks = nn.ModuleList(OneStepBlock(cast(Conv2FormerBlock, block)) for block in blocks)
        self.head = OneStepConv(cast(SpectralHead, head).project)
        self.register_buffer("signs", cast(SpectralHead, head).signs[:, 0].clone())
        self.istft = cast(MatrixISTFT, istft)

    def forward(self, codes: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        x, after = self.first(self.lookup(codes)[:, :, 0], states[0])
        pasts = [after]
        for block, past in zip(self.blocks, states[1:-1], strict=True):
            x, after = block(x, past)
            pasts.append(after)
        log_magnitude, phase = self.head(x)[0].chunk(2, dim=1)
        magnitude = self.get_buffer("signs") * log_magnitude.clamp(max=6.0).exp()
        even = (magnitude * phase.cos()) @ self.istft.get_buffer("cosines")
        odd = (magnitude * phase.sin()) @ self.istft.get_buffer("sines")
        hop, window = self.istft.hop, self.istft.get_buffer("window")
        first = (even - odd)[:, :hop] * window[:hop]
        second = (even + odd)[:, 1:].flip(1) * window[hop:]
        return first + states[-1][:, 0], *pasts, second[:, None]


class OneStepConv(nn.Module):
    """A convolution whose output is one step long: one product of all its inputs.

    ``[1, channels]`` and the past ``[1, channels, context]`` to ``[1, out_channels]``, new past.
    """

    def __init__(self, layer: Conv1d) -> None:
        super().__init__()
        weight, bias = layer.conv.weight, cast(Tensor, layer.conv.bias)
        groups, self.context = layer.conv.groups, layer.context
        inputs = weight[0].numel()
        grouped = weight.reshape(groups, -1, inputs).transpose(1, 2).contiguous()
        self.register_buffer("weight", grouped[0].contiguous() if groups == 1 else grouped)
        self.register_buffer("bias", bias if groups == 1 else bias.reshape(groups, 1, -1))
        self.groups = groups

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        after = x
        if self.context and past is not None:
            line = torch.cat([past, x[:, :, None]], dim=2)
            x, after = line.flatten(1), line[:, :, 1:]
        if self.groups > 1:
            x = x.reshape(self.groups, 1, -1)
            x = torch.baddbmm(self.get_buffer("bias"), x, self.get_buffer("weight"))
            return x.reshape(1, -1), after
        return torch.addmm(self.get_buffer("bias"), x, self.get_buffer("weight")), after


class OneStepDepthwise(nn.Module):
    """A depthwise convolution of one step: a weighted sum over the past and the input."""

    def __init__(self, layer: Conv1d) -> None:
        super().__init__()
        self.register_buffer("weight", layer.conv.weight[:, 0][None].clone())
        self.register_buffer("bias", cast(Tensor, layer.conv.bias)[None].clone())

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        line = torch.cat([past, x[:, :, None]], dim=2)
        return (line * self.get_buffer("weight")).sum(2) + self.get_buffer("bias"), line[:, :, 1:]


class OneStepBlock(nn.Module):
    """`Conv2FormerBlock` of one step, its layer scales folded."""

    def __init__(self, block: Conv2FormerBlock) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = block.norm_1, block.norm_2
        self.gate = OneStepDepthwise(block.gate)
        self.project = OneStepConv(block.project)
        self.expand = OneStepConv(block.expand)
        self.contract = OneStepConv(block.contract)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        y = normalise(self.norm_1, x)
        gate, after = self.gate(F.gelu(y), past)
        x = x + self.project(gate * y)[0]
        hidden = F.gelu(self.expand(normalise(self.norm_2, x))[0])
        return x + self.contract(hidden)[0], after


def normalise(norm: LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, norm.gain.shape, norm.gain, norm.bias, norm.eps)
