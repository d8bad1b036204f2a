"""The models, bitrates and metrics that the benchmarks name exist."""

import re
import sys
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import soundfile
import torch

import small_focal
from benchmark_scripts import scripts  # noqa: F401
from chirrup.evaluate.metrics import METRICS
from chirrup.evaluate.peers import find
from chirrup.evaluate.results import RESULTS, Results, Row
from chirrup.lab.audit.complexity import nominal_latency_samples
from chirrup.lab.models import CONFIGS, Model, build
from chirrup.lab.training.checkpoints import load_checkpoint
from chirrup.lab.training.config import TrainingConfig, load_recipe
from tiny_teachers import write_whisper
from tiny_training import differing, stopped, tiny_config, write_corpus


@pytest.fixture
def spectrostream() -> ModuleType:
    return import_module("spectrostream")


@pytest.fixture
def tqcodec() -> ModuleType:
    return import_module("tqcodec")


def configs(experiment: Any) -> dict[str, TrainingConfig]:
    """Return the configuration of each variant of an experiment."""
    return {
        name: load_recipe(experiment.recipe, [*changes, *experiment.short])
        for name, changes in experiment.variants.items()
    }


def built(config: TrainingConfig) -> Model:
    with torch.device("meta"):
        return build(config.model, **config.model_changes)


def variants(script: ModuleType, experiment: str) -> dict[str, Model]:
    """Return the models of all variants, trained for a few steps."""
    found = configs(script.EXPERIMENTS[experiment])
    assert {config.steps for config in found.values()} == {3000}
    models = {name: built(config) for name, config in found.items()}
    assert len({model.config for model in models.values()}) == len(models)
    assert build("spectro-small").config in [model.config for model in models.values()]
    return models


def test_where_channels_are_joined_is_varied(spectrostream: ModuleType) -> None:
    models = variants(spectrostream, "fusion")
    assert [model.config.separate_levels for model in models.values()] == [5, 6, 7]
    assert list(models) == ["separate-5", "separate-6", "separate-7"]


def test_what_the_decoder_waits_for_is_varied(spectrostream: ModuleType) -> None:
    """The look-ahead is a multiple of 40 ms, in addition to 40 ms of the code and 10 ms of the
    spectrogram."""
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


def test_each_step_of_the_path_to_tqcodec_changes_one_thing(tqcodec: ModuleType) -> None:
    path = configs(tqcodec.PATH)
    assert {config.steps for config in path.values()} == {1800}
    phases = {
        name: {stage.weights.waveform + stage.weights.complex for stage in config.stages[:2]}
        for name, config in path.items()
    }
    assert phases["rvq"] == phases["simvq"] == {0}
    assert all(0 not in phases[name] for name in ("waveform", "imbalanced", "subbands"))
    models = {name: built(config) for name, config in path.items()}
    assert models["rvq"].config != models["simvq"].config == models["waveform"].config
    encoders = [sum(p.numel() for p in model.encoder.parameters()) for model in models.values()]
    assert encoders[0] == encoders[1] == encoders[2] < encoders[3] < encoders[4]
    assert set(tqcodec.SCORES) <= set(METRICS)
    model = models["subbands"]
    assert [round(count * model.codebook_bps) for count in (5, 10, 20)] == list(tqcodec.RATES)


def test_each_change_to_the_flagships_losses_is_one_and_begins_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iris, experiments = import_module("iris"), import_module("experiments")
    experiment = iris.losses()
    recipe, stands = load_recipe(iris.RECIPE), load_checkpoint(iris.START)["step"]
    for name, config in configs(experiment).items():
        before, after = config.stages
        assert before.steps == stands
        assert config.learning_rate_at(stands + 49) == pytest.approx(3e-4, rel=1e-3)
        assert config.learning_rate_at(config.steps) == pytest.approx(5e-5, rel=1e-3)
        usual, now = recipe.stages[-1].weights.model_dump(), after.weights.model_dump()
        assert {term: now[term] for term in now if now[term] != usual[term]} == iris.LOSSES[name]
        assert after.needs_teacher == (config.teacher is not None)
    assert set(experiment.scores) <= set(METRICS)
    monkeypatch.setattr(experiments, "run", lambda *_: None)
    options = SimpleNamespace(corpus=tmp_path, changes=[], processes=1)
    experiments.train(experiment, (), tmp_path / "run", options)
    begun = tmp_path / "run" / "checkpoint.pt"
    assert begun.read_bytes() == iris.START.read_bytes()
    begun.write_text("further")
    experiments.train(experiment, (), tmp_path / "run", options)
    assert begun.read_text() == "further", "what was begun goes on"


