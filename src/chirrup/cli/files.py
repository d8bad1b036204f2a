"""``chirrup encode`` and ``chirrup decode``."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chirrup.cli import console, options
from chirrup.cli.console import duration, note
from chirrup.errors import UsageError
from chirrup.files.names import is_coded, names_file

if TYPE_CHECKING:
    from chirrup.files import Decoded, Encoded, Source, Target
    from chirrup.files.meter import Progress

Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Folder for the outputs, created if missing; by default beside IN."
    ),
]
Tags = Annotated[
    bool, typer.Option("--tags/--no-tags", help="Copy title, artist and other tags of IN.")
]
Workers = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="Number of files to process at a time, on a core each."),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite outputs that exist.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress and no summary.")]


class StereoMode(StrEnum):
    separate = "separate"
    mid_side = "mid-side"


def encode(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="IN",
            help="Audio files, folders with --out, or - for a pipe. The second of two is OUT, "
            "unless it is audio too. By default OUT is beside IN, with the ending .chirrup.",
        ),
    ],
    out: Out = None,
    model: options.Model = "iris-t1",
    bitrate: Annotated[
        str | None,
        options.bitrate("Highest bitrate for each channel: 6000 or 6k"),
    ] = None,
    mix: Annotated[bool, typer.Option("--mix", help="Average all channels to one.")] = False,
    stereo: Annotated[
        StereoMode,
        options.choice(StereoMode, "Code two channels separately, or their mid and side."),
    ] = StereoMode.separate,
    raw: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE@RATExCHANNELS",
            help="Format of IN without a header: s16@24000x1, u8, s24, f32, s16be, ulaw, ...",
        ),
    ] = None,
    chunk: Annotated[
        float | None,
        typer.Option(
            metavar="MS",
            help="Longest duration of a chunk, at least one frame; by default 2000 ms. A pipe is "
            "delayed by one chunk, and each chunk costs 15 bytes.",
        ),
    ] = None,
    level: Annotated[
        bool, typer.Option("--level", help="Raise quiet speech by up to 40 dB, slowly.")
    ] = False,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata", metavar="KEY=VALUE", help="Text to store.", callback=options.utf8
        ),
    ] = None,
    tags: Tags = True,
    workers: Workers = 1,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Code audio to .chirrup files.

    If there are several inputs, inputs whose outputs exist are skipped. Inputs that fail are listed
    at the end, and the exit code is 2. Ctrl-C ends a recording from a pipe and keeps it.
    """
    from chirrup.cli.several import Command, run
    from chirrup.files import encode_file
    from chirrup.files.naming import encoding
    from chirrup.zoo import load

    texts = console.parse_metadata(metadata or [])
    bitrate_bps = console.optional_bitrate(bitrate)
    codec = load(model)
    codec.check_encodes()

    def work(
        source: "Source", target: "Target", progress: "Progress | None", to_end: bool
    ) -> "Encoded":
        return encode_file(
            codec,
            source,
            target,
            bitrate_bps=bitrate_bps,
            mix=mix,
            stereo=stereo.value,
            raw=raw,
            chunk_ms=chunk,
            level=level,
            metadata=texts,
            tags=tags,
            force=force,
            to_end=to_end,
            progress=progress,
        )

    def report(result: "Encoded", source: str, target: str, interrupted: bool) -> None:
        console.warn(result.notes, source)
        if interrupted:
            note(f"interrupted: kept the first {duration(result.seconds)}")
        elif not quiet and target != "-":
            text = f"{target}: {duration(result.seconds)} in {result.size_bytes} bytes"
            if result.seconds >= console.SHORTEST_RATED:
                text += f", {result.bitrate_bps / 1000:.2f} kbit/s with the file's header"
            note(text)

    command = Command(
        "encoding", encoding(), work, report, lambda path: path.is_file() and is_coded(path)
    )
    code = run(command, paths, out, force=force, workers=workers, quiet=quiet)
    codes_bps = codec.bitrates_bps[codec.codebooks_within(bitrate_bps) - 1]
    if not quiet and bitrate_bps not in (None, codes_bps):
        note(
            f"{codec.name} has no bitrate of {bitrate_bps:.9g} bit/s: each channel is coded at the "
            f"next lower bitrate, {codes_bps}"
        )
    raise typer.Exit(code)


