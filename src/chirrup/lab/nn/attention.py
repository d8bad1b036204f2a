"""A streaming transformer with chunked attention, as in FocalCodec-Stream (arXiv 2509.16195).

The layers are WavLM's (arXiv 2110.13900). A frame attends to all frames of its chunk, also
to later ones, and to earlier frames, at most ``window`` frames in total. The state contains the
keys and values of the last ``window - chunk`` frames, in order of time, and ``seen``, the number of
frames in it that exist.
"""

from math import log

import torch
from torch import Tensor, nn

from chirrup.lab.fast.gated_softmax import gated_softmax
from chirrup.lab.nn.linear import FeedForward
from chirrup.lab.nn.norm import LayerNorm
from chirrup.lab.nn.streaming import Span, State, Streaming

FAST_TYPES = (torch.float32, torch.bfloat16)


class Attention(Streaming):
    """Self-attention over past and current frames with a gated relative position bias (WavLM).

    Each head computes two gates a and b from its channels of the input. The factor of
    `RelativeBias` is a (b s - 1) + 2, where s is a trained scale of the head.
    """

    def __init__(self, channels: int, heads: int, past: int) -> None:
        super().__init__()
        self.heads, self.past = heads, past
        self.head_dim = channels // heads
        self.project_in = nn.Linear(channels, 3 * channels)
        self.project_out = nn.Linear(channels, channels)
        self.gates = nn.Linear(self.head_dim, 8)
        self.scale = nn.Parameter(torch.ones(heads, 1, 1))
        self.fast = False

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        shape = (batch, self.heads, self.past, self.head_dim)
        return {name: torch.zeros(shape, device=device) for name in ("keys", "values")}

    def attend(self, x: Tensor, bias: Tensor, mask: Tensor, state: State) -> tuple[Tensor, State]:
        """Compute the attention of the frames of a call.

        Args:
            x: ``[batch, frames, channels]``.
            bias: relative position bias, ``[heads, frames, keys]``. The keys belong to the last
                steps of past and current frames.
            mask: added to the scores, ``[batch, 1, frames, keys]``.
            state: keys and values of the past.

        Returns:
            The output, ``[batch, frames, channels]``, and the new state.
        """
        gates = self.gates(self._by_head(x)).unflatten(3, (2, 4)).sum(4).sigmoid()
        first, second = gates[..., :1], gates[..., 1:]
        gates = first * (second * self.scale - 1) + 2
        queries, keys, values = map(self._by_head, self.project_in(x).chunk(3, dim=2))
        lines = {
            name: torch.cat([state[name], new], dim=2)
            for name, new in (("keys", keys), ("values", values))
        }
        after = {
            name: line[:, :, line.shape[2] - self.past :].clone() for name, line in lines.items()
        }
        if mask.shape[3] > x.shape[1]:
            keys, values = lines["keys"], lines["values"]
        if self.fast and x.dtype in FAST_TYPES:
            scores = (queries * self.head_dim**-0.5) @ keys.transpose(2, 3)
            weights = gated_softmax(scores, bias, gates, mask)
        else:
            scores = (queries * self.head_dim**-0.5) @ keys.transpose(2, 3)
            weights = (scores + (bias * gates + mask)).softmax(dim=3)
        y = weights @ values
        return self.project_out(y.transpose(1, 2).flatten(2)), after

    def _by_head(self, x: Tensor) -> Tensor:
        """``[batch, frames, channels]`` to ``[batch, heads, frames, head_dim]``."""
        return x.unflatten(2, (self.heads, self.head_dim)).transpose(1, 2)


