"""Streaming 1-D convolutions and transposed convolutions, causal or with look-ahead."""

from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from chirrup.lab import fast
from chirrup.lab.fast.causal_conv import causal_conv, takes_conv, transposed_conv
from chirrup.lab.fast.depthwise_conv import depthwise_conv, takes_depthwise_conv
from chirrup.lab.nn.program import Part, Value
from chirrup.lab.nn.streaming import Span, State, Streaming, strided, transposed


def _has_fast_form(layer: "Conv1d | ConvTranspose1d", x: Tensor) -> bool:
    return (
        layer.fast
        and fast.runs_on(x)
        and x.shape[2] % layer.ratio.numerator == 0
        and takes_conv(layer.conv, fast.products_in_bf16())
    )


class Conv1d(Streaming):
    """Causal 1-D convolution with stride, dilation and groups.

    Output step t depends on input up to the last sample of its stride, so a strided layer adds
    no look-ahead. The state is the last ``(kernel_size - 1) * dilation + 1 - stride`` inputs.

    Args:
        look_ahead: number of future input steps that an output step depends on. The output is
            delayed by as many steps. A centred kernel has (kernel_size - 1) * dilation / 2.
        normalise_weight: whether the weight has weight normalisation.
        exact: whether the fast form's forward pass keeps float32 instead of bfloat16 factors.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        look_ahead: int = 0,
        normalise_weight: bool = False,
        exact: bool = False,
    ) -> None:
        super().__init__()
        self.context = (kernel_size - 1) * dilation + 1 - stride
        if self.context < 0:
            raise ValueError(
                f"a stride of {stride} is longer than the kernel and would skip samples"
            )
        if not 0 <= look_ahead <= self.context:
            raise ValueError(f"look_ahead must be from 0 to {self.context}, got {look_ahead}")
        self.conv = nn.Conv1d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            bias=bias,
        )
        if normalise_weight:
            weight_norm(self.conv)
        self.look_ahead = look_ahead
        self.exact = exact
        self.fast = False

    @property
    def delay(self) -> Fraction:
        return Fraction(self.look_ahead)

    @property
    def ratio(self) -> Fraction:
        return Fraction(self.conv.stride[0])

    def span(self, span: Span) -> Span:
        return strided(span, int(self.ratio), self.context)

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        if self.context == 0:
            return {}
        return {"past": torch.zeros(batch, self.conv.in_channels, self.context, device=device)}

    def takes_elu(self, x: Tensor) -> bool:
        return _has_fast_form(self, x)

    def emit(self, part: Part, x: Value) -> Value:
        conv = self.conv
        return part.conv(
            x,
            conv.weight.detach().numpy(),
            None if conv.bias is None else conv.bias.detach().numpy(),
            stride=conv.stride[0],
            dilation=conv.dilation[0],
            groups=conv.groups,
        )

    def forward(self, x: Tensor, state: State, elu: bool = False) -> tuple[Tensor, State]:
        if _has_fast_form(self, x):
            return self._fast_form(x, state, elu)
        if self.context == 0:
            return self.conv(x), {}
        x = torch.cat([state["past"], x], dim=2)
        apart = self.fast and takes_depthwise_conv(self.conv, x)
        y = depthwise_conv(x, self.conv) if apart else self.conv(x)
        return y, {"past": x[:, :, x.shape[2] - self.context :].clone()}

    def _fast_form(self, x: Tensor, state: State, elu: bool) -> tuple[Tensor, State]:
        past = state["past"] if self.context else x[:, :, :0]
        bf16 = fast.products_in_bf16()
        y = causal_conv(x, past, self.conv, elu, bf16, self.exact)
        if self.context == 0:
            return y, {}
        last = x[:, :, -self.context :]
        last = torch.cat([past, F.elu(last) if elu else last], dim=2)
        return y, {"past": last[:, :, last.shape[2] - self.context :]}


def weight_norm_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    centred: bool = False,
) -> Conv1d:
    """Return a convolution with weight normalisation, causal or centred."""
    return Conv1d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        dilation=dilation,
        look_ahead=(kernel_size - 1) * dilation // 2 if centred else 0,
        normalise_weight=True,
    )


class ConvTranspose1d(Streaming):
    """Causal transposed 1-D convolution.

    Input step t contributes to ``kernel_size`` output steps, from ``t * stride`` on. The state is
    the sum so far of the ``kernel_size - stride`` output steps to which later inputs still
    contribute.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int,
        bias: bool = True,
        normalise_weight: bool = False,
    ) -> None:
        super().__init__()
        if kernel_size < stride:
            raise ValueError(
                f"a kernel of {kernel_size} is shorter than the stride and would leave holes"
            )
        self.conv = nn.ConvTranspose1d(
            in_channels, out_channels, kernel_size, stride=stride, bias=False
        )
        if normalise_weight:
            weight_norm(self.conv)
        self.bias = nn.Parameter(torch.zeros(out_channels, 1)) if bias else None
        self.overlap = kernel_size - stride
        self.fast = False

    @property
    def ratio(self) -> Fraction:
        return Fraction(1, self.conv.stride[0])

    def span(self, span: Span) -> Span:
        return transposed(span, int(1 / self.ratio), self.overlap)

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        if self.overlap == 0:
            return {}
        return {"overlap": torch.zeros(batch, self.conv.out_channels, self.overlap, device=device)}

    def takes_elu(self, x: Tensor) -> bool:
        return _has_fast_form(self, x)

    def emit(self, part: Part, x: Value) -> Value:
        bias = None if self.bias is None else self.bias.detach().numpy()
        weight = self.conv.weight.detach().numpy()
        return part.transposed_conv(x, weight, bias, self.conv.stride[0])

    def forward(self, x: Tensor, state: State, elu: bool = False) -> tuple[Tensor, State]:
        if _has_fast_form(self, x):
            return self._fast_form(x, state, elu)
        y = self.conv(x)
        after: State = {}
        if self.overlap:
            y = y + F.pad(state["overlap"], (0, y.shape[2] - self.overlap))
            cut = y.shape[2] - self.overlap
            after["overlap"] = y[:, :, cut:].clone()
            y = y[:, :, :cut]
        return (y if self.bias is None else y + self.bias), after

    def _fast_form(self, x: Tensor, state: State, elu: bool) -> tuple[Tensor, State]:
        outputs = self.conv.out_channels
        overlap = state["overlap"] if self.overlap else x.new_zeros(len(x), outputs, 0)
        bias = x.new_zeros(outputs) if self.bias is None else self.bias[:, 0]
        y, after = transposed_conv(x, overlap, self.conv, bias, elu, fast.products_in_bf16())
        return y, {"overlap": after} if self.overlap else {}
