"""``Codec.save_pretrained``: a folder that loads, with a card that the hub's own package reads."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

import chirrup
from chirrup.zoo import FOLDER
from installed_engines import needs_native
from small_model import Exported, speech_like

pytest_plugins = ["models_fixture"]


def metadata(folder: Path) -> dict[str, Any]:
    """Return the metadata of a card, as the hub's package reads it."""
    return ModelCard.load(folder / "README.md").data.to_dict()


@pytest.mark.parametrize("engine", [pytest.param("native", marks=needs_native), "onnx"])
def test_a_saved_model_is_the_model(small_export: Exported, tmp_path: Path, engine: str) -> None:
    codec = chirrup.load(small_export.folder, engine=engine)
    codec.save_pretrained(tmp_path / "new" / "saved")
    saved = chirrup.Codec.from_pretrained(tmp_path / "new" / "saved", engine=engine)
    audio = speech_like(4800)
    codes = codec.encode(audio)
    assert saved.encode(audio) == codes
    np.testing.assert_array_equal(saved.decode(codes), codec.decode(codes))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["saved"]
    before = {path.name: path.read_bytes() for path in saved.folder.iterdir()}
    saved.save_pretrained(saved.folder)
    assert {path.name: path.read_bytes() for path in saved.folder.iterdir()} == before


@needs_native
def test_a_model_of_a_wheel_has_its_program_only(small_export: Exported, tmp_path: Path) -> None:
    """Files of another model are replaced or removed, other files are kept."""
    wheel = tmp_path / "wheel"
    wheel.mkdir()
    for name in ("model.json", "model.chirp"):
        shutil.copy(small_export.folder / name, wheel)
    other = shutil.ignore_patterns("self_test.json")
    folder = shutil.copytree(FOLDER / "lrac-t1", tmp_path / "saved", ignore=other)
    (folder / "README.md").write_text("my own card")
    (folder / "notes.txt").write_text("my notes")
    chirrup.load(wheel).save_pretrained(folder)
    assert chirrup.load(folder).name == "small"
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.json", "model.chirp", "README.md", "notes.txt"}
    assert (folder / "README.md").read_text() == "my own card"


def test_no_graph_of_the_model_before_stays(tmp_path: Path) -> None:
    """focal-small has two more graphs than other models."""
    folder = shutil.copytree(
        FOLDER / "focal-small", tmp_path / "saved", ignore=shutil.ignore_patterns("*.safetensors")
    )
    chirrup.load("lrac-t1").save_pretrained(folder)
    graphs, wanted = (
        {path.name for path in one.glob("*.onnx")} for one in (folder, FOLDER / "lrac-t1")
    )
    assert graphs == wanted


@pytest.mark.parametrize("name", chirrup.models())
def test_a_card_has_the_metadata_of_the_hub(name: str, tmp_path: Path) -> None:
    codec = chirrup.load(name)
    codec.save_pretrained(tmp_path / name)
    card = ModelCard.load(tmp_path / name / "README.md")
    facts = card.data.to_dict()
    assert (facts["license"], facts["library_name"]) == ("apache-2.0", "chirrup")
    assert facts["pipeline_tag"] == "audio-to-audio"
    assert "audio-codec" in facts["tags"]
    scores = codec.description["training"].get("scores", {})
    values = [x for part in scores.values() if isinstance(part, dict) for x in part.values()]
    results = facts.get("model-index", [{"results": [{"metrics": []}]}])[0]["results"]
    assert [metric["value"] for result in results for metric in result["metrics"]] == values
    assert f"# {name}\n" in card.text
    assert "../" not in card.text


def test_a_model_without_a_card_gets_one(small_export: Exported, tmp_path: Path) -> None:
    """Without a stated licence, the metadata has none."""
    folder = shutil.copytree(small_export.folder, tmp_path / "model")
    codec = chirrup.load(folder)
    codec.save_pretrained(tmp_path / "saved", metadata={"tags": ["bird: song", "é"]})
    facts, text = metadata(tmp_path / "saved"), (tmp_path / "saved" / "README.md").read_text()
    assert facts["tags"] == ["bird: song", "é"]
    assert "license" not in facts
    assert "| bitrates | 0.4, 0.8, 1.2, 1.6 kbit/s |" in text
    assert "| trained for | 7 steps, 0.5 hours |" in text
    shutil.copy(tmp_path / "saved" / "README.md", folder)
    codec.save_pretrained(tmp_path / "again", metadata={"license": "mit", "tags": None})
    again = metadata(tmp_path / "again")
    assert again == {k: v for k, v in facts.items() if k != "tags"} | {"license": "mit"}
    assert (tmp_path / "again" / "README.md").read_text().endswith(text.partition("\n---\n")[2])


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_metadata_block_in_yaml_keeps_its_other_keys(
    small_export: Exported, tmp_path: Path, newline: str
) -> None:
    folder = shutil.copytree(small_export.folder, tmp_path / "model")
    (folder / "README.md").write_text(
        "---\nlicense: mit\ntags:\n- a\n- b\ndatasets:\n  - c/d\n---\n# My model\n",
        newline=newline,
    )
    more = {"tags": ["e"], "inference": False}
    chirrup.load(folder).save_pretrained(tmp_path / "saved", metadata=more)
    expected = {"license": "mit", "datasets": ["c/d"], **more}
    assert metadata(tmp_path / "saved") == expected


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"a": object()}, TypeError, "the value of the card's 'a' is not JSON"),
        ({"b": float("nan")}, ValueError, "the value of the card's 'b' is not JSON"),
        (["tags"], TypeError, "metadata must be a dictionary, not list"),
    ],
)
def test_wrong_metadata(
    small_export: Exported, tmp_path: Path, given: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        chirrup.load(small_export.folder).save_pretrained(tmp_path / "saved", metadata=given)
    assert not (tmp_path / "saved").exists()


def test_nothing_is_written_if_it_fails(
    small_export: Exported, tmp_path: Path, limited_size: Callable[[int], None]
) -> None:
    codec, saved = chirrup.load(small_export.folder), tmp_path / "saved"
    with pytest.raises(TypeError, match="JSON"):
        codec.save_pretrained(saved, metadata={"license": object()})
    with pytest.raises(ValueError, match="the folder is an empty text"):
        codec.save_pretrained("")
    wrong: list[dict[Any, Any]] = [{"a: b": 1}, {"a\nb": 1}, {"": 1}, {1: 2}]
    for metadata in wrong:
        with pytest.raises(ValueError, match="is not a key of a card's metadata"):
            codec.save_pretrained(saved, metadata=metadata)
    with pytest.raises(ValueError, match="not JSON compliant"):
        codec.save_pretrained(saved, metadata={"wer": float("nan")})
    limited_size(20_000)
    with pytest.raises(chirrup.FileError, match="saved cannot be written: File too large"):
        codec.save_pretrained(saved)
    (tmp_path / "file").write_text("")
    with pytest.raises(chirrup.FileError, match="saved cannot be written: File exists"):
        codec.save_pretrained(tmp_path / "file" / "saved")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_damaged_model_is_not_saved(small_export: Exported, tmp_path: Path) -> None:
    folder = shutil.copytree(small_export.folder, tmp_path / "model")
    codec = chirrup.load(folder)
    (folder / "model.safetensors").write_bytes(b"damage")
    with pytest.raises(chirrup.ModelError, match=r"model\.safetensors"):
        codec.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
