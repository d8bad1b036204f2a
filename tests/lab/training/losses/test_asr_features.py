"""The distance of a teacher's features of two signals."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from chirrup.errors import ModelError
from chirrup.lab.models import CONFIGS
from chirrup.lab.training.batches.resampler import Resampler
from chirrup.lab.training.config import TeacherConfig
from chirrup.lab.training.distillation.teachers import load_teacher
from chirrup.lab.training.loop import Trainer
from chirrup.lab.training.losses.asr_features import ASRFeatureLoss
from small_model import ENTRY, speech_like
from tiny_teachers import write_whisper
from tiny_training import advance, tiny_config, write_corpus

CPU = torch.device("cpu")
AUDIO = torch.from_numpy(np.stack([speech_like(24_000, seed) for seed in (0, 1)]))
NOISE = torch.randn(2, 24_000, generator=torch.Generator().manual_seed(0))


def asr_loss(folder: Path, *layers: int, rate_hz: int = 24_000) -> ASRFeatureLoss:
    config = TeacherConfig(kind="whisper", path=write_whisper(folder), layers=layers)
    return ASRFeatureLoss(load_teacher(config), rate_hz, config.layers)


def test_equal_audio_has_none_and_more_noise_more(tmp_path: Path) -> None:
    loss = asr_loss(tmp_path)
    losses = [float(loss(AUDIO + noise * NOISE, AUDIO)) for noise in (0, 1e-3, 1e-2, 1e-1)]
    assert losses[0] == 0
    assert losses == sorted(losses)
    assert losses[-1] > 10 * losses[1]


def test_it_is_the_mean_squared_error_in_shares_of_variance(tmp_path: Path) -> None:
    loss, other = asr_loss(tmp_path, 1, 3, rate_hz=16_000), AUDIO.flip(1)
    errors = []
    for ours, theirs in list(zip(loss.teacher(other), loss.teacher(AUDIO), strict=True))[1::2]:
        for a, b in zip(ours.transpose(0, 1).flatten(1), theirs.transpose(0, 1).flatten(1)):
            errors.append((a - b).square().mean() / b.var())
    assert_close(loss(other, AUDIO), torch.stack(errors).mean())


def test_audio_is_resampled_for_the_teacher(tmp_path: Path) -> None:
    once = Resampler(24_000, 16_000)(AUDIO[:, None])[:, 0]
    noisy = Resampler(24_000, 16_000)((AUDIO + 0.1 * NOISE)[:, None])[:, 0]
    expected = asr_loss(tmp_path, rate_hz=16_000)(noisy, once)
    assert_close(asr_loss(tmp_path)(AUDIO + 0.1 * NOISE, AUDIO), expected)


def test_its_gradient_reaches_the_audio_and_lowers_it(tmp_path: Path) -> None:
    loss = asr_loss(tmp_path, 1)
    estimate = (AUDIO + 0.1 * NOISE).requires_grad_()
    before = loss(estimate, AUDIO)
    before.backward()
    assert estimate.grad is not None
    step = 1e-3 * estimate.grad / estimate.grad.square().mean().sqrt()
    assert loss(estimate.detach() - step, AUDIO) < before
    assert not any(parameter.requires_grad for parameter in loss.parameters())


def test_layers_beyond_those_compared_are_left_out(tmp_path: Path) -> None:
    whole, first = asr_loss(tmp_path), asr_loss(tmp_path, 2)
    assert (whole.layers, whole.teacher.layers) == ((1, 2, 3), 3)
    assert (first.layers, first.teacher.layers) == ((2,), 2)
    assert_close(first.teacher(AUDIO[:, :640])[2], whole.teacher(AUDIO[:, :640])[2])


def test_a_layer_that_the_teacher_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="layer 4, the teacher has 3"):
        asr_loss(tmp_path, 2, 4)


def test_any_model_can_be_trained_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, "small", ENTRY)
    corpus = write_corpus(tmp_path / "corpus").parent
    stage = {"name": "only", "steps": 2, "weights": {"asr_features": 1}}
    with pytest.raises(ValidationError, match="stage only needs a teacher"):
        tiny_config(corpus, stages=[stage])
    teacher = {"kind": "whisper", "path": str(write_whisper(tmp_path / "whisper"))}
    trainer = Trainer(tiny_config(corpus, stages=[stage], teacher=teacher), tmp_path, CPU)
    figures = advance(trainer, 2)
    assert all(step["asr_features"] > 0 and step["gradient"] > 0 for step in figures)
    assert not any("teacher" in name for name in trainer.state()), "no teacher is kept"
