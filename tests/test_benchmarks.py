"""What the benchmarks ask for exists: models, bitrates, metrics."""

import sys
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from chirrup.evaluate.metrics import METRICS
from chirrup.evaluate.peers import find
from chirrup.evaluate.results import RESULTS, Results, Row
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


def made_up(system: str, scores: dict[str, float | None]) -> list[Row]:
    """Rows of ``NAME@BPS,BPS,...``, the same scores in each."""
    name, _, rates = system.partition("@")
    return [
        Row(
            Path(name).name,
            name,
            True,
            "",
            int(rate),
            "clean",
            "a",
            "a",
            1.0,
            1,
            1.0,
            1.0,
            0.0,
            scores,
        )
        for rate in rates.split(",")
    ]


def test_an_experiment_trains_exports_and_compares_its_variants(
    spectrostream: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands: list[list[str]] = []
    scores: dict[str, float | None] = {
        name: 1.25 + place for place, name in enumerate(spectrostream.SCORES)
    }

    def run(*arguments: object, module: str = "chirrup") -> None:
        assert module == "chirrup"
        words = list(map(str, arguments))
        commands.append(words)
        if words[0] == "evaluate":
            systems = [after for word, after in pairwise(words) if word == "-c"]
            rows = [row for system in systems for row in made_up(system, scores)]
            Results({}, rows).write(Path(words[-1]) / RESULTS)

    late = SimpleNamespace(latency_samples=4320, sample_rate_hz=48_000)
    monkeypatch.setattr(spectrostream, "run", run)
    monkeypatch.setattr(spectrostream.chirrup, "load", lambda _: late)
    options = ["--out", str(tmp_path), "--processes", "1"]
    monkeypatch.setattr(sys, "argv", ["", "fusion", "stages.0.steps=7", *options])
    (tmp_path / "fusion").mkdir()
    spectrostream.main()
    trained = [words for words in commands if words[0] == "train"]
    for words, levels in zip(trained, (5, 6, 7), strict=True):
        config = load_recipe(Path(words[1]), words[4:])
        assert config.steps == 2007
        assert config.model_changes == {"separate_levels": levels}
    exported = {words[1]: words[2] for words in commands if words[0] == "export"}
    assert list(exported) == [words[3] for words in trained]
    shown = capsys.readouterr().out
    for folder in exported.values():
        (line,) = (line for line in shown.splitlines() if f" {Path(folder).name} " in line)
        means = [f"{score:.{METRICS[name].digits}f}" for name, score in scores.items()]
        assert all(f" {mean} (" in line for mean in means), line
        assert " 90 " in line
