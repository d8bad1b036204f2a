"""The map from a teacher's features to the model's dimensions."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from chirrup.lab.training.distillation.feature_distillation import FeatureMap


def features(dim: int = 12, seed: int = 0) -> list[Tensor]:
    """Return two layers in which one channel is a hundred times as large as the others."""
    random = torch.Generator().manual_seed(seed)
    mixed = torch.randn(5, dim, dim, generator=random)[0]
    layers = [mixed @ torch.randn(4, dim, 300, generator=random) + 3 for _ in range(2)]
    for layer in layers:
        layer[:, 0] *= 100
    return layers


def test_fitted_features_have_unit_variance_and_no_mean() -> None:
    for dim in (12, 5):
        fit = FeatureMap(2, 12, dim)
        fit.fit(features())
        for layer in fit(features()):
            assert layer.shape == (4, dim, 300)
            assert_close(layer.mean((0, 2)), torch.zeros(dim), atol=1e-4, rtol=0)
        last = fit(features())[-1]
        assert float(last.transpose(1, 2).flatten(0, 1).var(0).mean()) == pytest.approx(1, rel=1e-3)


def test_all_dimensions_keep_everything_and_fewer_keep_the_main_ones() -> None:
    kept = []
    for dim in range(1, 13):
        fit = FeatureMap(2, 12, dim)
        fit.fit(features())
        kept.append(float(fit.kept))
    assert kept == sorted(kept)
    assert kept[-1] == pytest.approx(1, abs=1e-5)
    assert kept[3] > 4 / 12
    fit = FeatureMap(2, 12, 12)
    fit.fit(features())
    back = torch.linalg.lstsq(fit.directions.T, fit(features())[-1].transpose(1, 2)[0].T).solution
    assert_close(back.T + fit.mean[-1], features()[-1][0].T, rtol=1e-2, atol=1e-2)


def test_large_channels_count_no_more_than_others() -> None:
    fit = FeatureMap(2, 12, 4)
    fit.fit(features())
    small = features()
    for layer in small:
        layer[:, 0] /= 100
    other = FeatureMap(2, 12, 4)
    other.fit(small)
    assert_close(fit(features())[-1].abs(), other(small)[-1].abs(), rtol=1e-2, atol=1e-2)
