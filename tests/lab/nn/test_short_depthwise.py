"""`ShortDepthwise` equals a long depthwise convolution of few steps."""

from dataclasses import replace

import torch

from chirrup.lab.export.folding import for_export, for_one_frame
from chirrup.lab.models.focalcodec import FocalCodec
from chirrup.lab.nn import ReplicatedConv1d, State
from chirrup.lab.nn.replicated import LONG, ShortDepthwise
from small_focal import CONFIG


def test_it_is_the_convolution_step_by_step() -> None:
    torch.manual_seed(0)
    layer = ReplicatedConv1d(6, 6, 80, groups=6)
    short = ShortDepthwise(layer)
    state: State = layer.initial_state(2)
    other = short.initial_state(2)
    for _ in range(30):
        x = torch.randn(2, 6, 4)
        expected, state = layer(x, state)
        got, other = short(x, other)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
        assert all(torch.equal(other[name], state[name]) for name in state)


def test_only_long_ones_of_each_channel_are_taken_apart() -> None:
    def taken_apart(kernel_size: int, groups: int) -> bool:
        layer = ReplicatedConv1d(6, 6, kernel_size, groups=groups)
        return isinstance(layer.one_frame(), ShortDepthwise)

    assert taken_apart(LONG + 1, groups=6)
    assert not taken_apart(LONG, groups=6)
    assert not taken_apart(LONG + 1, groups=2)


@torch.no_grad()
def test_graphs_of_one_chunk_are_those_of_any_length() -> None:
    torch.manual_seed(0)
    model = FocalCodec(replace(CONFIG, focal_kernels=(4, 6, 100))).eval().requires_grad_(False)
    inputs = (torch.randn(1, 4 * 320), torch.randint(0, 2**16, (1, 1, 4)).int())
    for graph, x, part in zip(for_export(model), inputs, (model.encoder, model.decoder)):
        one = for_one_frame(graph)
        assert sum(isinstance(module, ShortDepthwise) for module in one.modules()) == 1
        assert not any(isinstance(module, ShortDepthwise) for module in graph.modules())
        states = list(part.initial_state(1).values())
        for got, expected in zip(one(x, *states), graph(x, *states), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
