"""Writing of a loaded model to a folder, which can be loaded or uploaded to a hub."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chirrup.card import card
from chirrup.engines import ENGINES, engine_files, model_files
from chirrup.errors import FileError, ModelError
from chirrup.hub import CARD
from chirrup.model_json import check_files, read_spec
from chirrup.runtime.native import PROGRAM
from chirrup.runtime.reading import read_bytes
from chirrup.spec import ModelSpec

MOST_CARD_BYTES = 1 << 22


def save_model(
    source: Path,
    folder: Path,
    spec: ModelSpec,
    about: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> None:
    """Write a model folder with the program, or the graphs and weights, or both, as the source has.

    A card that exists in ``folder`` is kept. Files of a model that it had are removed.

    Raises:
        ModelError: a file of the source is missing or damaged.
        FileError: the folder cannot be written.
        TypeError: ``metadata`` is not a dictionary, or a value cannot be written as JSON.
        ValueError: a key of ``metadata`` is not a name, or a number is not finite.
    """
    names = ["model.json"]
    for engine in ENGINES if spec.program_sha256 else ["onnx"]:
        files = engine_files(spec, engine)
        if (source / files[0]).exists():
            check_files(source, spec, engine)
            names = [*files, *names]
    own = source / CARD
    text = None
    if own.exists():
        text = read_bytes(own, MOST_CARD_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    written = card(spec, about, text, metadata)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name[:200]}.", dir=folder.parent) as made:
            draft = Path(made)
            for name in names:
                shutil.copyfile(source / name, draft / name)
            (draft / CARD).write_text(written, encoding="utf-8")
            folder.mkdir(exist_ok=True)
            for name in replaced_files(folder).difference(names):
                (folder / name).unlink(missing_ok=True)
            if not (folder / CARD).exists():
                names = [CARD, *names]
            for name in names:  # model.json last: a folder without it is not a model
                (draft / name).replace(folder / name)
    except OSError as error:
        raise FileError(f"{folder} cannot be written: {error.strerror or error}") from error


def replaced_files(folder: Path) -> set[str]:
    """Return the names of the files of the model in a folder, which another one is to replace."""
    found = {PROGRAM}
    with suppress(ModelError):
        found.update(model_files(read_spec(folder)[0]))
    return found
