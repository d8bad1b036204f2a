"""Recipes: keys, ranges, overrides, and the recipes of this project."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from pydantic import ValidationError

from chirrup.errors import ModelError
from chirrup.lab.models import CONFIGS, build
from chirrup.lab.models.tqcodec import TQCodec
from chirrup.lab.training.adversarial.losses import build_discriminator
from chirrup.lab.training.adversary_config import DiscriminatorConfig
from chirrup.lab.training.config import (
    LossWeights,
    Stage,
    TrainingConfig,
    load_recipe,
)
from chirrup.lab.training.data_config import Conditions
from chirrup.lab.training.distillation.feature_distillation import FeatureDistillation

ROOT = Path(__file__).parents[3]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
TEXT = """
model = "iris-t1"
batch_size = 4

[[stages]]
name = "first"
steps = 10
quantize = false
weights = { mel = 15 }

[[stages]]
name = "second"
steps = 20
weights = { mel = 15, pesq = 1 }
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(TEXT)
    return path


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_load(path: Path) -> None:
    config = load_recipe(path)
    assert config.model in CONFIGS
    assert config.steps > 1000
    assert config.warmup_steps < 0.1 * config.steps
    assert config.learning_rate_at(config.steps) == pytest.approx(config.final_learning_rate)
    fights = any(s.weights.adversarial > 0 or s.weights.features > 0 for s in config.stages)
    assert bool(config.adversary.discriminators) >= fights
    again = TrainingConfig.model_validate(config.model_dump(mode="json"))
    assert again == config


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_discriminators_can_be_built(path: Path) -> None:
    for discriminator in load_recipe(path).adversary.discriminators.values():
        build_discriminator(discriminator)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_name_a_layer_of_the_teacher_for_each_layer_of_the_model(path: Path) -> None:
    config = load_recipe(path)
    if config.teacher is not None:
        teacher = SimpleNamespace(layers=12, dim=1024)
        with torch.device("meta"):
            FeatureDistillation(config, build(config.model), cast(Any, teacher))


def test_wrong_options_of_a_discriminator_are_explained() -> None:
    config = DiscriminatorConfig(kind="mel", options={"chanels": 3})
    with pytest.raises(ModelError, match=r"kind mel cannot be built: .*chanels"):
        build_discriminator(config)


def documented_ablations() -> dict[str, list[str]]:
    """Overrides of recipes/tq.toml for each row of the paper's table."""
    text = (ROOT / "docs" / "how-to" / "train.md").read_text()
    table = text.partition("| the paper's row |")[2].partition("\n\n")[0].splitlines()[2:]
    rows = (line.strip("| ").split(" | ") for line in table)
    return {name: change.strip("`").split() for name, change in rows if change != "none"}


@pytest.mark.parametrize("row", documented_ablations())
def test_each_row_of_the_papers_table_is_one_command(row: str) -> None:
    plain = load_recipe(ROOT / "recipes" / "tq.toml")
    changed = load_recipe(ROOT / "recipes" / "tq.toml", documented_ablations()[row])
    with torch.device("meta"):
        model = build(changed.model, **changed.model_changes)
    assert isinstance(model, TQCodec)
    expected = {
        "EnCodec + DAC's RVQ": ("rvq", 32, 0, 0),
        "+ residual SimVQ": ("simvq", 32, 0, 0),
        "+ imbalanced autoencoder": ("simvq", 176, 0, 1),
        "+ subbands": ("simvq", 176, 8, 1),
    }
    of = model.config
    weight = changed.stages[0].weights.waveform
    assert (of.quantizer, of.encoder_dim, of.upper_dim, weight) == expected[row]
    assert changed.stages[0].steps == plain.stages[0].steps


def test_a_recipe_has_its_values(recipe: Path) -> None:
    config = load_recipe(recipe)
    assert (config.model, config.batch_size, config.steps) == ("iris-t1", 4, 30)
    assert config.stages[0] == Stage(
        name="first", steps=10, quantize=False, weights=LossWeights(mel=15)
    )
    assert config.stages[1].quantize
    assert config.stages[1].weights.pesq == 1


