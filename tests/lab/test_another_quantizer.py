"""A model with a new quantizer can be trained, audited and exported.

It needs no edits outside its own file and the list of models.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

import chirrup
from chirrup.lab.audit.complexity import count
from chirrup.lab.models import CONFIGS, build
from chirrup.lab.training.export import export_checkpoint
from chirrup.lab.training.loop import Trainer
from small_fsq import ENTRY, NAME
from small_model import RATE_HZ, speech_like
from tiny_training import advance, tiny_config, write_corpus


def test_a_new_quantizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, NAME, ENTRY)
    stages = [{"name": "codec", "steps": 10, "weights": {"complex": 1.0, "mel": 1.0}}]
    write_corpus(tmp_path)
    trainer = Trainer(
        tiny_config(tmp_path, model=NAME, stages=stages, codes={"lowest": 1}),
        tmp_path / "run",
        torch.device("cpu"),
    )
    before = [parameter.clone() for parameter in trainer.model.quantizer.parameters()]
    figures = advance(trainer, 10)
    assert np.isfinite(figures[-1]["loss"])
    after = trainer.model.quantizer.parameters()
    assert all(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    trainer.save()

    counted = count(build(NAME))["quantizer"]
    assert counted.mflops == pytest.approx(2 * 2 * 16 * 4 * 100 / 1e6)
    assert counted.parameters == 2 * 16 * 4 + 16 + 4

    clips = sorted((tmp_path / "speech_test").glob("*"))
    parity = export_checkpoint(tmp_path / "run" / "checkpoint.pt", tmp_path / "exported", clips[0])
    assert parity.codes_equal > 0.999
    codec = chirrup.load(tmp_path / "exported")
    assert codec.codebook_size == 7 * 5**3
    audio = speech_like(RATE_HZ, seed=3)
    codes = codec.encode(audio)
    assert len(np.unique(codes)) > 5
    assert codec.decode(codes).shape == audio.shape
