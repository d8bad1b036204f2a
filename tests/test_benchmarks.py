"""What the benchmarks ask for exists: models, bitrates, metrics."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

from chirrup.evaluate.metrics import METRICS
from chirrup.evaluate.peers import find
from chirrup.lab.complexity import nominal_latency_samples
from chirrup.lab.models import Model, build
from chirrup.lab.training.config import load_recipe

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def spectrostream(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # the script sets them: so that they are as before afterwards
    module = import_module("spectrostream")
    for name in ("spectrostream", "shared"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return module


def variants(script: ModuleType, experiment: str) -> dict[str, Model]:
    """By name; each of another configuration, for few steps."""
    built = {}
    for name, change in script.VARIANTS[experiment].items():
        config = load_recipe(script.RECIPE, [f"model_changes.{change}", *script.SHORT])
        assert config.steps == 3000
        with torch.device("meta"):
            built[name] = build(config.model, **config.model_changes)
    assert len({model.config for model in built.values()}) == len(built)
    assert build("spectro-small").config in [model.config for model in built.values()]
    return built


def test_where_channels_are_joined_is_varied(spectrostream: ModuleType) -> None:
    models = variants(spectrostream, "fusion")
    assert [model.config.separate_levels for model in models.values()] == [5, 6, 7]
    assert list(models) == ["separate-5", "separate-6", "separate-7"]


def test_what_the_decoder_waits_for_is_varied(spectrostream: ModuleType) -> None:
    """By whole embeddings of 40 ms, beside that of the code and 10 ms of the spectrogram."""
    models = variants(spectrostream, "look-ahead")
    latencies_ms = {name: nominal_latency_samples(model) / 48 for name, model in models.items()}
    assert latencies_ms == {f"look-ahead-{ahead}ms": 50 + ahead for ahead in (0, 40, 80, 120)}


def test_bitrates_codecs_and_metrics_are_there(spectrostream: ModuleType) -> None:
    model = build("spectro-small")
    for rate_bps in (*spectrostream.RATES, *spectrostream.SWEEP):
        assert 1 <= rate_bps / model.codebook_bps <= model.codebooks
        assert rate_bps % model.codebook_bps == 0
    for text in spectrostream.PEERS:
        name, _, rates = text.partition("@")
        wanted = {1000 * int(rate.removesuffix("k")) for rate in rates.split(",")}
        assert wanted <= set(find(name).bitrates_bps)
    assert set(spectrostream.SCORES) <= set(METRICS)
