"""The filter bank: nearly perfect reconstruction, its delay, its bands, and streaming."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from chirrup.lab.nn import Analysis, Parallel, Sequential, Synthesis
from chirrup.lab.nn.pqmf import BETA, TAPS, bank, best_cutoff, prototype, ripple

BANDS = 16


def noise(steps: int, seed: int = 0, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 1, steps * BANDS, generator=generator)


def snr_db(signal: Tensor, estimate: Tensor) -> float:
    error = (estimate - signal).square().mean()
    return float(10 * torch.log10(signal.square().mean() / error))


def test_reconstruction() -> None:
    model = Sequential(Analysis(BANDS), Synthesis(BANDS))
    x = noise(1000)
    y, delay = model.offline(x), int(model.delay)
    assert y.shape == x.shape
    assert snr_db(x[:, :, :-delay], y[:, :, delay:]) > 60


def test_delay_is_that_of_the_best_reconstruction() -> None:
    """The delay is the filters' 256 samples less the 15 samples that a hop waits anyway."""
    model = Sequential(Analysis(BANDS), Synthesis(BANDS))
    assert model.delay == TAPS - BANDS == 241
    assert model.ratio == 1
    x = noise(500)
    y = model.offline(x)
    scores = {late: snr_db(x[:, :, :-late], y[:, :, late:]) for late in range(230, 252)}
    assert max(scores, key=lambda late: scores[late]) == 241
    assert scores[240] < 0


@pytest.mark.parametrize("bands", [4, 8, 16, 32])
def test_cutoff_is_that_of_least_ripple(bands: int) -> None:
    best = best_cutoff(bands)
    grid = np.linspace(0.3, 1.2, 1001) / bands
    assert ripple(best, bands) <= min(ripple(cutoff, bands) for cutoff in grid)
    if bands == BANDS:
        assert best == pytest.approx(0.03536, abs=5e-6)


def test_bands_are_apart() -> None:
    """Outside its own band and the neighbouring bands a filter is below -90 dB."""
    assert (TAPS, BETA) == (257, 9.0)
    response = np.abs(np.fft.rfft(prototype(best_cutoff(BANDS)), 1 << 14))
    frequency = np.linspace(0, 1, len(response))
    assert response[0] == pytest.approx(1, abs=1e-3)
    assert 20 * np.log10(response[frequency > 1 / BANDS].max()) < -90
    filters = np.abs(np.fft.rfft(bank(BANDS, 1), 1 << 14))
    assert list((filters.argmax(1) / (len(response) - 1) * BANDS).astype(int)) == list(range(BANDS))


def test_a_tone_is_in_its_band() -> None:
    time = torch.arange(400 * BANDS)
    tone = torch.sin(torch.pi * (5 + 0.5) / BANDS * time)[None, None]
    power = Analysis(BANDS).offline(tone)[0, :, 50:].square().mean(1)
    assert int(power.argmax()) == 5
    others = torch.cat([power[:4], power[7:]])
    assert float(others.max() / power[5]) < 1e-8


def test_shares_of_the_bands_add_up() -> None:
    """The syntheses of two disjoint sets of bands add up to the synthesis of all bands."""
    core, upper = range(12), range(12, BANDS)
    x = noise(200)
    bands = Analysis(BANDS).offline(x)
    assert torch.equal(Analysis(BANDS, core).offline(x), bands[:, :12])
    whole = Synthesis(BANDS).offline(bands)
    low, high = (
        Synthesis(BANDS, kept).offline(share)
        for kept, share in zip((core, upper), bands.split((12, 4), dim=1), strict=True)
    )
    assert_close(low + high, whole, rtol=1e-5, atol=1e-5)
    spectrum = torch.fft.rfft(high[0, 0] * torch.hann_window(x.shape[2])).abs().square()
    assert float(spectrum[: len(spectrum) * 11 // 16].sum() / spectrum.sum()) < 1e-8


LAYERS = {
    "analysis": (1, Analysis(BANDS)),
    "synthesis": (BANDS, Synthesis(BANDS)),
    "both": (1, Sequential(Analysis(BANDS), Synthesis(BANDS))),
    "some bands": (1, Sequential(Analysis(BANDS, range(12)), Synthesis(BANDS, range(12)))),
    "side by side": (
        1,
        Sequential(
            Analysis(BANDS),
            Parallel((12, 4), Synthesis(BANDS, range(12)), Synthesis(BANDS, range(12, BANDS))),
        ),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
@given(steps=st.lists(st.integers(1, 9), min_size=2, max_size=8), seed=st.integers(0, 2**32))
@settings(max_examples=10)
def test_chunks_equal_offline_only_with_the_state(name: str, steps: list[int], seed: int) -> None:
    channels, model = LAYERS[name]
    unit = 1 if name == "synthesis" else BANDS
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, channels, sum(steps) * unit, generator=generator)
    whole = model.offline(x)
    assert whole.shape[2] * model.ratio == x.shape[2]

    def stream(forget: str | None) -> Tensor:
        state, pieces = model.initial_state(2), []
        for chunk in x.split([step * unit for step in steps], dim=2):
            if forget:
                state = state | {forget: model.initial_state(2)[forget]}
            piece, state = model(chunk, state)
            pieces.append(piece)
        return torch.cat(pieces, dim=2)

    assert_close(stream(None), whole, rtol=1e-5, atol=1e-5)
    for key in model.initial_state(1):
        assert (stream(key) - whole).abs().max() > 1e-7, f"{key} could be left out"
