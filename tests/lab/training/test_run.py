"""The functions behind ``chirrup train`` and ``chirrup export``."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import chirrup
from chirrup.errors import FileError, ModelError, UsageError
from chirrup.files.drafts import only_one
from chirrup.lab import fast
from chirrup.lab.models import CONFIGS, Model
from chirrup.lab.models.iris import ConvNeXtBlock
from chirrup.lab.training import export as exporting
from chirrup.lab.training.checkpoints import VERSION, pack_checkpoint
from chirrup.lab.training.export import export_checkpoint, export_untrained
from chirrup.lab.training.run import train
from small_model import ENTRY, NAME, Exported, small_iris, speech_like
from tiny_training import tiny_recipe, write_corpus

pytest_plugins = ["models_fixture"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recipe file with few keys; overrides give the others."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    data = tiny_recipe(folder)["data"]
    lines = ['model = "small"', "batch_size = 2", "stages = [", "]", "[data]"]
    lines += [f"{key} = {value!r}" for key, value in data.items()]
    path = folder / "recipe.toml"
    path.write_text("\n".join(lines))
    return path


STAGE = 'stages=[{name = "a", steps = 3, quantize = false, weights = {mel = 1}}]'


@pytest.fixture(autouse=True)
def small_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, NAME, ENTRY)


def step(out: Path) -> int:
    return torch.load(out / "checkpoint.pt", weights_only=True)["step"]


def test_train_starts_stops_resumes_and_starts_afresh(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "run"
    train(recipe, out, [STAGE], minutes=0.0, device="cpu")
    assert step(out) == 1
    train(recipe, out, [STAGE], device="cpu")
    assert step(out) == 3
    train(recipe, out, [STAGE], minutes=0.0, device="cpu", fresh=True)
    assert step(out) == 1


def test_a_corpus_without_validation_recordings(
    recipe: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Training prints a warning and goes on. Without clips, it goes on silently."""
    caplog.set_level("WARNING", "chirrup")
    for changes, warnings in (
        (["data.validation=voice_test"], 1),
        (["data.validation_clips=0"], 0),
    ):
        caplog.clear()
        changes += [STAGE, "validate_every=1"]
        train(recipe, tmp_path, changes, minutes=0.0, device="cpu", fresh=True)
        assert step(tmp_path) == 1
        lines = [line for line in caplog.messages if "training goes without validation" in line]
        assert len(lines) == warnings


