"""``chirrup encode``, ``decode`` and ``info``."""

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from chirrup.cli import console
from chirrup.cli.console import duration, note
from chirrup.files.errors import FileError
from chirrup.files.names import names_file

Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


class StereoMode(StrEnum):
    separate = "separate"
    mid_side = "mid-side"


def encode(
    source: Annotated[str, typer.Argument(metavar="IN", help="Audio of any kind; - is a pipe.")],
    target: Annotated[
        str | None, typer.Argument(metavar="OUT", help="By default IN with .chirrup.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name, or folder.")] = "iris-t1",
    bitrate: Annotated[
        str | None,
        typer.Option("--bitrate", "-b", help="At most, for each channel: 6000, or 6k."),
    ] = None,
    mix: Annotated[bool, typer.Option("--mix", help="Average all channels to one.")] = False,
    stereo: Annotated[
        StereoMode, typer.Option(help="Code two channels as they are, or their mid and side.")
    ] = StereoMode.separate,
    raw: Annotated[
        str | None, typer.Option(help="IN has no header: s16@24000x1 or f32@RATExCHANNELS.")
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="Text to keep.")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Code audio to a .chirrup file.

    Ctrl-C ends the recording from a pipe; what came until then is kept.
    """
    from chirrup.files import encode_file
    from chirrup.zoo import load

    texts = console.parse_metadata(metadata or [])
    bitrate_bps = None if bitrate is None else console.parse_bitrate(bitrate)
    codec = load(model)
    target = _target(source, target, ".chirrup")
    with ExitStack() as stack:
        live = stack.enter_context(console.live_input()) if source == "-" else None
        progress = stack.enter_context(console.progress_bar("encoding", quiet))
        result = encode_file(
            codec,
            live or source,
            console.pipe_out() if target == "-" else target,
            bitrate_bps=bitrate_bps,
            mix=mix,
            stereo=stereo.value,
            raw=raw,
            metadata=texts,
            force=force,
            to_end=live is not None,
            progress=progress,
        )
    console.warn(result.notes, source)
    if not quiet and bitrate_bps not in (None, result.codes_bps):
        note(
            f"{codec.name} has no bitrate of {bitrate_bps:g} bit/s: each channel is coded at the "
            f"next lower, {result.codes_bps}"
        )
    interrupted = live is not None and live.interrupted
    if interrupted:
        note(f"interrupted: kept the {duration(result.seconds)} until then")
    elif not quiet and target != "-":
        note(
            f"{target}: {duration(result.seconds)} in {result.size_bytes} bytes, "
            f"{result.bitrate_bps / 1000:.2f} kbit/s"
        )
    raise typer.Exit(130 if interrupted else 0)


def decode(
    source: Annotated[str, typer.Argument(metavar="IN", help="A .chirrup file; - is a pipe.")],
    target: Annotated[
        str | None,
        typer.Argument(metavar="OUT", help="By default IN with .wav; the ending is the format."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Name or folder; by default what IN names.")
    ] = None,
    keep_rate: Annotated[
        bool, typer.Option("--keep-rate", help="The model's sample rate, not the original's.")
    ] = False,
    rate: Annotated[int | None, typer.Option(help="Another sample rate in Hz.")] = None,
    floating: Annotated[
        bool, typer.Option("--float", help="32-bit floating point, which does not clip.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Write samples only, no header.")] = False,
    start: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Decode a part: 90, 1:30 or 0:01:30.")
    ] = "0",
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Its end.")] = None,
    max_duration: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Write no more: 24:00:00 to a file by default."),
    ] = None,
    any_weights: Annotated[
        bool, typer.Option("--any-weights", help="Decode although IN has other weights.")
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Turn a .chirrup file, or a part of it, into audio."""
    from chirrup.files import decode_file, describe
    from chirrup.zoo import load

    start_seconds = console.parse_time(start)
    end_seconds = None if end is None else console.parse_time(end)
    max_seconds = None if max_duration is None else console.parse_time(max_duration)

    if keep_rate and rate is not None:
        raise FileError("--keep-rate and --rate cannot go together: choose one")
    codec = None if model is None else load(model)
    if keep_rate:
        if codec is None and not (source != "-" and names_file(Path(source))):
            raise FileError("--keep-rate of a pipe needs to know the model: give --model as well")
        rate = codec.sample_rate_hz if codec else describe(source)["sample_rate_hz"]
    target = _target(source, target, ".raw" if raw else ".wav")
    with ExitStack() as stack:
        live = stack.enter_context(console.live_input()) if source == "-" else None
        progress = stack.enter_context(console.progress_bar("decoding", quiet))
        result = decode_file(
            codec,
            live or source,
            console.pipe_out() if target == "-" else target,
            rate_hz=rate,
            floating=floating,
            raw=raw,
            force=force,
            force_model=any_weights,
            start_seconds=start_seconds,
            end_seconds=end_seconds,
            to_end=live is not None,
            max_seconds=max_seconds,
            progress=progress,
        )
    console.say_decoded(result, source, target, quiet)
    raise typer.Exit(130 if live is not None and live.interrupted else 0)


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


def _target(source: str, target: str | None, suffix: str) -> str:
    """The output: as given, in the folder given, or beside the input."""
    if target == "-" or (target is None and source == "-"):
        return "-"
    if target is None and not (names_file(Path(source)) or Path(source).is_dir()):
        raise FileError(f"{source} is a pipe or device, which gives the output no name: give OUT")
    if target is None:
        return str(Path(source).with_suffix(suffix)) if Path(source).name else source
    if source != "-" and Path(target).is_dir():
        return str(Path(target) / Path(source).with_suffix(suffix).name)
    return target


COMMANDS = (encode, decode, info)