def test_overrides(recipe: Path) -> None:
    config = load_recipe(
        recipe,
        [
            "stages.0.steps=3",
            "stages.1.weights.mel=7.5",
            "data.crop_seconds=0.5",
            "data.conditions={clean=1}",
            "data.manifest=some/where.csv",
            'model="iris-t2"',
            "learning_rate=2e-4",
            "adversary.discriminators.mine.kind=mel",
            "adversary.discriminators.mine.options.channels=8",
            "adversary.bf16=false",
        ],
    )
    assert [stage.steps for stage in config.stages] == [3, 20]
    assert config.stages[1].weights.mel == 7.5
    assert config.data.crop_seconds == 0.5
    assert config.data.conditions == Conditions(clean=1)
    assert config.data.manifest == Path("some/where.csv")
    assert config.model == "iris-t2"
    assert config.learning_rate == 2e-4
    assert config.adversary.discriminators["mine"].options == {"channels": 8}
    assert not config.adversary.bf16


def test_conditions_may_be_a_list(recipe: Path) -> None:
    """Earlier recipes and checkpoints have one."""
    config = load_recipe(recipe, ["data.conditions=[1, 4, 4, 0, 2]"])
    expected = Conditions(clean=1, noisy=4, reverberant=4, noisy_reverberant=2)
    assert config.data.conditions == expected
    for wrong in ("[1, 4, 4]", "[1, 4, 4, 0, 2, 1]"):
        with pytest.raises(ValueError, match=r"data\.conditions"):
            load_recipe(recipe, [f"data.conditions={wrong}"])


