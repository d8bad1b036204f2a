"""Every streaming layer gives equal output in chunks and in one call, for any cuts."""

import copy
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import lcm

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chirrup.lab.models.iris import ConvNeXtBlock, Iris, IrisConfig
from chirrup.lab.models.lrac import Block, Lrac, LracConfig, Unit, units
from chirrup.lab.nn import (
    GRU,
    ISTFT,
    LSTM,
    STFT,
    Conv1d,
    ConvTranspose1d,
    Delay,
    LayerNorm,
    Residual,
    Scale,
    Sequential,
    SnakeBeta,
    State,
    Stateless,
    Streaming,
)
from rounding import same

SMALL_IRIS = IrisConfig(
    encoder_dim=4,
    encoder_groups=2,
    latent_dim=8,
    decoder_dim=6,
    decoder_hidden_dim=10,
    strides=(2, 3),
    codebooks=2,
    codebook_size=16,
    code_dim=4,
    decoder_blocks=2,
    decoder_kernel_size=5,
)

SMALL_LRAC = LracConfig(
    encoder=(
        Block(3, 2, units(3, (1, 3))),
        Block(4, 3, (Unit(3, 2, centred_1=True), Unit(3, 1, 3, centred_2=True))),
    ),
    decoder=(Block(4, 3, (Unit(3, 2, centred_1=True),)), Block(3, 2, units(3, (1, 2), 3))),
    latent_dim=5,
    code_dim=2,
    codebooks=2,
    codebook_size=16,
)


def centred(channels: int, kernel_size: int, dilation: int = 1, stride: int = 1) -> Conv1d:
    ahead = (kernel_size - 1) * dilation // 2
    return Conv1d(
        channels, channels, kernel_size, dilation=dilation, stride=stride, look_ahead=ahead
    )


# Number of input channels, and a function that builds the layer.
LAYERS: dict[str, tuple[int, Callable[[], Streaming]]] = {
    "conv": (2, lambda: Conv1d(2, 3, 5)),
    "conv 1x1": (2, lambda: Conv1d(2, 3, 1)),
    "conv stride = kernel": (2, lambda: Conv1d(2, 3, 4, stride=4)),
    "conv stride": (2, lambda: Conv1d(2, 3, 8, stride=4, normalise_weight=True)),
    "conv dilation": (2, lambda: Conv1d(2, 3, 3, dilation=7, bias=False)),
    "conv stride and dilation": (2, lambda: Conv1d(2, 3, 3, stride=3, dilation=5)),
    "conv groups": (4, lambda: Conv1d(4, 6, 3, groups=2)),
    "conv depthwise": (4, lambda: Conv1d(4, 4, 7, groups=4)),
    "conv look-ahead": (2, lambda: Conv1d(2, 3, 5, look_ahead=1)),
    "conv centred": (2, lambda: centred(2, 5, dilation=3)),
    "conv centred with stride": (2, lambda: centred(2, 5, stride=2)),
    "transposed kernel = stride": (2, lambda: ConvTranspose1d(2, 3, 3, stride=3)),
    "transposed kernel > stride": (2, lambda: ConvTranspose1d(2, 3, 5, stride=3)),
    "transposed kernel = 2 stride": (
        2,
        lambda: ConvTranspose1d(2, 3, 8, stride=4, normalise_weight=True),
    ),
    "transposed kernel >> stride": (2, lambda: ConvTranspose1d(2, 3, 11, stride=2, bias=False)),
    "gru": (3, lambda: GRU(3, 4)),
    "gru, 2 layers": (3, lambda: GRU(3, 4, layers=2)),
    "lstm": (3, lambda: LSTM(3, 4)),
    "lstm, 2 layers": (3, lambda: LSTM(3, 4, layers=2)),
    "layer norm": (4, lambda: LayerNorm(4)),
    "scale": (4, lambda: Scale(4, 0.1)),
    "snake": (4, lambda: SnakeBeta(4)),
    "stateless": (4, lambda: Stateless(nn.ELU())),
    "delay": (2, lambda: Delay(2, 7)),
    "delay 0": (2, lambda: Delay(2, 0)),
    "residual": (3, lambda: Residual(3, Sequential(SnakeBeta(3), Conv1d(3, 3, 7, dilation=3)))),
    "residual centred": (3, lambda: Residual(3, Sequential(SnakeBeta(3), centred(3, 5, 3)))),
    "stft": (1, lambda: STFT(16, 8)),
    "stft, 75 % overlap": (1, lambda: STFT(16, 4)),
    "istft": (2 * 9, lambda: ISTFT(16)),
    "stft and istft": (1, lambda: Sequential(STFT(12, 6), ISTFT(12))),
    "down and up": (
        2,
        lambda: Sequential(Conv1d(2, 4, 6, stride=3), ConvTranspose1d(4, 2, 6, stride=3)),
    ),
    "down 3, up 2": (
        2,
        lambda: Sequential(Conv1d(2, 4, 6, stride=3), ConvTranspose1d(4, 2, 3, stride=2)),
    ),
    "convnext": (4, lambda: ConvNeXtBlock(4, 6, 5)),
    "iris encoder": (1, lambda: Iris(SMALL_IRIS).encoder),
    "iris decoder": (8, lambda: Iris(SMALL_IRIS).decoder),
    "iris decoder, convnext": (
        8,
        lambda: Iris(replace(SMALL_IRIS, decoder_block="convnext")).decoder,
    ),
    "lrac encoder": (1, lambda: Lrac(SMALL_LRAC).encoder),
    "lrac decoder": (5, lambda: Lrac(SMALL_LRAC).decoder),
}
STATEFUL = [name for name, (_, build) in LAYERS.items() if build().initial_state(1)]

