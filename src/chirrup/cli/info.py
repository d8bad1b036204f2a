"""``chirrup info``: descriptions of files and models."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from chirrup.cli import completion, console
from chirrup.cli.console import duration
from chirrup.errors import ChirrupError, FileError
from chirrup.files.names import is_coded, names_file
from chirrup.files.naming import CODED_ENDING, READ_ENDINGS, Naming
from chirrup.files.several import Plan, files_in
from chirrup.words import counted

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def info(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|FOLDER|MODEL",
            help=".chirrup files, audio files, folders of them, or models.",
            autocompletion=completion.models_or_paths,
        ),
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Read the whole file and report damage.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Describe files and models.

    The exit code is 2 if one of them cannot be read, or if --check finds damage.
    """

    found, failed = [], False
    every = list(_expanded(names))
    for name in every:
        try:
            facts, show = _facts(name, check)
        except (ChirrupError, OSError) as error:
            if every == names[:1]:
                raise
            console.fail(error)
            failed = True
            continue
        failed |= check and bool(facts.get("damage"))
        found.append(facts)
        if not as_json:
            show(facts)
    if as_json:
        console.print_json(found[0] if every == names[:1] else found)
    if failed:
        raise typer.Exit(2)


def _expanded(names: list[str]) -> Iterator[str]:
    """Replace each folder that is not a model by the files in it.

    Raises:
        FileError: a folder has none.
    """
    naming = Naming(READ_ENDINGS | {CODED_ENDING}, "")
    for name in names:
        folder = Path(name)
        if not folder.is_dir() or (folder / "model.json").exists():
            yield name
            continue
        passed_over = Plan()
        paths = list(files_in(folder, naming, passed_over))
        if passed_over.unreadable:
            raise passed_over.unreadable[0]
        if not paths:
            raise FileError(f"{folder} has no .chirrup files, no audio files and no model.json")
        yield from map(str, paths)


def _facts(name: str, check: bool) -> tuple[dict[str, Any], Callable[[dict[str, Any]], None]]:
    """Return the description of a file or a model, and the function that prints it."""
    from chirrup.cli.models import print_model, summary
    from chirrup.files import describe
    from chirrup.files.about import describe_audio
    from chirrup.hub import PREFIX
    from chirrup.model_folders import is_shipped, models
    from chirrup.zoo import load

    path = Path(name)
    may_be_model = path.name == name != "-" and not path.suffix
    if may_be_model and not (is_shipped(name) or os.path.exists(name)):
        raise FileError(
            f"{name} does not exist, and no model has this name: give a file, a folder or one of "
            f"{', '.join(models())}"
        )
    if path.is_dir() or name.startswith(PREFIX) or (is_shipped(name) and not path.exists()):
        return summary(load(name)), print_model
    if name == "-":
        with console.live_input() as live:
            return describe(live, check=check, to_end=True), partial(_print_file, name)
    if path.is_file() and names_file(path) and not is_coded(path):
        return describe_audio(path), partial(_print_audio, name)
    return describe(name, check=check), partial(_print_file, name)


def _print_audio(name: str, facts: dict[str, Any]) -> None:
    _print(
        name,
        {
            "format": f"{facts['format']}, {facts['samples']}",
            "duration": duration(facts["seconds"]),
            "audio": f"{facts['sample_rate_hz']} Hz, channels: {facts['channels']}",
            "size": f"{facts['size_bytes']} bytes",
            **{f"tag {key}": value for key, value in facts["tags"].items()},
            **({"damage": "; ".join(facts["damage"])} if facts["damage"] else {}),
        },
    )


def _print_file(name: str, facts: dict[str, Any]) -> None:
    channels, bitrate = facts["original_channels"], facts["bitrate_bps"]
    modes = {"downmix": " mixed to 1", "mid-side": " coded as mid and side"}
    mode = modes.get(facts["channel_mode"], "")
    installed = "" if facts["installed"] else " (not installed)"
    lines = {
        "model": f"{facts['model']}{installed}, weights {facts['weights'][:8]}",
        "duration": duration(facts["seconds"])
        + ("" if facts["sample_count"] is not None else " (exact length unknown)"),
        "audio": f"{facts['original_sample_rate_hz']} Hz, channels: {channels}{mode}",
        "size": f"{facts['size_bytes']} bytes",
        "bitrate": f"{facts['nominal_bitrate_bps'] / 1000:g} kbit/s of codes"
        + (
            f", {bitrate / 1000:.2f} kbit/s of file"
            if bitrate and facts["seconds"] >= console.SHORTEST_RATED
            else ""
        ),
        "codes": f"{counted(facts['frames'], 'frame')} of "
        f"{counted(facts['codebooks'], 'codebook')}, "
        f"{counted(facts['bits_per_code'], 'bit')} each",
        **{f"metadata {key}": value for key, value in facts["metadata"].items()},
    }
    if facts["damage"] is not None:
        lines["damage"] = "; ".join(facts["damage"]) or "none"
    _print(name, lines)


def _print(name: str, lines: dict[str, str]) -> None:
    typer.echo(console.visible(name))
    console.print_rows({f"{key}:": value for key, value in lines.items()}, 10)


COMMANDS = (info,)
