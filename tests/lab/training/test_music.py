"""The loop with a small TQCodec on seconds of stereo music at 44.1 kHz."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch.testing import assert_close

from chirrup.errors import ChirrupError
from chirrup.lab.models import CONFIGS
from chirrup.lab.models.tqcodec import TQCodec, TQConfig
from chirrup.lab.quantizers.level import Level
from chirrup.lab.training.batches.sampler import Sampler
from chirrup.lab.training.config import TrainingConfig
from chirrup.lab.training.export import export_checkpoint
from chirrup.lab.training.loop import Trainer
from tiny_training import advance, resumed, stopped

CPU = torch.device("cpu")
RATE_HZ = 44_100
NAME = "tiny-tq"
CONFIG = TQConfig(4, 4, 8, strides=(4, 16), codebooks=4, codebook_size=16, code_dim=4)
WEIGHTS = {"waveform": 1.0, "mel": 15.0, "mel_magnitude": 15.0, "commitment": 0.25, "codebook": 1.0}


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, NAME, (TQCodec, CONFIG))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return chords of decaying tones in both channels, without noise, room or speech."""
    folder = tmp_path_factory.mktemp("music")
    random = np.random.default_rng(0)
    time = np.arange(RATE_HZ) / RATE_HZ
    names = ["music_train/0.wav", "music_train/1.wav", "music_test/0.wav"]
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        hz = random.uniform(100, 9000, (2, 6, 1))
        chords = (np.sin(2 * np.pi * hz * time) * np.exp(-4 * (time % 0.3))).mean(axis=1)
        soundfile.write(folder / name, 0.5 * chords.T, RATE_HZ)
    (folder / "MANIFEST.csv").write_text("\n".join(["path", *names]) + "\n")
    return folder


def config(corpus: Path, **changes: Any) -> TrainingConfig:
    recipe: dict[str, Any] = {
        "model": NAME,
        "data": {
            "manifest": str(corpus / "MANIFEST.csv"),
            "cache": str(corpus / "cache"),
            "speech": "music_train",
            "validation": "music_test",
            "channels": "each",
            "conditions": {"clean": 1},
            "crop_seconds": 0.15,
            "speed_range": 1,
        },
        "stages": [
            {"name": "autoencoder", "steps": 2, "quantize": False, "weights": WEIGHTS},
            {"name": "codec", "steps": 4, "weights": WEIGHTS},
        ],
        "spectra": {"n_ffts": [32, 256, 2048], "mels": [5, 40, 320]},
        "codes": {"lowest": 2, "lossy": 0, "initialise_batches": 2, "revive_every": 2},
        "batch_size": 2,
        "warmup_steps": 2,
    }
    return TrainingConfig.model_validate(recipe | changes)


def test_a_run_of_music_trains_and_logs_the_scores_of_music(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(corpus, validate_every=6), tmp_path / "run", CPU)
    assert trainer.reconstruction.pesq is None
    trainer.run()
    assert [path.name.split("-")[:3] for path in (corpus / "cache").iterdir()] == [
        ["music_train", "44100", "each"]
    ]
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    figures = json.loads(lines[-1])
    assert figures["step"] == 6
    scores, settings = ("lsd", "lsd_low", "lsd_high", "snr_db"), ("bypass", "all", "half", "lowest")
    expected = {f"{score}_{setting}" for score in scores for setting in settings}
    assert expected <= set(figures)
    assert not any("pesq" in name for name in figures)
    assert all(np.isfinite(figures[name]) for name in expected)
    clip, _ = soundfile.read(corpus / "music_test" / "0.wav", dtype="float32")
    soundfile.write(tmp_path / "mono.wav", clip[:, 0], RATE_HZ)
    parity = export_checkpoint(tmp_path / "run", tmp_path / "model", tmp_path / "mono.wav")
    assert parity.codes_equal >= 0.999


def test_training_on_music_reduces_the_loss(corpus: Path, tmp_path: Path) -> None:
    stages = [{"name": "a", "steps": 30, "quantize": False, "weights": WEIGHTS}]
    figures = advance(Trainer(config(corpus, stages=stages, learning_rate=3e-3), tmp_path, CPU), 30)
    for term in ("mel", "mel_magnitude", "loss"):
        first, last = (sum(f[term] for f in part) for part in (figures[:5], figures[-5:]))
        assert last < 0.9 * first, term


def test_pesq_is_there_for_a_stage_that_weighs_it(corpus: Path, tmp_path: Path) -> None:
    """It works at 44.1 kHz too."""
    stages = [
        {"name": "a", "steps": 1, "quantize": False, "weights": WEIGHTS},
        {"name": "b", "steps": 1, "weights": WEIGHTS | {"pesq": 1.0}},
    ]
    trainer = Trainer(config(corpus, stages=stages), tmp_path, CPU)
    assert trainer.reconstruction.pesq is not None
    figures = advance(trainer, 2)
    assert "pesq" not in figures[0]
    assert np.isfinite(figures[1]["pesq"])


