"""The loop with a small FocalCodec-Stream: 16 kHz in, 24 kHz out, chunks, binary codes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from chirrup.lab.models import CONFIGS
from chirrup.lab.training import export as exporting
from chirrup.lab.training.config import TrainingConfig
from chirrup.lab.training.export import export_checkpoint
from chirrup.lab.training.loop import Trainer
from chirrup.lab.training.validation import validate
from small_focal import CONFIG, ENTRY, NAME
from tiny_training import advance, differing, resumed, stopped, tiny_config

CPU = torch.device("cpu")
WEIGHTS = {"mel": 15.0, "entropy": 0.1}
CHUNK = 4 * CONFIG.frame_samples


@pytest.fixture(autouse=True)
def small_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, NAME, ENTRY)


def config(corpus: Path, **changes: Any) -> TrainingConfig:
    stages = [
        {"name": "autoencoder", "steps": 3, "quantize": False, "weights": WEIGHTS},
        {"name": "codec", "steps": 3, "weights": WEIGHTS},
    ]
    codes = {"bypass": 0.0, "lossy": 0.5, "lowest": 1, "drop": 0.0, "revive_every": 2}
    return tiny_config(corpus, model=NAME, stages=stages, codes=codes, **changes)


def test_a_run_trains_and_its_checkpoint_is_exported(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(config(corpus, validate_every=6), tmp_path / "run", CPU)
    trainer.run()
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    figures = json.loads(lines[-1])
    assert figures["step"] == 6
    assert {"pesq_all", "pesq_bypass", "entropy_bits_00", "entries_used_00"} <= set(figures)
    assert "pesq_lowest" not in figures, "there is one codebook: the lowest is all"
    given: list[Any] = []
    monkeypatch.setattr(exporting, "export", lambda *arguments, **_: given.extend(arguments))
    export_checkpoint(tmp_path / "run", tmp_path / "model", corpus / "speech_test" / "0.wav")
    model, name, _, clip, _ = given
    assert (name, model.config) == (NAME, CONFIG)
    assert clip.shape == (16_000,), "at the rate of the encoder's input"


def test_the_input_has_16_khz_and_the_target_24(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(config(corpus), tmp_path, CPU)
    shapes: list[tuple[torch.Size, ...]] = []
    forward = trainer.model.forward

    def watch(audio: torch.Tensor, *rest: Any) -> Any:
        output, quantized = forward(audio, *rest)
        shapes.append((audio.shape, output.shape, rest[2].shape))
        return output, quantized

    monkeypatch.setattr(trainer.model, "forward", watch)
    advance(trainer, 1)
    chunks = round(0.2 * 24_000 / CHUNK)
    assert shapes == [((2, 1, chunks * 1280), (2, 1, chunks * CHUNK), (2, 4 * chunks))]


def test_lost_frames_come_in_whole_chunks(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(corpus), tmp_path, CPU)
    audio = torch.zeros(500, 1, 10 * CHUNK)
    present = trainer.draw_dropout(audio, trainer.config.stages[1]).present
    chunks = present.unflatten(1, (10, 4))
    assert torch.equal(chunks.all(2), chunks.any(2))
    assert 0 < float((~present).float().mean()) < 0.2


def test_entropy_is_a_loss_of_quantized_stages(corpus: Path, tmp_path: Path) -> None:
    figures = advance(Trainer(config(corpus), tmp_path, CPU), 6)
    assert "entropy" not in figures[0]
    assert "perplexity" not in figures[0]
    assert figures[4]["entropy"] != 0
    mel, entropy = figures[4]["mel"], figures[4]["entropy"]
    assert figures[4]["loss"] == pytest.approx(15 * mel + 0.1 * entropy, rel=1e-4)
    assert 1 <= figures[4]["perplexity"] <= 200, "of the 100 or so frames that were counted"


def test_training_reduces_the_loss(corpus: Path, tmp_path: Path) -> None:
    stages = [{"name": "a", "steps": 40, "weights": WEIGHTS}]
    changed = config(corpus, learning_rate=3e-3).model_dump() | {"stages": stages}
    figures = advance(Trainer(TrainingConfig.model_validate(changed), tmp_path, CPU), 40)
    losses = [f["loss"] for f in figures]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_a_resumed_run_equals_an_uninterrupted_one(corpus: Path, tmp_path: Path) -> None:
    whole = Trainer(config(corpus), tmp_path / "whole", CPU)
    advance(whole, 6)
    stopped(config(corpus), tmp_path / "parts", 4)
    torch.manual_seed(1234)
    second = resumed(config(corpus), tmp_path / "parts")
    advance(second, 6)
    assert differing(whole.state(), second.state()) == []


def test_clips_of_any_length_are_validated(corpus: Path, tmp_path: Path) -> None:
    """A second is not a whole number of chunks. The audio has the length of the clip."""
    trainer = Trainer(config(corpus), tmp_path, CPU)
    result = validate(trainer.ema, trainer.config.data)
    assert set(result.audio) == {"bypass", "all", "original"}
    assert all(x.shape == (1, 24_000) for x in result.audio.values())
