"""Tampered checkpoints: each is read, or raises ModelError. Part of `fuzzing`."""

import io
import random
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

import chirrup
import small_lrac
from chirrup.lab.models import CONFIGS
from chirrup.lab.models.lrac import Block, units
from chirrup.lab.training.checkpoints import load_checkpoint, pack_checkpoint, trained_model
from chirrup.lab.training.loop import Trainer
from fuzzing_models import VALUES, flipped, places
from tiny_training import LRAC_WAY, tiny_config, with_adversary


def trainer(folder: Path) -> Trainer:
    """Return a training with a discriminator that has few tensors, which take most of the time."""
    blocks = (Block(4, small_lrac.FRAME, units(3, (1,))),)
    config = replace(small_lrac.CONFIG, encoder=blocks, decoder=blocks, codebooks=2)
    CONFIGS[small_lrac.NAME] = (small_lrac.Lrac, config)
    changes = with_adversary() | LRAC_WAY
    mel = {"kind": "mel", "options": {"n_ffts": [512], "mels": [40], "channels": 4}}
    changes["adversary"]["discriminators"] = {"mel": mel}
    return Trainer(tiny_config(folder, **changes), folder, torch.device("cpu"))


def tampered_checkpoint(content: bytes, draw: random.Random, folder: Path) -> str:
    path = folder / "checkpoint.pt"
    if draw.random() < 0.3:
        cut = draw.random() < 0.3
        path.write_bytes(content[: draw.randrange(len(content))] if cut else flipped(content, draw))
        return "bytes"
    saved = torch.load(io.BytesIO(content), weights_only=True)
    values = [
        *(value for value in VALUES if value != "\ud800"),
        torch.zeros(1).expand(10**9),
        torch.full((3,), float("nan")),
        torch.zeros(2, 2, device="meta"),
        torch.zeros(4, 4).to_sparse(),
    ]
    kind, value = draw.random(), draw.choice(values)
    if kind < 0.4:
        fields = ("codebooks", "codebook_size", "latent_dim", "code_dim", "encoder", "decoder")
        changes = {draw.choice((*fields, "sample_rate_hz")): value}
        saved["config"]["model_changes"] = changes
        torch.save(saved, path)
        return f"model_changes: {changes!r}"
    outer = [(saved, key) for key in saved]
    container, key = draw.choice(outer if kind < 0.6 else places(saved))
    if draw.random() < 0.3:
        del container[key]
        value = "nothing"
    else:
        container[key] = value
    torch.save(saved, path)
    return f"{key}: {value!r}"


def use_checkpoint(folder: Path, trainer: Trainer) -> None:
    """Build a checkpoint's model, pack the checkpoint and resume a training from it."""
    path, failed = folder / "checkpoint.pt", None
    saved = load_checkpoint(path)  # with which the others begin too
    for action in (
        lambda: trained_model(saved),
        lambda: pack_checkpoint(path, folder / "packed.pt"),
        lambda: trainer.restore(path),
    ):
        try:
            action()
        except chirrup.ModelError as error:
            failed = error
    if failed:
        raise failed


class Checkpoints:
    errors = (chirrup.ModelError,)

    def __init__(self) -> None:
        torch.set_num_threads(1)
        content = io.BytesIO()
        with tempfile.TemporaryDirectory() as folder:
            self.trainer = trainer(Path(folder))
            torch.save(self.trainer.state(), content)
            (Path(folder) / "checkpoint.pt").write_bytes(content.getvalue())
            self.use(Path(folder))
        self.content = content.getvalue()

    def use(self, folder: Path) -> None:
        use_checkpoint(folder, self.trainer)

    def tamper(self, draw: random.Random, folder: Path) -> str:
        return tampered_checkpoint(self.content, draw, folder)