def test_rows_of_the_posters_ablation_differ_in_one_change() -> None:
    rows = configs(import_module("iris").poster())
    assert rows["stage-2"].stages[-1].weights.mel == 1
    assert rows["as-before"].stages[-1].weights.mel == 15
    assert not rows["one-talker"].data.conditions.two_talkers
    assert rows["as-before"].data.conditions.two_talkers


def test_both_decoders_begin_anew_on_the_same_codes() -> None:
    iris, carry_over = import_module("iris"), import_module("carry_over")
    found = configs(iris.decoders())
    conv2former, convnext = (built(found[block]) for block in ("conv2former", "convnext"))
    for decoder in (conv2former, convnext):
        fresh = carry_over.copy_what_fits(conv2former, decoder, iris.decoders().fresh)
        assert fresh == sorted(name for name in decoder.state_dict() if name.startswith("decoder."))


def test_the_map_of_a_teachers_features_is_carried_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_over = import_module("carry_over")
    monkeypatch.setitem(CONFIGS, small_focal.NAME, small_focal.ENTRY)
    corpus = write_corpus(tmp_path / "corpus").parent
    write_whisper(corpus / "whisper")
    config = tiny_config(
        corpus,
        model=small_focal.NAME,
        stages=[{"name": "joint", "steps": 3, "weights": {"teacher_features": 1}}],
        teacher={"kind": "whisper", "path": str(corpus / "whisper"), "layers": [1, 2]},
        codes={"lowest": 1},
    )
    stopped(config, tmp_path / "old", 1)
    monkeypatch.setattr(carry_over, "load_recipe", lambda *_: config)
    command = [
        "carry_over",
        str(tmp_path / "old"),
        "focal-small-cpu",
        "--out",
        str(tmp_path / "new"),
    ]
    monkeypatch.setattr(sys, "argv", [*command, "--minutes", "0"])
    carry_over.main()
    old, new = (load_checkpoint(tmp_path / name)["lessons"] for name in ("old", "new"))
    assert "directions" in old
    assert differing(old, new) == []


def test_the_flagship_hears_as_much_with_other_clips() -> None:
    variants = configs(import_module("iris").batches())
    heard = {config.batch_size * config.data.crop_seconds for config in variants.values()}
    assert len(heard) == 1
    usual, bypassed, short = (variants[name] for name in ("as-before", "bypassed", "short"))
    assert bypassed.codes.bypass > usual.codes.bypass
    assert short.data.crop_seconds < usual.data.crop_seconds


def test_teachers_differ_in_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teachers, experiments = import_module("teachers"), import_module("experiments")
    trained: list[TrainingConfig] = []

    def run(*arguments: object) -> None:
        _, _, _, recipe, _, out, *changes = map(str, arguments)
        trained.append(load_recipe(Path(recipe), changes))
        Path(out).mkdir()
        (Path(out) / "checkpoint.pt").write_text(Path(out).name)

    monkeypatch.setattr(experiments, "run", run)
    options = SimpleNamespace(corpus=tmp_path, changes=[], processes=1)
    teachers.prepare(tmp_path, options)
    begun, ahead = trained
    assert [stage.steps for stage in begun.stages] == [300, 100, 0]
    assert not any(stage.needs_teacher for config in trained for stage in config.stages)
    assert built(ahead).chunk_frames == 4 * built(begun).chunk_frames
    experiment = teachers.experiment(tmp_path)
    found = configs(experiment)
    kinds = {name: config.teacher and config.teacher.kind for name, config in found.items()}
    assert kinds == {"none": "whisper", "tiny-en": "whisper", "base": "whisper", "codec": "codec"}
    assert [config.stages[2].weights.asr_features for config in found.values()] == [0, 8, 8, 8]
    alike = {
        config.model_copy(update={"teacher": None, "stages": config.stages[:2]}).model_dump_json()
        for config in found.values()
    }
    assert len(alike) == 1
    assert experiment.start.read_text() == "begun"
    assert found["codec"].teacher is not None
    assert found["codec"].teacher.path == tmp_path / "ahead"


class Same:
    """A lossless codec that codes one channel at a time."""

    name, sample_rate_hz = "same", 44_100

    def encode(self, audio: np.ndarray, bitrate_bps: int) -> np.ndarray:
        return audio

    def decode(self, codes: np.ndarray) -> np.ndarray:
        return codes + 1e-3 * np.array([[1], [0]])  # with an error in left, or in mid


def test_mid_and_side_are_left_and_right_again(
    tqcodec: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "music_test").mkdir()
    for name, shape in (("a", (44_100, 2)), ("mono", (44_100,))):
        soundfile.write(
            tmp_path / "music_test" / f"{name}.wav", random.uniform(-1, 1, shape), 44_100
        )
    monkeypatch.setattr(tqcodec.chirrup, "load", lambda _: Same())
    monkeypatch.setattr(tqcodec, "SCORES", ("snr",))
    monkeypatch.setattr(sys, "argv", ["", "mid-side", "--corpus", str(tmp_path)])
    tqcodec.main()
    shown = capsys.readouterr().out
    snrs = re.findall(r" 62, (\w+, \w+) +\W+(\S+) ", shown)
    assert snrs == [("left, right", "inf"), ("mid, side", "55.2")], shown


