"""Unidirectional recurrent layers: GRU and LSTM."""

import torch
from torch import Tensor, nn

from chirrup.lab import fast
from chirrup.lab.fast.gru import gru
from chirrup.lab.fast.lstm import lstm
from chirrup.lab.nn.program import Part, Value
from chirrup.lab.nn.streaming import Span, State, Streaming


def emit_layers(part: Part, x: Value, kind: str, rnn: nn.RNNBase) -> Value:
    """Add all layers of a recurrent network to a program."""
    for layer in range(rnn.num_layers):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        tensors = [getattr(rnn, f"{name}_l{layer}").detach().numpy() for name in names]
        x = part.recurrent(x, kind, tensors)
    return x


class GRU(Streaming):
    """Gated recurrent unit over ``[batch, channels, time]``; the state is the hidden vector."""

    def __init__(self, in_channels: int, channels: int, layers: int = 1) -> None:
        super().__init__()
        self.rnn = nn.GRU(in_channels, channels, layers, batch_first=True)
        self.fast = False

    @property
    def recurrent(self) -> bool:
        return True

    def span(self, span: Span) -> Span:
        return span

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        shape = (batch, self.rnn.num_layers, self.rnn.hidden_size)
        return {"hidden": torch.zeros(shape, device=device)}

    def emit(self, part: Part, x: Value) -> Value:
        return emit_layers(part, x, "gru", self.rnn)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if self.fast and self.rnn.num_layers == 1 and fast.runs_on(x):
            rows, hidden = x.transpose(1, 2), state["hidden"][:, 0]
            y, hidden = gru(rows, hidden, self.rnn, fast.products_in_bf16())
            return y.transpose(1, 2), {"hidden": hidden[:, None]}
        hidden = state["hidden"].transpose(0, 1).contiguous()
        y, hidden = self.rnn(x.transpose(1, 2), hidden)
        return y.transpose(1, 2), {"hidden": hidden.transpose(0, 1)}


class LSTM(Streaming):
    """Long short-term memory over ``[batch, channels, time]``; the state is hidden and cell."""

    def __init__(self, in_channels: int, channels: int, layers: int = 1) -> None:
        super().__init__()
        self.rnn = nn.LSTM(in_channels, channels, layers, batch_first=True)
        self.fast = False

    @property
    def recurrent(self) -> bool:
        return True

    def span(self, span: Span) -> Span:
        return span

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        shape = (batch, self.rnn.num_layers, self.rnn.hidden_size)
        return {name: torch.zeros(shape, device=device) for name in ("hidden", "cell")}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if self.fast and fast.runs_on(x):
            first = state["hidden"], state["cell"]
            y, hidden, cell = lstm(x.transpose(1, 2), first, self.rnn, fast.products_in_bf16())
            return y.transpose(1, 2), {"hidden": hidden, "cell": cell}
        before = tuple(state[name].transpose(0, 1).contiguous() for name in ("hidden", "cell"))
        y, (hidden, cell) = self.rnn(x.transpose(1, 2), before)
        after = {"hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1)}
        return y.transpose(1, 2), after

    def exported(self) -> Streaming:
        return FoldedLSTM(self)


class FoldedLSTM(Streaming):
    """`LSTM` with one ONNX operator per layer in an exported graph.

    PyTorch's own export makes the number of time steps a constant. The order of the gates is input,
    output, forget, cell in ONNX, and input, forget, cell, output in PyTorch.
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

    def emit(self, part: Part, x: Value) -> Value:
        return emit_layers(part, x, "lstm", self.lstm.rnn)

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
