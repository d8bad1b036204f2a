"""Recurrent layers: GRU and LSTM of one or more layers, forward in time."""

import torch
from torch import Tensor, nn

from chirrup.lab import fast
from chirrup.lab.fast.gru import gru
from chirrup.lab.nn.streaming import State, Streaming


class GRU(Streaming):
    """Gated recurrent unit over ``[batch, channels, time]``; the state is the hidden vector."""

    def __init__(self, in_channels: int, channels: int, layers: int = 1) -> None:
        super().__init__()
        self.rnn = nn.GRU(in_channels, channels, layers, batch_first=True)
        self.fast = False

    @property
    def recurrent(self) -> bool:
        return True

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        shape = (batch, self.rnn.num_layers, self.rnn.hidden_size)
        return {"hidden": torch.zeros(shape, device=device)}

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

    @property
    def recurrent(self) -> bool:
        return True

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        shape = (batch, self.rnn.num_layers, self.rnn.hidden_size)
        return {name: torch.zeros(shape, device=device) for name in ("hidden", "cell")}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        before = tuple(state[name].transpose(0, 1).contiguous() for name in ("hidden", "cell"))
        y, (hidden, cell) = self.rnn(x.transpose(1, 2), before)
        after = {"hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1)}
        return y.transpose(1, 2), after