def test_a_resumed_run_of_music_equals_an_uninterrupted_one(corpus: Path, tmp_path: Path) -> None:
    whole = Trainer(config(corpus), tmp_path / "whole", CPU)
    advance(whole, 6)
    for stop in (1, 4):
        stopped(config(corpus), tmp_path / "parts", stop)
        second = resumed(config(corpus), tmp_path / "parts")
        advance(second, 6)
        for name, value in whole.model.state_dict().items():
            assert torch.equal(second.model.state_dict()[name], value), name


# --- quantizers ----------------------------------------------------------------------------------


def watch_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sizes: list[int] = []
    batch = Sampler.batch

    def watched(self: Sampler, size: int) -> Any:
        sizes.append(size)
        return batch(self, size)

    monkeypatch.setattr(Sampler, "batch", watched)
    return sizes


def test_simvq_starts_from_a_few_batches(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts once, at its first use, and equally in the averaged model."""
    trainer = Trainer(config(corpus), tmp_path, CPU)
    advance(trainer, 2)
    maps = [
        trainer.model.quantizer.trained_levels[index].get_parameter("weight") for index in range(4)
    ]
    assert all(torch.equal(weight, torch.eye(4)) for weight in maps), "nothing decays meanwhile"
    sizes = watch_batches(monkeypatch)
    figures = advance(trainer, 4)
    assert sizes == [2, 2, 2, 2], "two to start from, one for each step"
    assert all(figure["entries_used"] > 0 for figure in figures)
    for index, weight in enumerate(maps):
        assert not torch.equal(weight, torch.eye(4))
        average = trainer.ema.quantizer.trained_levels[index].get_parameter("weight")
        assert_close(average, weight, rtol=0, atol=0.1)


def test_simvqs_maps_have_the_learning_rate_of_entries_and_no_decay(
    corpus: Path, tmp_path: Path
) -> None:
    codes = {"lowest": 2, "lossy": 0, "initialise_batches": 1, "lr_scale": 7}
    trainer = Trainer(config(corpus, weight_decay=0.3, codes=codes), tmp_path, CPU)
    levels = [trainer.model.quantizer.trained_levels[index] for index in range(4)]
    maps = {id(level.get_parameter(name)) for level in levels for name in ("weight", "bias")}
    others, entries = trainer.optimiser.param_groups
    assert {id(parameter) for parameter in entries["params"]} == maps
    assert len(others["params"]) + len(maps) == len(list(trainer.model.parameters()))
    assert (others["weight_decay"], entries["weight_decay"]) == (0.3, 0.0)
    tables = [level.codebook.clone() for level in levels]
    advance(trainer, 4)
    assert others["lr"] == trainer.config.learning_rate_at(3)
    assert entries["lr"] == 7 * others["lr"]
    assert all(
        torch.equal(level.codebook, table) for level, table in zip(levels, tables, strict=True)
    )


def test_rvq_in_the_same_model_starts_from_data(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(config(corpus, model_changes={"quantizer": "rvq"}), tmp_path, CPU)
    _, entries = trainer.optimiser.param_groups
    levels = [trainer.model.quantizer.trained_levels[index] for index in range(4)]
    assert all(type(level) is Level for level in levels)
    assert {id(p) for p in entries["params"]} == {id(level.codebook) for level in levels}
    advance(trainer, 2)
    before = [level.codebook.detach().clone() for level in levels]
    sizes = watch_batches(monkeypatch)
    advance(trainer, 3)
    assert sizes == [2, 2, 2]
    for level, codebook in zip(levels, before, strict=True):
        assert (level.codebook != codebook).all()
    trainer.save()
    other = Trainer(config(corpus), tmp_path, CPU)
    with pytest.raises(ValueError, match=r'training of tiny-tq with {"quantizer": "rvq"}'):
        other.restore(tmp_path / "checkpoint.pt")


def test_recipes_that_do_not_fit_the_model_are_refused(corpus: Path, tmp_path: Path) -> None:
    """The error is one line without a traceback."""
    for changes, words in (
        (
            {"model_changes": {"quantizer": "fsq"}},
            r"tiny-tq cannot be built with .*: 'fsq'",
        ),
        ({"codes": {"lowest": 5}}, r"codes.lowest must be at most 4"),
    ):
        with pytest.raises(ChirrupError, match=words):
            Trainer(config(corpus, **changes), tmp_path, CPU)
