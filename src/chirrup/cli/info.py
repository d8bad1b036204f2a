"""``chirrup info``: what a file or a model is."""

from pathlib import Path
from typing import Annotated, Any

import typer

from chirrup.cli import console
from chirrup.cli.console import duration

Json = Annotated[bool, typer.Option("--json", help="For programs.")]


def info(
    file: Annotated[
        str, typer.Argument(metavar="FILE|MODEL", help="A .chirrup file, or a model's name.")
    ],
    check: Annotated[bool, typer.Option("--check", help="Look for damage in all of it.")] = False,
    as_json: Json = False,
) -> None:
    """Print what a .chirrup file or a model is. With --check, exit code 2 if it is damaged."""
    from chirrup.zoo import load, models

    path = Path(file)
    if path.is_dir() or (file in models() and not path.exists()):
        from chirrup.cli.models import print_model, summary

        facts = summary(load(file))
        console.print_json(facts) if as_json else print_model(facts)
        return
    from chirrup.files import describe

    if file == "-":
        with console.live_input() as live:
            facts = describe(live, check=check, to_end=True)
    else:
        facts = describe(file, check=check)
    console.print_json(facts) if as_json else _print_file(file, facts)
    if check and facts["damage"]:
        raise typer.Exit(2)


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
    typer.echo(name)
    for key, value in lines.items():
        typer.echo(f"  {key + ':':<10} {value}")


COMMANDS = (info,)
