"""``chirrup info``: descriptions of files and models."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from chirrup.cli import console
from chirrup.cli.console import duration
from chirrup.errors import ChirrupError
from chirrup.files.names import is_coded, names_file

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def info(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|MODEL", help=".chirrup files, audio files or names of models."
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
    for name in names:
        try:
            facts, show = _facts(name, check)
        except (ChirrupError, OSError) as error:
            if len(names) == 1:
                raise
            console.fail(error)
            failed = True
            continue
        failed |= check and bool(facts.get("damage"))
        found.append(facts)
        if not as_json:
            show(facts)
    if as_json:
        console.print_json(found if len(names) > 1 else found[0])
    if failed:
        raise typer.Exit(2)


def _facts(name: str, check: bool) -> tuple[dict[str, Any], Callable[[dict[str, Any]], None]]:
    """Return the description of a file or a model, and the function that prints it."""
    from chirrup.cli.models import print_model, summary
    from chirrup.files import describe
    from chirrup.files.about import describe_audio
    from chirrup.zoo import load, models

    path = Path(name)
    if path.is_dir() or (name in models() and not path.exists()):
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
        + (f", {bitrate / 1000:.2f} kbit/s of file" if bitrate else ""),
        "codes": f"{facts['frames']} frames of {facts['codebooks']} codebooks, "
        f"{facts['bits_per_code']} bits each",
        **{f"metadata {key}": value for key, value in facts["metadata"].items()},
    }
    if facts["damage"] is not None:
        lines["damage"] = "; ".join(facts["damage"]) or "none"
    _print(name, lines)


def _print(name: str, lines: dict[str, str]) -> None:
    typer.echo(console.visible(name))
    console.print_rows({f"{key}:": value for key, value in lines.items()}, 10)


COMMANDS = (info,)