def decode(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="IN",
            help=".chirrup files, folders with --out, or - for a pipe. The second of two is OUT, "
            "unless it is a .chirrup file too; its ending is the format. By default OUT is beside "
            "IN, with the ending .decoded.wav, or .1m30-1m45.wav for a part.",
        ),
    ],
    out: Out = None,
    model: options.ModelOfInput = None,
    keep_rate: Annotated[
        bool,
        typer.Option(
            "--keep-rate", help="Write the model's sample rate instead of the original one."
        ),
    ] = False,
    rate: Annotated[
        int | None,
        typer.Option(metavar="HZ", help="Sample rate to write; by default the original one."),
    ] = None,
    floating: Annotated[
        bool, typer.Option("--float", help="Write 32-bit floating point, which does not clip.")
    ] = False,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Write samples without a header: s16, or f32 with --float."),
    ] = False,
    start: Annotated[
        str,
        typer.Option(
            "--from", metavar="TIME", help="Start of the part to decode: 90, 1:30 or 0:01:30."
        ),
    ] = "0",
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="End of the part; by default the end of IN."),
    ] = None,
    max_duration: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Longest output; for files 24:00:00 by default."),
    ] = None,
    any_weights: Annotated[
        bool, typer.Option("--any-weights", help="Decode even if IN was made with other weights.")
    ] = False,
    tags: Tags = True,
    workers: Workers = 1,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Decode .chirrup files, or a part of them, to audio.

    If there are several inputs, inputs whose outputs exist are skipped. Inputs that fail are listed
    at the end, and the exit code is 2.
    """
    from chirrup.cli.several import Command, run
    from chirrup.files import decode_file, describe
    from chirrup.files.naming import decoding
    from chirrup.zoo import load

    start_seconds = console.parse_time(start)
    end_seconds = None if end is None else console.parse_time(end)
    max_seconds = None if max_duration is None else console.parse_time(max_duration)
    if raw and (formats := [name for name in paths if _is_raw_format(name)]):
        raise UsageError(
            f"--raw of decode takes no format such as {formats[0]}: it writes s16, or f32 with "
            f"--float, at the rate of --rate; ./{formats[0]} is a file of that name"
        )
    if keep_rate and rate is not None:
        raise UsageError("--keep-rate and --rate exclude each other: choose one")
    codec = None if model is None else load(model)

    def kept_rate(source: "Source") -> int:
        if codec is not None:
            return codec.sample_rate_hz
        if not isinstance(source, (str, Path)) or not names_file(Path(source)):
            raise UsageError("--keep-rate of a pipe requires the model: give --model as well")
        return describe(source)["sample_rate_hz"]

    def work(
        source: "Source", target: "Target", progress: "Progress | None", to_end: bool
    ) -> "Decoded":
        return decode_file(
            codec,
            source,
            target,
            rate_hz=kept_rate(source) if keep_rate else rate,
            floating=floating,
            raw=raw,
            force=force,
            force_model=any_weights,
            start_seconds=start_seconds,
            end_seconds=end_seconds,
            to_end=to_end,
            max_seconds=max_seconds,
            tags=tags,
            progress=progress,
        )

    def report(result: "Decoded", source: str, target: str, interrupted: bool) -> None:
        console.print_decoded(result, source, target, quiet)

    naming = decoding(raw=raw, start_seconds=start_seconds, end_seconds=end_seconds)
    command = Command("decoding", naming, work, report, Path.is_file)
    raise typer.Exit(run(command, paths, out, force=force, workers=workers, quiet=quiet))


def _is_raw_format(name: str) -> bool:
    """Return whether an argument is, as for ``encode --raw``, a type of samples or a format."""
    from chirrup.files.wav import SAMPLE_TYPES

    return name.partition("@")[0] in SAMPLE_TYPES and not Path(name).exists()


COMMANDS = (encode, decode)
