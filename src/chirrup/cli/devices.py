"""``chirrup record`` and ``chirrup play``."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from chirrup.cli import console, options, signals
from chirrup.cli.console import duration, note
from chirrup.errors import UsageError
from chirrup.files.names import is_coded

ListDevices = Annotated[bool, typer.Option("--list-devices", help="List the devices, and end.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no level and no summary.")]


def record(
    out: Annotated[
        str | None,
        typer.Argument(metavar="OUT", help=".chirrup or audio file, or - for a pipe of .chirrup."),
    ] = None,
    model: options.Model = "iris-t1",
    bitrate: Annotated[
        str | None,
        options.bitrate("Highest bitrate: 6000 or 6k"),
    ] = None,
    chunk: Annotated[
        float | None,
        typer.Option(metavar="MS", help="Longest duration of a chunk; by default 2000 ms."),
    ] = None,
    level: Annotated[
        bool, typer.Option("--level", help="Raise quiet speech by up to 40 dB, slowly.")
    ] = False,
    for_: Annotated[
        str | None,
        typer.Option(
            "--duration", metavar="TIME", help="End after this time; by default at Ctrl-C."
        ),
    ] = None,
    device: options.Device = None,
    list_devices: ListDevices = False,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Overwrite OUT if it exists.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Record a microphone to a .chirrup or audio file. Ctrl-C ends the recording and keeps it."""
    if list_devices:
        return _print_devices()
    if out is None:
        raise UsageError("OUT is missing: give a file, or - for a pipe")
    from chirrup.files import encode_file
    from chirrup.files.naming import AUDIO_ENDINGS
    from chirrup.files.outputs import check_target
    from chirrup.files.recording import record_file
    from chirrup.live.devices import Microphone
    from chirrup.zoo import load

    is_audio = Path(out).suffix.lower() in AUDIO_ENDINGS
    for name, value in (("--bitrate", bitrate), ("--chunk", chunk)):
        if is_audio and value is not None:
            raise UsageError(
                f"{name} is for .chirrup files, but OUT is {out}: leave {name} out, or give OUT "
                "the ending .chirrup"
            )
    bitrate_bps = console.optional_bitrate(bitrate)
    seconds = None if for_ is None else console.parse_time(for_)
    codec = load(model)
    codec.check_encodes()
    target = console.pipe_out() if out == "-" else out
    check_target(target, force, coded=not is_audio)
    with ExitStack() as stack:
        source = stack.enter_context(
            Microphone(codec.input_rate_hz, 1, console.device(device), seconds)
        )
        live = stack.enter_context(console.until_interrupted(source, signals.ENDS))
        meter = stack.enter_context(console.level_meter(lambda: source.peak, quiet))
        raw = f"f32@{source.rate_hz}x1"
        if is_audio:
            done = record_file(live, target, raw, level=level, force=force, progress=meter)
        else:
            done = encode_file(
                codec,
                live,
                target,
                bitrate_bps=bitrate_bps,
                raw=raw,
                chunk_ms=chunk,
                level=level,
                force=force,
                progress=meter,
            )
    console.warn(done.notes, "the recording")
    if source.overflows:
        note(f"warning: the device has lost samples {source.overflows} times: the machine is busy")
    if not quiet and out != "-":
        note(f"{out}: {duration(done.seconds)}")
    return None


def play(
    path: Annotated[
        str | None,
        typer.Argument(metavar="IN", help=".chirrup or audio file, or - for a pipe."),
    ] = None,
    model: options.ModelOfInput = None,
    rate: Annotated[
        int | None,
        typer.Option(
            metavar="HZ", help="Sample rate of a .chirrup file; by default the original one."
        ),
    ] = None,
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="Start of the part.")] = "0",
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="End of the part; by default the end of IN."),
    ] = None,
    device: options.Device = None,
    list_devices: ListDevices = False,
    quiet: Quiet = False,
) -> None:
    """Play a .chirrup or audio file on a loudspeaker. Each chunk of a pipe is played at once."""
    if list_devices:
        return _print_devices()
    if path is None:
        raise UsageError("IN is missing: give a file, or - for a pipe")
    from chirrup.files import decode_file
    from chirrup.files.outputs import check_source
    from chirrup.files.recording import begins_coded, play_file
    from chirrup.live.devices import Speaker
    from chirrup.zoo import load

    start_seconds = console.parse_time(start)
    end_seconds = None if end is None else console.parse_time(end)
    codec = None if model is None else load(model)
    with ExitStack() as stack:
        if path == "-":
            source, coded = begins_coded(stack.enter_context(console.live_input()))
        else:
            check_source(Path(path))
            source, coded = path, Path(path).is_file() and is_coded(Path(path))
        speaker = stack.enter_context(Speaker(console.device(device)))
        if not coded:
            if rate is not None or start_seconds or end_seconds is not None:
                raise UsageError("--rate, --from and --to are only for .chirrup files")
            notes = play_file(source, speaker)
        else:
            notes = decode_file(
                codec,
                source,
                speaker,
                rate_hz=rate,
                floating=True,
                start_seconds=start_seconds,
                end_seconds=end_seconds,
                to_end=path == "-",
            ).damage
    console.warn(notes, path)
    if speaker.underflows and not quiet:
        note(f"warning: the sound was interrupted {speaker.underflows} times")
    return None


def _print_devices() -> None:
    from chirrup.live.devices import list_devices

    found = list_devices()
    for device in found:
        console.print_text(
            f"{device['number']:>3} {device['name']} ({device['host_api']}): "
            f"{device['inputs']} in, {device['outputs']} out, {device['sample_rate_hz']} Hz",
            indent=4,
        )
    if not found:
        print("chirrup: there is no audio device", file=sys.stderr)


COMMANDS = (record, play)