def test_fresh_rows_of_a_codec_take_the_place_of_all_its_old_ones() -> None:
    scoreboard = import_module("scoreboard")

    def results(version: str, *systems: str) -> Results:
        rows = [row for system in systems for row in made_up(system, {"snr": 1.0})]
        rows = [replace(row, version=version) for row in rows]
        return Results({"models": {row.system: version for row in rows}}, rows)

    kept = results("old", "iris-t1@1000,6000", "opus@6000")
    merged = scoreboard.among(kept, results("new", "iris-t1@1000,3000"))
    versions = {row.system: row.version for row in merged.rows}
    assert versions == {"opus-6000": "old", "iris-t1-1000": "new", "iris-t1-3000": "new"}
    assert merged.run["models"] == versions


def made_up(system: str, scores: dict[str, float | None]) -> list[Row]:
    """Return rows of ``NAME@BPS,BPS,...``, each with the same scores."""
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
            scores=scores,
        )
        for rate in rates.split(",")
    ]


def test_the_bitrate_sweep_draws_every_codec(
    spectrostream: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blank score leaves a gap, not an error."""
    drawn: dict[str, list[str]] = {}

    def run(*arguments: object) -> None:
        words = list(map(str, arguments))
        systems = [after for word, after in pairwise(words) if word == "-c"]
        rows: list[Row] = []
        for system in systems:
            scores: dict[str, float | None] = dict.fromkeys(spectrostream.SCORES, 1.0)
            scores["snr"] = None if system.startswith("mp3") else 1.0
            rows += made_up(system.replace("k", "000"), scores)
        Results({}, rows).write(Path(words[-1]) / RESULTS)
        drawn["codecs"] = list(dict.fromkeys(row.codec for row in rows))

    monkeypatch.setattr(import_module("experiments"), "run", run)
    monkeypatch.setattr(
        sys, "argv", ["", "bitrate", "--corpus", str(tmp_path), "--out", str(tmp_path)]
    )
    (tmp_path / "bitrate").mkdir()
    spectrostream.main()
    assert drawn["codecs"] == ["spectro-small", "opus", "vorbis", "mp3"]
    width, height = matplotlib.image.imread(tmp_path / "bitrate" / "bitrate.png").shape[1::-1]
    assert width > height > 400


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

    def run(*arguments: object) -> None:
        assert arguments[:2] == ("-m", "chirrup")
        words = list(map(str, arguments[2:]))
        commands.append(words)
        if words[0] == "evaluate":
            systems = [after for word, after in pairwise(words) if word == "-c"]
            rows = [row for system in systems for row in made_up(system, scores)]
            Results({}, rows).write(Path(words[-1]) / RESULTS)

    late = SimpleNamespace(latency_samples=4320, sample_rate_hz=48_000)
    experiments = import_module("experiments")
    monkeypatch.setattr(experiments, "run", run)
    monkeypatch.setattr(experiments.chirrup, "load", lambda _: late)
    options = ["--out", str(tmp_path), "--corpus", str(tmp_path), "--processes", "1"]
    monkeypatch.setattr(sys, "argv", ["", "fusion", "stages.0.steps=7", *options])
    (tmp_path / "fusion").mkdir()
    spectrostream.main()
    trained = [words for words in commands if words[0] == "train"]
    for words, levels in zip(trained, (5, 6, 7), strict=True):
        config = load_recipe(Path(words[1]), words[4:])
        assert config.steps == 2507
        assert config.model_changes == {"separate_levels": levels}
    exported = {words[1]: words[2] for words in commands if words[0] == "export"}
    assert list(exported) == [words[3] for words in trained]
    shown = capsys.readouterr().out
    for folder in exported.values():
        (line,) = (line for line in shown.splitlines() if f" {Path(folder).name} " in line)
        means = [f"{score:.{METRICS[name].digits}f}" for name, score in scores.items()]
        assert all(f" {mean} " in line for mean in means), line
        assert " 90 " in line


def test_the_page_exports_what_its_benchmark_imports() -> None:
    script = import_module("page").CODE
    names, _, modules = script.partition("const [")[2].partition("].map")[0].partition("] =")
    found = re.findall(r"{ (\w+) }", names), re.findall(r'"(\w+)"', modules)
    assert len(found[0]) == 3
    for name, module in zip(*found, strict=True):
        text = (Path(__file__).parents[1] / "web" / "modules" / f"{module}.js").read_text()
        assert re.search(rf"export (async )?(function|class|const) {name}\b", text)
