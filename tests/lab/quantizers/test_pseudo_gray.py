"""Codebooks in a pseudo-Gray order: similar entries at indices that differ in one bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from chirrup.errors import ModelError
from chirrup.lab.export import export as exporting
from chirrup.lab.models import Model
from chirrup.lab.quantizers.bsq import BinarySphericalQuantizer
from chirrup.lab.quantizers.ema import PlainEMALevel
from chirrup.lab.quantizers.level import Level
from chirrup.lab.quantizers.pseudo_gray import (
    bit_error_distortion,
    order_codebooks,
    pseudo_gray_order,
)
from chirrup.lab.quantizers.rvq import ResidualVectorQuantizer
from chirrup.lab.quantizers.simvq import SimVQLevel
from small_model import RATE_HZ, small_iris, speech_like


def slow_distortion(vectors: np.ndarray) -> float:
    bits = (len(vectors) - 1).bit_length()
    pairs = [(i, i ^ (1 << bit)) for i in range(len(vectors)) for bit in range(bits)]
    pairs = [(i, j) for i, j in pairs if j < len(vectors)]
    return float(np.mean([np.sum((vectors[i] - vectors[j]) ** 2) for i, j in pairs]))


@pytest.mark.parametrize("size", [2, 64, 100])
def test_the_order_is_a_permutation_that_no_exchange_improves(size: int) -> None:
    vectors = np.random.default_rng(size).standard_normal((size, 3))
    order = pseudo_gray_order(vectors)
    assert sorted(order) == list(range(size))
    best = slow_distortion(vectors[order])
    assert bit_error_distortion(vectors[order]) == pytest.approx(best)
    assert size == 2 or best < 0.6 * slow_distortion(vectors)
    for first in range(0, size, 7):
        for second in range(first):
            changed = order.copy()
            changed[[first, second]] = order[[second, first]]
            assert slow_distortion(vectors[changed]) > best * (1 - 1e-9)


@pytest.mark.parametrize("level", [Level, PlainEMALevel, SimVQLevel])
def test_a_quantizer_gives_the_same_latents(level: type[Level]) -> None:
    torch.manual_seed(0)
    dim, code_dim = 6, 6 if level is PlainEMALevel else 3
    quantizer = ResidualVectorQuantizer(dim, 3, 32, code_dim, level).double()
    quantizer.fold()
    latents = torch.randn(2, dim, 9, dtype=torch.double)
    before = quantizer.encode(latents)
    expected = quantizer.decode(before)
    for old, new in order_codebooks(quantizer):
        assert new < 0.8 * old
    after = quantizer.encode(latents)
    assert not torch.equal(before, after)
    assert_close(quantizer.decode(after), expected)


def test_a_quantizer_without_codebooks_is_refused() -> None:
    with pytest.raises(ModelError, match="no trained codebooks"):
        order_codebooks(BinarySphericalQuantizer(4))


@torch.no_grad()
def test_an_export_searches_and_looks_up_in_the_same_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    exported: list[Any] = []

    def keep(folder: Path, graphs: Model, description: dict[str, Any], *_: object) -> Any:
        exported.append((graphs, description.get("index_order")))
        return {"parity": {"codes_equal": 1.0, "audio_error_db": -100.0}}

    monkeypatch.setattr(exporting, "graphs_of", lambda folded: folded)
    monkeypatch.setattr(exporting, "program_if_any", lambda folded: None)
    monkeypatch.setattr(exporting, "write", keep)
    clip = speech_like(RATE_HZ // 2, seed=5)
    codes, sounds = [], []
    for pseudo_gray in (False, True):
        exporting.export(small_iris(), "small", tmp_path, clip, pseudo_gray=pseudo_gray)
        folded, order = exported.pop()
        assert order == ("pseudo-gray" if pseudo_gray else None)
        states = exporting.initial_states(folded)
        encoder, decoder = exporting.for_export(folded)
        codes.append(encoder(torch.from_numpy(clip)[None], *states["encoder"].values())[0])
        sounds.append(decoder(codes[-1], *states["decoder"].values())[0])
    assert (codes[0] != codes[1]).float().mean() > 0.9
    assert_close(*sounds, atol=1e-5, rtol=0)


def test_the_order_of_one_codebook_is_found_in_the_latent() -> None:
    """Distances count after the output projection, which may weigh directions differently."""
    torch.manual_seed(1)
    quantizer = ResidualVectorQuantizer(4, 1, 64, 2).double()
    (level,) = quantizer.trained_levels
    quantizer.fold()
    order_codebooks(quantizer)
    latent = (level.entries() @ level.project_out.weight[:, :, 0].T).detach().numpy()
    mixed = np.random.default_rng(0).permutation(latent)
    assert bit_error_distortion(latent) < 0.5 * bit_error_distortion(mixed)
