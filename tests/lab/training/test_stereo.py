"""The loop with a small SpectroStream on seconds of stereo: channels that are coded jointly."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch.testing import assert_close

import small_spectro
from chirrup.evaluate.metrics import score
from chirrup.lab.models import CONFIGS
from chirrup.lab.models.spectrostream import SpectroStream
from chirrup.lab.training.config import TrainingConfig
from chirrup.lab.training.data_config import DataConfig
from chirrup.lab.training.loop import Trainer
from chirrup.lab.training.validation import clips, validate
from small_spectro import DELAY, FRAME, NAME, RATE_HZ, stereo
from tiny_training import advance, heard_by_losses, resumed, stopped

CPU = torch.device("cpu")
WEIGHTS = {"waveform": 1.0, "complex": 1.0, "mel": 1.0, "commitment": 1.0}
THIN = {"n_ffts": [256], "channels": 4}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, NAME, (SpectroStream, small_spectro.CONFIG))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two recordings for training and two for validation; one of each is mono."""
    folder = tmp_path_factory.mktemp("stereo")
    names = [f"music_{use}/{kind}.wav" for use in ("train", "test") for kind in ("both", "mono")]
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(exist_ok=True)
        audio = 0.3 * stereo(RATE_HZ, seed)
        soundfile.write(folder / name, (audio[:1] if "mono" in name else audio).T, RATE_HZ)
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
            "channels": changes.pop("channels", "keep"),
            "conditions": {"clean": 1},
            "crop_seconds": 0.2,
        },
        "stages": [
            {"name": "autoencoder", "steps": 2, "quantize": False, "weights": WEIGHTS},
            {"name": "codec", "steps": 4, "weights": WEIGHTS},
        ],
        "spectra": {"n_ffts": [256, 1024], "mels": [40, 80]},
        "codes": {"choices": [1, 2, 3], "lossy": 0, "initialise_batches": 2, "revive_every": 2},
        "batch_size": 2,
        "warmup_steps": 2,
    }
    return TrainingConfig.model_validate(recipe | changes)


def fighting(**discriminators: dict[str, Any]) -> dict[str, Any]:
    weights = WEIGHTS | {"adversarial": 1.0, "features": 1.0}
    return {
        "stages": [{"name": "all", "steps": 3, "weights": weights}],
        "adversary": {"discriminators": discriminators},
    }


def test_a_run_trains_and_validates_stereo(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(corpus, validate_every=6), tmp_path / "run", CPU)
    trainer.run()
    (kept,) = (corpus / "cache").glob("*-channels-*")
    assert kept.name.startswith("music_train-48000-2-channels-")
    figures = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert figures["step"] == 6
    for figure in ("lsd", "snr_db", "ipd_error", "ild_error"):
        assert all(np.isfinite(figures[f"{figure}_{s}"]) for s in ("bypass", "all", "lowest"))


@pytest.mark.parametrize("bf16", [False, True])
def test_training_on_stereo_reduces_the_loss(corpus: Path, tmp_path: Path, bf16: bool) -> None:
    stages = [{"name": "a", "steps": 30, "quantize": False, "weights": WEIGHTS}]
    settings = config(corpus, stages=stages, learning_rate=3e-3, bf16=bf16)
    figures = advance(Trainer(settings, tmp_path, CPU), 30)
    for term in ("mel", "loss"):
        first, last = (sum(f[term] for f in part) for part in (figures[:5], figures[-5:]))
        assert last < 0.9 * first, term


def test_codebooks_start_from_latents_of_unit_deviation(corpus: Path, tmp_path: Path) -> None:
    """Whatever scale the autoencoder has found; so one weight of the commitment fits all. The plain
    forms do not round."""
    trainer = Trainer(config(corpus), tmp_path, CPU, plain=True)
    advance(trainer, 2)
    trainer.model.scale_latents(30)
    audio = trainer.sampler().batch(8)[0]
    with torch.no_grad():
        before = trainer.model.decoder.offline(trainer.model.encoder.offline(audio))
        trainer.start_codebooks(trainer.sampler())
        latent = trainer.model.encoder.offline(audio)
        assert 0.5 < float(latent.std()) < 2
        assert_close(trainer.model.decoder.offline(latent), before, atol=1e-4, rtol=1e-3)


def test_a_resumed_run_equals_an_uninterrupted_one(corpus: Path, tmp_path: Path) -> None:
    settings = config(corpus, bf16=True)
    whole = Trainer(settings, tmp_path / "whole", CPU)
    advance(whole, 6)
    for stop in (1, 4):
        stopped(settings, tmp_path / "parts", stop)
        second = resumed(settings, tmp_path / "parts")
        advance(second, 6)
        for name, value in whole.model.state_dict().items():
            assert torch.equal(second.model.state_dict()[name], value), name


