"""The convolutional modulation block (Conv2Former, arXiv 2211.11943) of IRIS's decoder."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab import fast
from chirrup.lab.fast.conv_modulation import conv_modulation
from chirrup.lab.nn.conv import Conv1d
from chirrup.lab.nn.norm import LayerNorm
from chirrup.lab.nn.one_step import OneStepConv, OneStepDepthwise
from chirrup.lab.nn.program import Part, Value
from chirrup.lab.nn.streaming import Span, State, Streaming


class Conv2FormerBlock(Streaming):
    """Convolutional modulation and a feed-forward part, with pre-normalisation and layer scales.

    x + s1 * project(depthwise(gelu(y)) * y) with y = norm(x); then x + s2 * mlp(norm(x)).
    The two 1x1 convolutions of the MLP have two groups, because dense ones would exceed the
    complexity on the IRIS poster.
    """

    def __init__(self, dim: int, hidden_dim: int, kernel_size: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = LayerNorm(dim), LayerNorm(dim)
        self.gate = Conv1d(dim, dim, kernel_size, groups=dim)
        self.project = Conv1d(dim, dim, 1)
        self.expand = Conv1d(dim, hidden_dim, 1, groups=2)
        self.contract = Conv1d(hidden_dim, dim, 1, groups=2)
        self.scale_1 = nn.Parameter(torch.full((dim, 1), 0.1))
        self.scale_2 = nn.Parameter(torch.full((dim, 1), 0.1))
        self.fast = False

    def span(self, span: Span) -> Span:
        return self.gate.span(span)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if self.fast and fast.runs_on(x):
            y, past = conv_modulation(
                x,
                state["gate.past"],
                (self.norm_1.gain, self.norm_1.bias),
                self.gate.conv,
                self.project.conv,
                self.scale_1,
                (self.norm_2.gain, self.norm_2.bias),
                self.expand.conv,
                self.contract.conv,
                self.scale_2,
                self.norm_1.eps,
                fast.products_in_bf16(),
            )
            return y, {"gate.past": past}
        after: State = {}
        y, _ = self.norm_1(x, {})
        gate = self.run("gate", F.gelu(y), state, after)
        x = x + self.scale_1 * self.project(gate * y, {})[0]
        y, _ = self.norm_2(x, {})
        y = self.contract(F.gelu(self.expand(y, {})[0]), {})[0]
        return x + self.scale_2 * y, after

    def emit(self, part: Part, x: Value) -> Value:
        """Add the block with folded layer scales."""
        y = self.norm_1.emit(part, x)
        conv = self.gate.conv
        weight, bias = conv.weight.detach().numpy()[:, 0], cast(Tensor, conv.bias).detach().numpy()
        gate = part.depthwise(part.activate(y, ("gelu", None, None)), weight, bias)
        x = part.plus(self.project.emit(part, part.multiply(gate, y)), x)
        hidden = self.expand.emit(part, self.norm_2.emit(part, x))
        return part.plus(self.contract.emit(part, part.activate(hidden, ("gelu", None, None))), x)

    def fold(self) -> None:
        for layer, scale in ((self.project, self.scale_1), (self.contract, self.scale_2)):
            layer.conv.weight *= scale[:, :, None]
            cast(Tensor, layer.conv.bias).mul_(scale[:, 0])
            scale.fill_(1.0)


class OneStepConv2Former(nn.Module):
    """`Conv2FormerBlock` for one step, without a time axis and with folded layer scales."""

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
    """Apply a `LayerNorm` to ``x [batch, channels]``."""
    return F.layer_norm(x, norm.gain.shape, norm.gain, norm.bias, norm.eps)