every_layer = pytest.mark.parametrize("name", LAYERS)
FINITE = [name for name, (_, build) in LAYERS.items() if not build().recurrent]


@cache
def layer(name: str) -> Streaming:
    """Return the layer with random values added to all parameters."""
    torch.manual_seed(0)
    built = LAYERS[name][1]()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter)).requires_grad_(False)
    return built


def shortest_chunk(model: Streaming) -> int:
    """Return the shortest chunk, in input steps, for which all layers output whole steps."""
    shortest, scale = 1, Fraction(1)
    for part in model.layers if isinstance(model, Sequential) else [model]:
        scale *= part.ratio
        shortest = lcm(shortest, scale.numerator)
    return shortest


def signal(name: str, steps: int, seed: int = 0, batch: int = 2) -> Tensor:
    """Return noise of ``steps`` shortest chunks of the layer."""
    generator = torch.Generator().manual_seed(seed)
    length = steps * shortest_chunk(layer(name))
    return torch.randn(batch, LAYERS[name][0], length, generator=generator)


def stream(name: str, x: Tensor, steps: list[int], forget: str | None = None) -> Tensor:
    """Run the layer chunk by chunk; the state ``forget`` restarts with every chunk."""
    model, outputs = layer(name), []
    state = model.initial_state(len(x))
    for chunk in x.split([step * shortest_chunk(model) for step in steps], dim=2):
        if forget:
            state = state | {forget: model.initial_state(len(x))[forget]}
        y, state = model(chunk, state)
        outputs.append(y)
    return torch.cat(outputs, dim=2)


@every_layer
@given(steps=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=st.integers(0, 2**32))
@settings(max_examples=12)
def test_chunks_equal_offline(name: str, steps: list[int], seed: int) -> None:
    x = signal(name, sum(steps), seed)
    whole = layer(name).offline(x)
    assert whole.shape[2] * layer(name).ratio == x.shape[2]
    same(stream(name, x, steps), whole)


@every_layer
def test_rows_are_independent(name: str) -> None:
    x = signal(name, 12, batch=3)
    alone = [stream(name, row[None], [5, 7]) for row in x]
    same(stream(name, x, [4, 8]), torch.cat(alone))


