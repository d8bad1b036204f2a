"""The stages of FocalCodec-Stream's training: their losses, targets and trained parts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.testing import assert_close

from chirrup.errors import ChirrupError, ModelError, UsageError
from chirrup.lab import fast
from chirrup.lab.models import CONFIGS
from chirrup.lab.models.focalcodec import FocalCodec
from chirrup.lab.nn.harmonic_noise import PITCHES
from chirrup.lab.training.batches.code_dropout import CodeDropout
from chirrup.lab.training.config import TrainingConfig
from chirrup.lab.training.distillation.feature_distillation import FeatureDistillation
from chirrup.lab.training.distillation.teachers import load_teacher
from chirrup.lab.training.loop import Trainer
from chirrup.lab.training.losses.pitch import pitch, pitch_loss, with_pitch
from small_focal import CONFIG, ENTRY, NAME, SPOKEN, small_focal
from small_model import ENTRY as IRIS
from tiny_teachers import write_whisper
from tiny_training import advance, differing, resumed, stopped, tiny_config, write_corpus

CPU = torch.device("cpu")
FRAMES = 20
AUDIO = 0.2 * torch.randn(2, 1, 320 * FRAMES, generator=torch.Generator().manual_seed(0))
PASSED = CodeDropout(torch.ones(2).long(), torch.zeros(2).bool(), torch.ones(2, FRAMES).bool())
"""No row bypasses the quantizer, and every frame arrives."""

DECODER = {"decodes": "teacher", "train": ["waveform"], "weights": {"mel": 15}}
POSITIONS = {"train": ["positions"], "weights": {"positions": 1}}
ENCODER = {"train": ["front", "layers"], "weights": {"layers": 1}}
QUANTIZER = {
    "train": ["compressor", "decompressor"],
    "refine": False,
    "weights": {"own_features": 1, "entropy": 0.1},
}
JOINT = {
    "train": ["front", "layers", "compressor", "decompressor", "refiner"],
    "weights": {"teacher_features": 1, "entropy": 0.1},
}
WHOLE = {"weights": {"mel": 15, "teacher_features": 1, "entropy": 0.1}}
ANCHORED = {"train": ["layers", "compressor", "decompressor"], "weights": {"first_features": 1}}
STAGES: dict[str, dict[str, Any]] = {
    "decoder": DECODER,
    "positions": POSITIONS,
    "encoder": ENCODER,
    "quantizer": QUANTIZER,
    "joint": JOINT,
    "whole": WHOLE,
    "anchored": ANCHORED,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_corpus(tmp_path_factory.mktemp("corpus")).parent
    write_whisper(folder / "whisper")
    return folder


@pytest.fixture(autouse=True)
def small_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, NAME, ENTRY)


def config(corpus: Path, *names: str, steps: int = 2, **changes: Any) -> TrainingConfig:
    stages = [{"name": name, "steps": steps} | STAGES[name] for name in names]
    teacher = {"kind": "whisper", "path": str(corpus / "whisper"), "layers": [1, 2]}
    codes = {"bypass": 0.0, "lossy": 0.0, "lowest": 1, "drop": 0.0}
    settings = {"model": NAME, "stages": stages, "teacher": teacher, "codes": codes}
    return tiny_config(corpus, **settings | changes)


def parts(model: FocalCodec) -> dict[str, list[Tensor]]:
    return {name: [p.detach().clone() for p in ps] for name, ps in model.parts().items()}


# --- which parts learn ---------------------------------------------------------------------------


def test_each_stage_trains_its_parts_and_no_others(corpus: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(corpus, *STAGES), tmp_path, CPU)
    assert isinstance(trainer.model, FocalCodec)
    advance(trainer, 1)  # everything has its start by then
    terms, end = [], 0
    for stage in trainer.config.stages:
        before = parts(trainer.model)
        end += stage.steps
        figures = advance(trainer, end)[-1]
        terms.append({name for name in figures if name in type(stage.weights).model_fields})
        moved = {
            name
            for name, after in parts(trainer.model).items()
            if any(not torch.equal(x, y) for x, y in zip(before[name], after, strict=True))
        }
        assert moved == set(stage.train or before), stage.name
    losses = {"commitment", "codebook", "entropy"}
    assert terms == [
        {"mel"},
        {"positions"},
        {"layers"},
        {"own_features"} | losses,
        {"teacher_features"} | losses,
        {"mel", "teacher_features"} | losses,
        {"first_features"} | losses,
    ]


def test_the_parts_are_all_of_the_model() -> None:
    named = [id(p) for ps in small_focal().parts().values() for p in ps]
    assert sorted(named) == sorted(id(p) for p in small_focal().parameters())


def test_a_part_that_is_none_is_refused(corpus: Path, tmp_path: Path) -> None:
    wrong = config(corpus, "encoder").model_dump(mode="json")
    wrong["stages"][0]["train"] = ["ears", "layers"]
    with pytest.raises(UsageError, match=r"train ears: small-focal has front, positions, bias"):
        Trainer(TrainingConfig.model_validate(wrong), tmp_path, CPU)


@pytest.mark.parametrize(
    ("name", "term"),
    [
        ("encoder", "layers"),
        ("quantizer", "own_features"),
        ("decoder", "mel"),
    ],
)
def test_training_reduces_the_losses_of_the_stage(
    corpus: Path, tmp_path: Path, name: str, term: str
) -> None:
    trainer = Trainer(config(corpus, name, steps=40, learning_rate=3e-3), tmp_path, CPU)
    figures = advance(trainer, 40)
    first, last = (sum(f[term] for f in some) for some in (figures[:5], figures[-5:]))
    assert last < first - 0.05 * abs(first)


def test_a_resumed_run_equals_an_uninterrupted_one(corpus: Path, tmp_path: Path) -> None:
    """The feature map is fitted to the first batch and is a part of the checkpoint."""
    recipe = config(corpus, "encoder", "joint")
    whole = Trainer(recipe, tmp_path / "whole", CPU)
    advance(whole, 4)
    stopped(recipe, tmp_path / "parts", 3)
    second = resumed(recipe, tmp_path / "parts")
    advance(second, 4)
    assert differing(whole.state(), second.state()) == []
    assert {"mean", "directions"} <= set(whole.state()["lessons"])
    assert not any("conv_1" in name for name in whole.state()["lessons"]), "no teacher is kept"


def test_a_begun_run_gets_no_teacher_without_its_map(corpus: Path, tmp_path: Path) -> None:
    begun = config(corpus, "quantizer", teacher=None)
    assert stopped(begun, tmp_path, 1).state()["lessons"] == {}
    with pytest.raises(ModelError, match="no map of the teacher's features"):
        resumed(config(corpus, "joint"), tmp_path)


# --- what is compared ----------------------------------------------------------------------------


def distillation_of(recipe: TrainingConfig, model: FocalCodec) -> FeatureDistillation:
    return FeatureDistillation(recipe, model, recipe.teacher and load_teacher(recipe.teacher))


def distillation(
    corpus: Path, *names: str, **changes: Any
) -> tuple[FeatureDistillation, TrainingConfig]:
    recipe = config(corpus, *names, **changes)
    torch.manual_seed(3)
    made = distillation_of(recipe, FocalCodec(CONFIG))
    made.initialise(AUDIO)
    return made, recipe


def test_losses_equal_their_definitions(corpus: Path) -> None:
    made, recipe = distillation(corpus, *STAGES)
    results = [made(AUDIO, stage, PASSED) for stage in recipe.stages]
    decoder, positions, encoder, quantizer, joint, whole, anchored = results
    model, taught = made.model, made.targets(AUDIO)
    own = model.features_by_layer(AUDIO)
    error = [(a - b).square().mean() for a, b in zip(own, taught, strict=True)]
    assert_close(positions.losses["positions"], error[0])
    assert_close(encoder.losses["layers"], (0.5 * error[1] + error[2]) / 1.5)
    assert positions.audio is encoder.audio is encoder.quantized is None

    codes = model.quantizer.encode(model.compressor.offline(own[-1]))
    bits = model.quantizer.decode(codes)
    plain, refined = model.decompressed(bits, refine=False), model.decompressed(bits)
    assert not torch.allclose(plain, refined)
    assert_close(refined, model.decompressor.offline(bits))
    assert_close(quantizer.losses["own_features"], (plain - own[-1]).square().mean())
    assert_close(anchored.losses["first_features"], (refined - own[0]).square().mean())
    assert_close(joint.losses["teacher_features"], (refined - taught[-1]).square().mean())
    assert quantizer.quantized is not None
    assert torch.equal(quantizer.quantized.codes, codes)
    assert decoder.audio is not None
    assert_close(decoder.audio, model.waveform.offline(taught[-1]))
    assert whole.audio is not None
    assert_close(whole.audio, model(AUDIO, PASSED.used, PASSED.bypass, PASSED.present)[0])


def test_audio_of_the_models_own_features(corpus: Path) -> None:
    """A codec for use as a teacher is trained so: it has no quantizer and no teacher."""
    stage = {"name": "a", "steps": 1, "decodes": "features", "weights": {"mel": 1}}
    recipe = tiny_config(corpus, model=NAME, stages=[stage])
    torch.manual_seed(3)
    made = distillation_of(recipe, FocalCodec(CONFIG))
    made.initialise(AUDIO)
    result = made(AUDIO, recipe.stages[0], PASSED)
    assert result.quantized is None
    assert result.audio is not None
    model = made.model
    assert_close(result.audio, model.waveform.offline(model.features.offline(AUDIO)))


def test_pitch_is_from_yin_and_pulses_have_it(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONFIGS, NAME, (FocalCodec, SPOKEN))
    stage = {"name": "a", "steps": 1, "weights": {"mel": 1, "pitch": 1}}
    recipe = tiny_config(corpus, model=NAME, stages=[stage])
    torch.manual_seed(3)
    made = distillation_of(recipe, FocalCodec(SPOKEN))
    turns = 180 / 16_000 * torch.arange(320 * FRAMES).repeat(2, 1, 1)
    voiced = 0.2 * (2 * torch.pi * turns).cos() + 0.1 * (4 * torch.pi * turns).cos()
    result = made(voiced, recipe.stages[0], PASSED)
    model = made.model
    features = model.decompressed(
        model.quantizer.decode(
            model.quantizer.encode(model.compressor.offline(model.features.offline(voiced)))
        )
    )
    controls = model.waveform.controls(features)
    known = torch.full((2, FRAMES), 180.0)
    known[:, -1] = 0  # nothing follows it
    assert_close(
        result.losses["pitch"], pitch_loss(controls[:, :PITCHES], known), rtol=0.01, atol=0
    )
    assert result.audio is not None
    assert not torch.equal(result.audio, model.waveform.offline(features))
    original = pitch(voiced[:, 0], 16_000, 320)
    controls[:, :PITCHES] = with_pitch(controls[:, :PITCHES], original)
    assert_close(result.audio, model.waveform.layers[-1].offline(controls))


def test_a_pitch_loss_needs_a_voiced_excitation(corpus: Path) -> None:
    stage = {"name": "a", "steps": 1, "weights": {"mel": 1, "pitch": 1}}
    with pytest.raises(UsageError, match="stage a has a weight for pitch"):
        distillation_of(tiny_config(corpus, model=NAME, stages=[stage]), FocalCodec(CONFIG))


def test_no_gradient_of_own_features_reaches_the_target(corpus: Path) -> None:
    made, recipe = distillation(corpus, "quantizer")
    for parameter in made.model.compressor.parameters():
        parameter.requires_grad_(False)
    made(AUDIO, recipe.stages[0], PASSED).losses["own_features"].backward()
    grads = [p.grad for p in made.model.decompressor.parameters()]
    assert any(g is not None and g.abs().sum() > 0 for g in grads)
    latent = made.model.compressor.offline(made.model.features_by_layer(AUDIO)[-1])
    assert latent.requires_grad, "only through the codes"


def test_bypass_and_loss_of_frames(corpus: Path) -> None:
    made, recipe = distillation(corpus, "joint")
    term = [
        float(made(AUDIO, recipe.stages[0], dropout).losses["teacher_features"].detach())
        for dropout in (
            PASSED,
            replace(PASSED, bypass=torch.ones(2).bool()),
            replace(PASSED, present=torch.zeros(2, FRAMES).bool()),
        )
    ]
    assert len(set(term)) == 3
    nothing = made.model.decompressed(torch.zeros(2, CONFIG.bits, FRAMES))
    expected = (nothing - made.targets(AUDIO)[-1]).square().mean()
    assert term[2] == pytest.approx(float(expected.detach()), rel=1e-4)


def test_in_half_precision_all_but_the_quantizer(corpus: Path) -> None:
    """Rounding to bfloat16 would hide its entropy."""
    made, recipe = distillation(corpus, "joint", "whole")
    kinds = []
    made.model.quantizer.register_forward_pre_hook(lambda _, given: kinds.append(given[0].dtype))
    for stage in recipe.stages:
        whole = made(AUDIO, stage, PASSED)
        with torch.autocast("cpu", torch.bfloat16):
            half = made(AUDIO, stage, PASSED)
        for name, value in whole.losses.items():
            assert not torch.equal(half.losses[name], value), f"{name} is in single precision"
            assert_close(half.losses[name], value, rtol=0.05, atol=0.01)
    assert set(kinds) == {torch.float32}


@pytest.mark.parametrize("bf16", [False, True])
def test_a_recipe_may_ask_for_half_precision(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bf16: bool
) -> None:
    monkeypatch.setattr(fast, "products_in_bf16", lambda: True)  # on every processor
    trainer = Trainer(config(corpus, "joint", bf16=bf16), tmp_path, CPU)
    advance(trainer, 1)  # the start is in single precision
    made = []
    linear = next(m for m in trainer.model.decoder.modules() if isinstance(m, torch.nn.Linear))
    linear.register_forward_hook(lambda *given: made.append(given[2].dtype))
    advance(trainer, 2)
    assert set(made) == {torch.bfloat16 if bf16 else torch.float32}


@pytest.mark.parametrize("plain", [False, True], ids=["fast", "plain"])
def test_a_teacher_of_features_has_the_fast_forms_too(
    corpus: Path, tmp_path: Path, plain: bool
) -> None:
    trainer = Trainer(config(corpus, "encoder"), tmp_path, CPU, plain=plain)
    trainer.sampler()
    assert isinstance(trainer.forward, FeatureDistillation)
    assert trainer.forward.teacher is not None
    chosen = {part.fast for part in trainer.forward.teacher.modules() if hasattr(part, "fast")}
    assert chosen == {fast.available() and not plain}


# --- recipes that cannot be ----------------------------------------------------------------------


def refused(corpus: Path, *names: str, model: str = NAME, **teacher: Any) -> str:
    recipe: dict[str, Any] = config(corpus, *names).model_dump(mode="json") | {"model": model}
    recipe["teacher"] = recipe["teacher"] | teacher if teacher else None
    kind, about = CONFIGS[model]
    with pytest.raises((ChirrupError, ValidationError)) as error:
        distillation_of(TrainingConfig.model_validate(recipe), kind(about))  # type: ignore[arg-type]
    return str(error.value)


def test_recipes_that_cannot_be(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "stage encoder needs a teacher" in refused(corpus, "encoder", "quantizer", "joint")
    monkeypatch.setitem(CONFIGS, "small", IRIS)
    assert "small has no features" in refused(corpus, "joint", model="small", layers=[1, 2])
    assert "name one for each" in refused(corpus, "joint", layers=[1])
    assert "of the teacher's 3" in refused(corpus, "joint", layers=[1, 4])
    assert "40 dimensions, the model 32" in refused(corpus, "joint", fit=False)
    narrow = write_whisper(corpus / "narrow", dim=16)
    assert "16 dimensions, the model 32" in refused(
        corpus, "joint", path=str(narrow), layers=[1, 2]
    )
