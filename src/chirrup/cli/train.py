"""``chirrup train`` and ``chirrup export``, which need the extra ``train``."""

import json
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from chirrup.cli import completion, options
from chirrup.cli.console import note
from chirrup.cli.recipes import find_recipe
from chirrup.errors import FileError, UsageError


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Int8(StrEnum):
    none = "none"
    decoder = "decoder"
    both = "both"
    stored = "stored"


PARTS = {Int8.decoder: ("decoder",), Int8.both: ("encoder", "decoder"), Int8.stored: ()}


@contextmanager
def _extra() -> Generator[None, None, None]:
    """Raise FileError if a package of the extra is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "chirrup":
            raise
        raise FileError(
            f"training needs {error.name}, which is not installed: pip install 'chirrup[train]'"
        ) from error


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="Name of a recipe, such as iris-t1-cpu, or a file.",
            autocompletion=completion.training_recipes,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for checkpoints and logs.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the recipe.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="CORPUS",
            help="Corpus: its folder or manifest; short for data.manifest=. By default the "
            "recipe's.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Stop after this many minutes; by default at the recipe's last step.",
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="Start again, or resume the run in OUT.")
    ] = False,
    device: Annotated[
        Device, options.choice(Device, "Device to train on; auto is cuda if there is one.")
    ] = Device.auto,
    plain: Annotated[
        bool, typer.Option("--plain", help="Train without the fast forms of layers for CPUs.")
    ] = False,
) -> None:
    """Train a model by a recipe. Needs the extra: pip install 'chirrup[train]'."""
    path = find_recipe(recipe)
    if out.exists() and not out.is_dir():
        raise FileError(f"{out} is not a folder: give another --out")
    for text in overrides or []:
        if "=" not in text.lstrip("="):
            raise UsageError(f"{text!r} is not of the form key=value")
    changes = overrides or []
    if data:  # quoted, because overrides are TOML, in which 2024-11-30 is a date
        changes = [*changes, f"data.manifest={json.dumps(str(data), ensure_ascii=False)}"]
    first = os.environ.get("RANK", "0") == "0"
    if not first:
        logging.getLogger("chirrup").setLevel(logging.WARNING)
    with _extra():
        from chirrup.lab.training.config import load_recipe
        from chirrup.lab.training.run import train as run
    try:
        config = load_recipe(path, changes)  # read once, because it may be a pipe
    except ValueError as error:
        raise FileError(f"recipe {recipe}: {error}") from error
    step = run(config, out, minutes=minutes, device=str(device), fresh=fresh, plain=plain)
    if first:
        done = "" if step == config.steps else "; run the same command again to continue"
        if step > config.steps:
            done = "; the recipe ends before this step, so nothing was trained"
        note(f"{out / 'checkpoint.pt'}: step {step} of {config.steps}{done}")


def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="What to export, see above.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="OUT_FOLDER", help="Folder for the model.")],
    audio: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Clip of a few seconds for the comparison; by default a bundled one.",
        ),
    ] = None,
    pack: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write a small checkpoint from which training can continue."
        ),
    ] = None,
    int8: Annotated[
        Int8,
        options.choice(
            Int8,
            "Weights of 8 bits: decoder and both make live frames of large models faster; "
            "stored halves the size, and makes them faster without a change of the codes.",
        ),
    ] = Int8.none,
    pseudo_gray: Annotated[
        bool,
        typer.Option(
            "--pseudo-gray",
            help="Order codebooks so that an index with one wrong bit gives a similar entry.",
        ),
    ] = False,
    codes_of: Annotated[
        str | None,
        typer.Option(
            "--codes-of",
            metavar="MODEL",
            help="Model (name or folder with ONNX graphs) whose decoder alone was trained further; "
            "the two decode each other's files. The order of the codebooks is MODEL's. By default "
            "the codes are the export's own.",
        ),
    ] = None,
    decoder_only: Annotated[
        bool,
        typer.Option(
            "--decoder-only", help="Leave out the encoder: a smaller model, which only decodes."
        ),
    ] = False,
    untrained: Annotated[
        bool,
        typer.Option(
            "--untrained",
            help="Export the configuration of the name CHECKPOINT with random weights, to measure "
            "its speed.",
        ),
    ] = False,
) -> None:
    """Export a checkpoint to a model folder.

    CHECKPOINT is a file of chirrup train, or a folder with the authors' released checkpoint of
    FocalCodec-Stream or SpectroStream. With --int8 or --decoder-only it can also be the name or
    folder of a model with ONNX graphs, and with --untrained it is the name of a configuration, such
    as focal-65k.

    Needs the extra: pip install 'chirrup[train]'."""
    from chirrup.files.drafts import open_scratch
    from chirrup.model_folders import FOLDER, is_shipped, model_folder

    given = pack is not None or codes_of is not None or int8 is not Int8.none
    if untrained and (given or pseudo_gray):
        raise UsageError(
            "--untrained takes no --pack, --int8, --pseudo-gray or --codes-of: export the exported "
            "folder again with --int8"
        )
    if not untrained and not checkpoint.exists() and is_shipped(str(checkpoint)):
        checkpoint = FOLDER / checkpoint
    if not untrained and not checkpoint.exists():
        raise FileError(f"{checkpoint} does not exist: give a checkpoint of chirrup train")
    exported = not untrained and (checkpoint / "model.json").is_file()
    if exported and int8 is Int8.none and not decoder_only:
        raise FileError(
            f"{checkpoint} is a model already: give --int8 or --decoder-only, or a checkpoint"
        )
    if exported and pack is not None:
        raise FileError(f"{checkpoint} is a model: --pack needs a checkpoint of chirrup train")
    if exported and pseudo_gray:
        raise FileError(f"{checkpoint} is a model: --pseudo-gray needs a checkpoint")
    if exported and codes_of is not None:
        raise FileError(f"{checkpoint} is a model: --codes-of needs a checkpoint")
    like = model_folder(codes_of) if codes_of is not None else None
    if audio is not None and not audio.is_file():
        why = "is not a file" if audio.exists() else "does not exist"
        raise FileError(f"{audio} {why}: give an audio file")
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder} is not a folder: give another one")
    with _extra():
        from chirrup.lab.training import checkpoints
        from chirrup.lab.training.export import (
            export_checkpoint,
            export_decoder_only,
            export_untrained,
            export_with_int8,
        )

    if untrained:
        export_whole = partial(export_untrained, str(checkpoint), audio=audio)
    else:
        changes: dict[str, Any] = {"audio": audio, "pseudo_gray": pseudo_gray, "like": like}
        if int8 is Int8.none:
            export_whole = partial(export_checkpoint, checkpoint, **changes)
        else:
            export_whole = partial(export_with_int8, checkpoint, parts=PARTS[int8], **changes)
    try:
        if pack is not None:  # first, because it may fail and takes less time
            checkpoints.pack_checkpoint(checkpoint, pack)
        if not decoder_only:
            parity = export_whole(folder)
        elif exported and int8 is Int8.none:
            parity = export_decoder_only(checkpoint, folder, audio)
        else:
            with open_scratch(folder) as scratch:
                export_whole(scratch)
                parity = export_decoder_only(scratch, folder, audio)
    except ValueError as error:
        raise FileError(f"{checkpoint} cannot be exported: {error}") from error
    codes = (
        "it has no encoder"
        if decoder_only
        else f"{parity.codes_equal:.2%} of the codes equal the model's"
    )
    note(f"{folder}: {codes}, the audio differs by {parity.audio_error_db:.0f} dB")
    if untrained:
        note("the weights are random: use the folder to measure speed and memory only")


COMMANDS = (train, export)