def test_mono_trains_a_model_of_two_channels_too(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(corpus, channels="mix"), tmp_path, CPU)
    assert trainer.sampler().batch(2)[0].shape[1] == 1
    assert all(np.isfinite(figures["loss"]) for figures in advance(trainer, 4))


def test_losses_get_every_channel_at_the_level_of_the_clip(corpus: Path, tmp_path: Path) -> None:
    """A model that only delays has no error. A quiet channel keeps its level below the other."""
    trainer = Trainer(config(corpus), tmp_path, CPU)
    advance(trainer, 1)
    left = torch.from_numpy(stereo(50 * FRAME))[:1]
    audio = torch.stack([torch.cat([left, 0.1 * left]), torch.cat([0.1 * left, 0 * left])])
    estimate, target = heard_by_losses(trainer, DELAY, audio, audio)
    assert torch.equal(estimate, target)
    levels = target.square().mean(1).sqrt()
    expected = [(2 / 1.01) ** 0.5, 0.1 * (2 / 1.01) ** 0.5, 2**0.5, 0.0]
    assert levels.tolist() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    "discriminators",
    [
        {"apart": {"kind": "stft", "options": THIN}},
        {"joint": {"kind": "stft", "options": THIN | {"input_channels": 2}}},
        {
            "paper": {
                "kind": "spectrostream",
                "options": {"n_ffts": [128], "channels": 2, "widths": [2, 2, 2, 2, 2, 2]},
            },
            "joint": {"kind": "multi_period", "options": {"channels": [2, 2], "input_channels": 2}},
        },
    ],
    ids=["apart", "joint", "both"],
)
def test_discriminators_get_channels_apart_or_together(
    corpus: Path, tmp_path: Path, discriminators: dict[str, Any]
) -> None:
    how = config(corpus, **fighting(**discriminators))
    trainer = Trainer(how, tmp_path, CPU, plain=True)  # a row of logits for each clip
    figures = advance(trainer, 2)
    assert all(np.isfinite(f["discriminator"]) for f in figures)
    rows = torch.randn(4, 9600)  # two clips of two channels
    outputs = trainer.adversary(rows)
    joint = [name for name, d in discriminators.items() if d["options"].get("input_channels") == 2]
    sizes = {len(features[-1]) for features in outputs}
    assert sizes == {2} if len(joint) == len(discriminators) else 4 in sizes
    swapped = trainer.adversary(rows[[1, 0, 3, 2]])
    for features, others in zip(outputs, swapped, strict=True):
        alike = torch.allclose(features[-1].sort(0)[0], others[-1].sort(0)[0], atol=1e-5)
        assert alike == (len(features[-1]) == 4), (
            "a joint discriminator distinguishes left and right"
        )


def test_discriminators_of_other_channels_are_refused(corpus: Path, tmp_path: Path) -> None:
    three = {"kind": "stft", "options": THIN | {"input_channels": 3}}
    with pytest.raises(ValueError, match=r"discriminators\.bad has 3 input_channels, the model 2"):
        Trainer(config(corpus, **fighting(bad=three)), tmp_path, CPU)


# --- validation ----------------------------------------------------------------------------------


def validation(corpus: Path, **changes: Any) -> DataConfig:
    return config(corpus).data.model_copy(update={"validation_clips": 2} | changes)


def test_clips_keep_their_channels_and_mono_is_in_both(corpus: Path) -> None:
    both, mono = (heard for heard, _ in clips(validation(corpus), RATE_HZ, 2))
    assert mono.shape == both.shape == (2, RATE_HZ)
    assert torch.equal(mono[0], mono[1])
    expected, _ = soundfile.read(corpus / "music_test" / "both.wav", dtype="float32")
    assert np.array_equal(both.T.numpy(), expected)
    mixed = [heard for heard, _ in clips(validation(corpus, channels="mix"), RATE_HZ, 2)]
    assert torch.equal(mixed[1], mono[:1])
    torch.testing.assert_close(mixed[0], both.mean(0, keepdim=True))


def test_figures_of_stereo_are_those_of_evaluate(corpus: Path) -> None:
    """There are means over the channels, and errors between them."""
    model = small_spectro.small_spectro()
    data = validation(corpus, validation_clips=1)
    result = validate(model, data)
    model.eval()  # it is shared
    ((heard, target),) = clips(data, RATE_HZ, 2)
    padded = torch.nn.functional.pad(heard, (0, DELAY + -(RATE_HZ + DELAY) % FRAME))
    with torch.no_grad():
        output = model.decoder.offline(model.encoder.offline(padded[None]))[0]
    output = output[:, DELAY : DELAY + RATE_HZ].numpy()
    for figure in ("ipd_error", "ild_error", "lsd"):
        expected = score(figure, target.numpy(), output, RATE_HZ)
        assert result.figures[f"{figure}_bypass"] == pytest.approx(expected, abs=1e-3)
    assert result.audio["bypass"].shape == (1, RATE_HZ)