def test_a_line_comes_before_each_long_part(
    recipe: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The codebooks are initialised at the first step with the quantizer."""
    caplog.set_level("INFO", "chirrup")
    quantized = STAGE.replace("quantize = false", "quantize = true")
    for minutes in (0.0, None):
        data = [f"data.cache={tmp_path / 'cache'}", "codes.initialise_batches=16"]
        train(recipe, tmp_path / "run", [quantized, *data], minutes=minutes, device="cpu")
    first = f"training small for 3 steps in {tmp_path / 'run'}: checkpoint.pt gets the weights, "
    decoding = [line for line in caplog.messages if line.startswith("decoding ")]
    assert len(decoding) == len(set(decoding)) > 0
    assert [line for line in caplog.messages if line not in decoding] == [
        f"{first}log.jsonl the figures",
        "step 0: initialising the codebooks from 16 batches",
        f"{first}log.jsonl the figures",
        "the training goes on from step 1",
    ]


def test_train_refuses_wrong_recipes_and_folders(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="hue"):
        train(recipe, tmp_path, [STAGE, "hue=1"])
    with pytest.raises(ValueError, match="no model is called 'oris'"):
        train(recipe, tmp_path, [STAGE, "model=oris"], device="cpu")
    train(recipe, tmp_path, [STAGE], minutes=0.0, device="cpu")
    monkeypatch.setitem(CONFIGS, "other", ENTRY)
    with pytest.raises(ValueError, match="choose another folder"):
        train(recipe, tmp_path, [STAGE, "model=other"], device="cpu")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (["stages=[]"], "the recipe has no stage"),
        (
            [STAGE.replace("[", '[{name = "before", steps = 9, weights = {}}, ', 1)],
            "before has no loss",
        ),
        ([STAGE, "data.manifest=missing"], "there is no corpus at missing"),
    ],
)
def test_faults_are_found_before_fast_forms_are_compiled(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: list[str], match: str
) -> None:
    monkeypatch.setattr(fast, "available", None)
    with pytest.raises((ModelError, UsageError), match=match):
        train(recipe, tmp_path / "run", changes, device="cpu")
    assert not (tmp_path / "run").exists()


def test_another_training_in_the_folder(recipe: Path, tmp_path: Path) -> None:
    with (
        only_one(tmp_path, "chirrup train"),
        pytest.raises(FileError, match="another chirrup train is at work in"),
    ):
        train(recipe, tmp_path, [STAGE], minutes=0.0, device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_an_untrained_configuration_is_exported_with_the_same_random_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[Model, str, Path, np.ndarray, dict[str, Any]]] = []
    monkeypatch.setattr(exporting, "export", lambda *arguments: taken.append(arguments))
    random = torch.random.get_rng_state()
    for _ in range(2):
        export_untrained(NAME, tmp_path)
    assert torch.equal(torch.random.get_rng_state(), random)
    (model, name, folder, clip, card), (again, *_) = taken
    assert (name, folder, clip.shape) == (NAME, tmp_path, (5 * model.input_rate_hz,))
    assert card == {"steps": 0, "untrained": True}
    assert not model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])


def test_an_exported_checkpoint_loads_and_states_its_training(small_export: Exported) -> None:
    codec = chirrup.load(small_export.folder)
    assert codec.name == NAME
    card = codec.description["training"]
    assert (card["steps"], card["hours"]) == (7, 0.5)
    assert card["recipe"]["model"] == NAME
    audio = speech_like(12_000)
    assert codec.decode(codec.encode(audio)).shape == audio.shape


def test_the_averaged_weights_of_a_training_are_exported(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(recipe, tmp_path, [STAGE], device="cpu")
    given: dict[str, Any] = {}

    def take(
        model: Model,
        name: str,
        folder: Path,
        audio: np.ndarray,
        card: Any,
        *,
        lowest: int,
        compact: bool,
        pseudo_gray: bool,
        like: Path | None,
    ) -> str:
        given.update(model=model, name=name, folder=folder, audio=audio, card=card)
        assert lowest == 2
        assert not compact
        assert not pseudo_gray
        assert like is None
        return "parity"

    monkeypatch.setattr(exporting, "export", take)
    clip = recipe.parent / "speech_test" / "0.wav"
    for path in (tmp_path, tmp_path / "checkpoint.pt"):
        assert export_checkpoint(path, tmp_path / "model", clip) == "parity"
        saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        state = given["model"].state_dict()
        assert all(torch.equal(state[name], value) for name, value in saved["ema"].items())
        assert any(not torch.equal(saved["model"][name], state[name]) for name in state)
        assert (given["name"], given["folder"]) == (NAME, tmp_path / "model")
        assert given["card"]["steps"] == 3
        assert given["audio"].shape == (24_000,)


def test_changes_of_the_model_are_kept_with_its_weights(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ["model_changes.decoder_block=convnext", "model_changes.codebooks=2"]
    train(recipe, tmp_path, [STAGE, *changes], minutes=0.0, device="cpu")
    train(recipe, tmp_path, [STAGE, *changes], device="cpu")
    assert step(tmp_path) == 3
    pack_checkpoint(tmp_path, tmp_path / "packed.pt")
    given: list[Any] = []
    monkeypatch.setattr(exporting, "export", lambda *arguments, **_: given.extend(arguments))
    for path in (tmp_path, tmp_path / "packed.pt"):
        given.clear()
        export_checkpoint(path, tmp_path / "model")
        model, name, _, _, card = given
        assert name == NAME
        assert model.codebooks == 2
        assert any(isinstance(part, ConvNeXtBlock) for part in model.decoder.layers)
        assert card["recipe"]["model_changes"] == {"decoder_block": "convnext", "codebooks": 2}
    with pytest.raises(ValueError, match=r"choose another folder"):
        train(recipe, tmp_path, [STAGE], device="cpu")


def test_the_bundled_clip_is_there() -> None:
    assert exporting.DEMO_CLIP.is_file()


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"PK\x03\x04 half a zip"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a checkpoint of a chirrup training"):
        export_checkpoint(path, tmp_path / "model")


@pytest.mark.parametrize(
    "content",
    [
        {"weights": torch.zeros(3)},
        torch.zeros(3),
        [1, 2],
        {"ema": {}, "step": 1},
        {"ema": {}, "step": 1, "hours": 0.0, "config": {"model": NAME, "stages": []}},
        {"ema": {}, "step": 1, "hours": 0.0, "config": {"model": "oris", "stages": []}},
        {"ema": {}, "step": 1, "hours": 0.0, "config": {"colour": 1}},
    ],
)
def test_another_pytorch_file_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save(content, path)
    with pytest.raises(ValueError):  # noqa: PT011 - each wrong recipe has another message
        export_checkpoint(path, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    state = small_iris().state_dict() | {"decoder.0.conv.bias": torch.zeros(3)}
    config = {"model": NAME, "stages": []}
    saved = {"ema": state, "step": 1, "hours": 0.0, "config": config, "version": VERSION}
    torch.save(saved, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"decoder\.0\.conv\.bias"):
        export_checkpoint(tmp_path, tmp_path / "model")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        export_checkpoint(tmp_path / "nothing.pt", tmp_path / "model")


def test_training_resumes_from_a_packed_checkpoint(recipe: Path, tmp_path: Path) -> None:
    train(recipe, tmp_path / "a", [STAGE], minutes=0.0, device="cpu")
    whole = tmp_path / "a" / "checkpoint.pt"
    (tmp_path / "b").mkdir()
    packed = tmp_path / "b" / "checkpoint.pt"
    pack_checkpoint(tmp_path / "a", packed)
    assert packed.stat().st_size < 0.4 * whole.stat().st_size
    before, after = (torch.load(path, weights_only=True) for path in (whole, packed))
    for name, value in before["model"].items():
        assert torch.allclose(after["model"][name].float(), value, rtol=1e-3, atol=1e-6)
    train(recipe, tmp_path / "b", [STAGE], device="cpu")
    assert step(tmp_path / "b") == 3
    ended = torch.load(packed, weights_only=True)
    assert ended["ema"]["encoder.0.conv.bias"].dtype == torch.float32