class RelativeBias(nn.Module):
    """A trained bias per head for buckets of distances between query and key (T5, WavLM).

    Half of the buckets is for keys after the query. In each half, the first half of the buckets is
    for one distance each; the buckets of the second half grow logarithmically up to
    ``max_distance``.
    """

    bucket: Tensor

    def __init__(self, heads: int, buckets: int, max_distance: int, window: int) -> None:
        super().__init__()
        self.furthest = window
        self.table = nn.Embedding(buckets, heads)
        nn.init.normal_(self.table.weight, std=0.02)
        half, exact = buckets // 2, buckets // 4
        bucket = []
        for distance in range(-window, window + 1):
            size = abs(distance)
            if size >= exact:
                growth = log(size / exact) / log(max_distance / exact)
                size = min(half - 1, exact + int(growth * (half - exact)))
            bucket.append(size + (half if distance > 0 else 0))
        self.register_buffer("bucket", torch.tensor(bucket), persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        """Return the bias ``[heads, queries, keys]`` for ``distance [queries, keys]``.

        The distance is the position of the key minus the position of the query.
        """
        index = distance.clamp(-self.furthest, self.furthest) + self.furthest
        return self.table(self.bucket[index]).permute(2, 0, 1)


class TransformerLayer(Streaming):
    """Attention and a feed-forward part, both with pre-normalisation and a skip connection."""

    def __init__(self, channels: int, heads: int, hidden: int, past: int) -> None:
        super().__init__()
        self.norm = LayerNorm(channels)
        self.attention = Attention(channels, heads, past)
        self.feed_forward = FeedForward(channels, hidden, LayerNorm(channels))

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        return self.attention.initial_state(batch, device)

    def attend(self, x: Tensor, bias: Tensor, mask: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the layer on ``x [batch, channels, frames]``; see `Attention.attend`."""
        y, after = self.attention.attend(self.norm(x, {})[0].transpose(1, 2), bias, mask, state)
        return self.feed_forward.offline(x + y.transpose(1, 2)), after


class Transformer(Streaming):
    """Transformer layers that share one `RelativeBias`.

    A call takes a whole number of chunks, and starts at the first frame of a chunk.
    """

    def __init__(
        self,
        channels: int,
        *,
        layers: int,
        heads: int,
        hidden: int,
        chunk: int,
        window: int,
        buckets: int,
        max_distance: int,
    ) -> None:
        super().__init__()
        self.chunk, self.window, self.past = chunk, window, window - chunk
        self.bias = RelativeBias(heads, buckets, max_distance, window)
        self.layers = nn.ModuleList(
            TransformerLayer(channels, heads, hidden, self.past) for _ in range(layers)
        )
        self.fast = False

    def layer(self, index: int) -> TransformerLayer:
        layer = self.layers[index]
        assert isinstance(layer, TransformerLayer)
        return layer

    def span(self, span: Span) -> Span:
        first, last = span
        for _ in self.layers:
            last = (last // self.chunk + 1) * self.chunk - 1
            first = (first // self.chunk + 1) * self.chunk - self.window
        return first, last

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        state = {"seen": torch.zeros(batch, 1, 1, 1, device=device)}
        for index in range(len(self.layers)):
            own = self.layer(index).initial_state(batch, device)
            state.update({f"{index}.{name}": value for name, value in own.items()})
        return state

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        layers, after = self.by_layer(x, state)
        return layers[-1], after

    def by_layer(self, x: Tensor, state: State) -> tuple[list[Tensor], State]:
        """Return ``x`` and the output of each layer, and the new state.

        If no row has a past yet, the fast form leaves out its keys, whose weights are zero.
        """
        frames, layers = x.shape[2], [x]
        past = self.past
        if self.fast and x.dtype in FAST_TYPES and not state["seen"].any():
            past = 0
        query = torch.arange(frames, device=x.device)[:, None]
        key = torch.arange(-past, frames, device=x.device)
        end = (query // self.chunk + 1) * self.chunk
        inside = (key < end) & (key >= end - self.window)
        there = key >= -state["seen"]
        mask = torch.where(inside & there, 0.0, float("-inf")).to(x.dtype)
        bias = self.bias(key - query)
        after = {"seen": (state["seen"] + frames).clamp(max=self.past)}
        for index in range(len(self.layers)):
            own = {name: state[f"{index}.{name}"] for name in ("keys", "values")}
            y, new = self.layer(index).attend(layers[-1], bias, mask, own)
            layers.append(y)
            after.update({f"{index}.{name}": value for name, value in new.items()})
        return layers, after