@pytest.mark.parametrize("name", STATEFUL)
def test_every_state_matters(name: str) -> None:
    """Negative control: if any state is forgotten between chunks, the output differs."""
    x = signal(name, 12)
    whole = layer(name).offline(x)
    for key in layer(name).initial_state(1):
        error = (stream(name, x, [4, 3, 5], forget=key) - whole).abs().max()
        assert error > 1e-4, f"{key} could be left out"


def test_layers_without_memory_have_no_state() -> None:
    assert {"conv 1x1", "conv stride = kernel", "transposed kernel = stride", "delay 0"} | {
        "layer norm",
        "scale",
        "snake",
        "stateless",
    } == set(LAYERS) - set(STATEFUL)


@pytest.mark.parametrize("name", STATEFUL)
def test_state_is_batch_first_and_shares_no_memory(name: str) -> None:
    model = layer(name)
    x, before = signal(name, 7, batch=3), model.initial_state(3)
    kept = x.clone(), copied(before)
    y, after = model(x, before)
    output, state = y.clone(), copied(after)
    assert {k: v.shape for k, v in after.items()} == {k: v.shape for k, v in before.items()}
    assert all(value.shape[0] == 3 for value in after.values())
    for value in after.values():
        assert value.untyped_storage().nbytes() == value.numel() * value.element_size(), (
            "a state keeps a longer signal in memory"
        )
    x.add_(1)
    y.add_(1)
    for value in before.values():
        value.add_(1)
    assert all(torch.equal(after[key], state[key]) for key in state)

    x, before = kept
    y, after = model(x, before)
    for value in after.values():
        value.add_(1)
    assert torch.equal(y, output)
    assert torch.equal(x, signal(name, 7, batch=3))
    assert all(not value.any() for value in before.values())


@pytest.mark.parametrize("name", STATEFUL)
def test_snapshot_and_restore(name: str) -> None:
    """A stream continues correctly from a saved state; no other state exists."""
    model = layer(name)
    first, second, other = (signal(name, 6, seed) for seed in range(3))
    _, snapshot = model(first, model.initial_state(2))
    kept = copied(snapshot)
    expected, _ = model(second, snapshot)
    model(other, model(other, snapshot)[1])
    assert torch.equal(model(second, snapshot)[0], expected)
    assert torch.equal(model(second, kept)[0], expected)


def copied(state: State) -> State:
    return {key: value.clone() for key, value in state.items()}


@given(
    stride=st.integers(1, 4), dilation=st.integers(1, 5), extra=st.integers(0, 4), steps=st.just(9)
)
@settings(max_examples=20)
def test_causal_convolution_is_padded_on_the_left(
    stride: int, dilation: int, extra: int, steps: int
) -> None:
    model = Conv1d(2, 3, stride + extra, stride=stride, dilation=dilation)
    x = torch.randn(2, 2, steps * stride)
    padded = F.pad(x, ((stride + extra - 1) * dilation + 1 - stride, 0))
    weight, bias = model.conv.weight, model.conv.bias
    same(model.offline(x), F.conv1d(padded, weight, bias, stride, dilation=dilation))


@pytest.mark.parametrize(("kernel_size", "dilation"), [(3, 1), (5, 3), (7, 9)])
def test_centred_convolution_is_the_usual_one_late(kernel_size: int, dilation: int) -> None:
    model = centred(2, kernel_size, dilation)
    late = int(model.delay)
    assert late == (kernel_size - 1) * dilation // 2
    x = torch.randn(2, 2, 100)
    usual = F.conv1d(x, model.conv.weight, model.conv.bias, padding=late, dilation=dilation)
    same(model.offline(x)[:, :, late:], usual[:, :, :-late])


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 3), (5, 3), (8, 4), (11, 2)])
def test_transposed_convolution_is_the_usual_one_cropped(kernel_size: int, stride: int) -> None:
    model = ConvTranspose1d(2, 3, kernel_size, stride=stride)
    assert model.bias is not None
    nn.init.normal_(model.bias)
    x = torch.randn(2, 2, 20)
    usual = F.conv_transpose1d(x, model.conv.weight, model.bias[:, 0], stride)
    same(model.offline(x), usual[:, :, : 20 * stride])