def test_a_stage_has_conditions_of_its_own_among_those_that_are_loaded(recipe: Path) -> None:
    loaded = "data.conditions={clean=1, noisy=4}"
    config = load_recipe(recipe, [loaded, "stages.0.conditions={clean=6, noisy=2}"])
    assert [stage.conditions for stage in config.stages] == [Conditions(clean=6, noisy=2), None]
    for wrong in ("{clean=1, reverberant=1}", "{clean=1, noisy_reverberant=1}"):
        with pytest.raises(
            ValueError, match=r"weight 0 in data\.conditions \(.*reverberant\): give them a small"
        ):
            load_recipe(recipe, [loaded, f"stages.0.conditions={wrong}"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("batch_size=0", "batch_size is 0: give a number from 1 to 65536"),
        ("stages.0.weights={}", "stage first has no loss"),
        ('stages.0.train=["quantizer"]', "trains the quantizer without using it"),
        ("spectra={n_ffts=[], mels=[]}", "n_ffts is empty"),
        ("spectra={n_ffts=[1], mels=[1]}", "n_ffts.0 is 1: give a number from 4"),
        ('data.leave_out=[""]', "give a text that is not empty"),
        ("stages.0.weights={mel=1, heard=1, asr_features=1}", "give one of them"),
        ("stages.0.weights.melody=1", "melody"),
        ("adversary.discriminators.mine.kind=psychic", "kind"),
        ("batch_size=many", "batch_size"),
        ("batch_size", "not of the form key=value"),
        ("stages.2.steps=1", "stages.2.steps"),
        ("stages.first.steps=1", "stages.first.steps"),
        ("batch_size.more=1", "batch_size.more"),
        ("validate_every=0", "validate_every"),
        ("spectra.n_ffts=[64, 128]", "n_ffts has 2 values and spectra.mels has"),
        ("batch_size=1000000000", "batch_size is 1000000000: give a number from 1 to 65536$"),
        ("batch_size=" + "9" * 400, r"batch_size is about 10\^400: give a number from 1"),
        (
            "data.crop_seconds=1e9",
            r"data.crop_seconds is 1000000000.0: give .* from 0.0001 to 3600$",
        ),
        ("data.crop_seconds=nan", "data.crop_seconds is nan: give"),
        ("learning_rate=nan", "learning_rate is nan: give a number from 1e-12 to 10$"),
        ("learning_rate=inf", "learning_rate is inf: give"),
        ("data.speed_range=0", "data.speed_range is 0: give a number from 1 to 4$"),
        ("betas=[2, 2]", "betas.0 is 2: give a number from 0 to 0.999999999$"),
        ("stages.0.steps=-1", "stages.0.steps is -1: give"),
        ("stages.0.weights.mel=-1", "stages.0.weights.mel is -1: give"),
        ("codes.bypass=1.5", "codes.bypass is 1.5: give a number from 0 to 1$"),
        ("data.level_db=[0, -24]", r"data.level_db is \[0, -24\]: give the lower end first$"),
        ("data.conditions=[0, 0, 0, 0]", "give one condition a weight above 0$"),
        ("batch_sise=3", "there is no batch_sise: use batch_size$"),
        ("stages.0.weights.mell=1", "no stages.0.weights.mell: use stages.0.weights.mel,"),
        ("data.zzzz=1", "there is no data.zzzz: use data.manifest, data.speech"),
        (
            "stages.1.weights.adversarial=1",
            "stage second has adversarial losses, but the recipe has no discriminator",
        ),
    ],
)
def test_wrong_overrides_are_refused(recipe: Path, override: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        load_recipe(recipe, [override])
    assert "\n" not in str(raised.value)
    assert "pydantic" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latent_dim": -1}, r"latent_dim is -1: give numbers from 0 to 1000000$"),
        ({"latent_dim": float("nan")}, "latent_dim is nan"),
        ({"latent_dims": 3}, "iris-t1 has no 'latent_dims': use latent_dim"),
    ],
)
def test_wrong_changes_of_a_model_are_refused(changes: dict[str, float], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        build("iris-t1", **changes)


@pytest.mark.parametrize(
    "text",
    [
        "colour = 1\n" + TEXT,
        TEXT + "hue = 3\n",
        TEXT.replace("mel = 15", "mel = 'loud'"),
        'model = "iris-t1"',
        "model = ",
        "model = " + "[" * 9999,
    ],
)
def test_wrong_recipes_are_refused(recipe: Path, text: str) -> None:
    recipe.write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        load_recipe(recipe)


def test_a_configuration_does_not_change(recipe: Path) -> None:
    with pytest.raises(ValidationError):
        load_recipe(recipe).batch_size = 5  # type: ignore[misc]


def scheduled(recipe: Path, schedule: str) -> list[float]:
    """Return learning rates of a warm-up of 10 steps, of 100 more steps, and beyond the last."""
    steps = ["stages.0.steps=80", "warmup_steps=10", f"schedule={schedule}"]
    config = load_recipe(recipe, [*steps, "stages.1.steps=30"])
    return [config.learning_rate_at(step) for step in range(121)]


@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
def test_learning_rate_warms_up_and_falls_to_the_final_one(recipe: Path, schedule: str) -> None:
    rates = scheduled(recipe, schedule)
    assert rates[:10] == pytest.approx([1e-3 * (step + 1) / 10 for step in range(10)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[110:] == pytest.approx([1e-4] * 11)


def test_the_ways_to_fall(recipe: Path) -> None:
    """A cosine is at half in the middle. An exponential falls by one factor in every step."""
    assert scheduled(recipe, "cosine")[60] == pytest.approx((1e-3 + 1e-4) / 2)
    expected = [1e-3 * 0.1 ** (step / 100) for step in range(101)]
    assert scheduled(recipe, "exponential")[10:111] == pytest.approx(expected)


def test_the_stage_of_a_step(recipe: Path) -> None:
    config = load_recipe(recipe)
    names = [config.stage_at(step)[1].name for step in (0, 9, 10, 29, 30, 1000)]
    assert names == ["first", "first", *["second"] * 4]
    assert [config.stage_at(step)[0] for step in (9, 10, 1000)] == [0, 1, 1]


def test_a_stage_with_a_rate_of_its_own_warms_up_and_falls_by_itself(recipe: Path) -> None:
    changes = ["warmup_steps=4", "stages.1.learning_rate=5e-4", "stages.0.steps=10"]
    config = load_recipe(recipe, changes)
    rates = [config.learning_rate_at(step) for step in range(31)]
    assert rates[10:14] == pytest.approx([5e-4 * (step + 1) / 4 for step in range(4)])
    assert rates[14:31] == sorted(rates[14:31], reverse=True)
    assert rates[30] == pytest.approx(1e-4)
    plain = load_recipe(recipe, ["warmup_steps=4"])
    assert rates[:10] == [plain.learning_rate_at(step) for step in range(10)]


def test_the_kind_of_a_stage() -> None:
    """Audio is decoded for losses of audio. Distillation is for losses of features."""

    def stage(decodes: str = "codes", refine: bool = True, **weights: float) -> Stage:
        settings = {"name": "a", "steps": 1, "decodes": decodes, "refine": refine}
        return Stage.model_validate(settings | {"weights": weights})

    assert stage(mel=1).makes_audio
    assert stage(adversarial=1, layers=1).makes_audio
    assert not stage(layers=1, entropy=0.1).makes_audio
    assert not stage(mel=1, entropy=0.1, commitment=1).distils
    for made in (
        stage(layers=1),
        stage(mel=1, teacher_features=1),
        stage("teacher", mel=1),
        stage(refine=False, mel=1),
    ):
        assert made.distils