def test_residual_of_a_centred_block_adds_the_matching_sample() -> None:
    block = centred(2, 5, 3)
    model = Residual(2, block)
    x = torch.randn(1, 2, 50)
    usual = F.conv1d(x, block.conv.weight, block.conv.bias, padding=6, dilation=3)
    same(model.offline(x)[:, :, 6:], (x + usual)[:, :, :-6])


def test_delay_and_ratio_add_up() -> None:
    model = Sequential(
        centred(1, 5),  # 2 steps late, at the rate of the input
        Conv1d(1, 1, 8, stride=4, look_ahead=3),  # 3 input steps late, then a quarter of the rate
        Residual(1, centred(1, 3, dilation=2)),  # 2 steps late, of 4 samples each
        ConvTranspose1d(1, 1, 2, stride=2),
        Delay(1, 5),  # steps of 2 samples each
    )
    assert model.delay == 2 + 3 + 2 * 4 + 5 * 2
    assert model.ratio == 2
    assert Sequential(model, Delay(1, 1)).delay == model.delay + 2
    assert Sequential(ConvTranspose1d(1, 1, 4, stride=4), Delay(1, 1)).delay == Fraction(1, 4)
    assert Iris(SMALL_IRIS).decoder.delay == Fraction(1, 2)
    lrac = Lrac(SMALL_LRAC)
    assert lrac.encoder.delay == (2 + 1) * 2
    assert lrac.decoder.delay == Fraction(2, 3)
    assert lrac.delay_samples == 6 + 2 * 2


def test_invalid_layers_raise() -> None:
    with pytest.raises(ValueError, match="stride"):
        Conv1d(1, 1, 3, stride=4)
    with pytest.raises(ValueError, match="look_ahead"):
        Conv1d(1, 1, 3, look_ahead=3)
    with pytest.raises(ValueError, match="holes"):
        ConvTranspose1d(1, 1, 2, stride=3)
    with pytest.raises(ValueError, match="rate"):
        Residual(1, Conv1d(1, 1, 2, stride=2))
    up, down = ConvTranspose1d(1, 1, 2, stride=2), Conv1d(1, 1, 2, stride=2)
    assert Residual(1, Sequential(up, Delay(1, 2), down)).delay == 1
    with pytest.raises(ValueError, match="whole number of steps"):
        Residual(1, Sequential(up, Delay(1, 1), down))


@pytest.mark.parametrize("name", FINITE)
def test_span_contains_the_steps_that_an_output_depends_on(name: str) -> None:
    """`span` equals the dependence by gradients, for all steps of a period.

    A window may be zero at one end, and a transform followed by its inverse depends on less than
    its layers' spans.
    """
    built = layer(name)
    period = max(built.ratio.denominator, 1)
    ratio, channels = built.ratio, LAYERS[name][0]
    first = 60 * period // ratio.numerator * ratio.numerator
    length = int((first + 4 * period) * ratio) + 8 * ratio.numerator
    length -= length % lcm(ratio.numerator, 12)
    x = torch.randn(1, channels, length, dtype=torch.double).requires_grad_()
    y = copy.deepcopy(built).double().offline(x).abs().sum(1)[0]
    widths = []
    for step in range(first, first + period):
        (gradient,) = torch.autograd.grad(y[step], x, retain_graph=True)
        used = gradient[0].abs().sum(0).nonzero()[:, 0].tolist()
        low, high = built.span((step, step))
        assert low <= used[0] <= used[-1] <= high
        widths.append((used[-1] - used[0], high - low))
    wider = max(high for _, high in widths) - max(used for used, _ in widths)
    assert 0 <= wider <= (17 if name == "stft and istft" else 1)


def test_a_layer_without_span_raises() -> None:
    class Mean(Conv1d):
        """The span of nine steps."""

        span = Streaming.span

    assert Conv1d(1, 1, 9).span((20, 20)) == (12, 20)
    with pytest.raises(TypeError, match="Mean"):
        Sequential(Mean(1, 1, 9)).span((20, 20))
