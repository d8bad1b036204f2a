"""``chirrup bare`` and ``chirrup message``: speech over radio."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from chirrup.cli import console, files, options
from chirrup.cli.console import duration, note
from chirrup.errors import UsageError
from chirrup.words import counted

MESSAGE_BYTES = 200
"""Largest message by default."""

Floating = Annotated[
    bool, typer.Option("--float", help="Write 32-bit floating point with --decode.")
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite OUT.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no summary.")]


def bare(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Audio, or frames with --decode. - is a pipe.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="OUT", help="Frames, or audio with --decode. - is a pipe.")
    ],
    decode: Annotated[bool, typer.Option("--decode", help="Decode frames to audio.")] = False,
    model: options.Model = "iris-t1",
    bitrate: Annotated[str | None, options.bitrate("A bitrate of the model: 3000 or 3k")] = None,
    bits: Annotated[
        int | None,
        typer.Option(
            "--bits-per-frame",
            metavar="N",
            help="Bits of a frame; by default the bits of its codes.",
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Text to repeat in the spare bits, such as a call sign.",
            callback=options.utf8,
        ),
    ] = None,
    raw: Annotated[
        str | None,
        typer.Option(metavar="TYPE@RATExCHANNELS", help="Format of IN without a header."),
    ] = None,
    level: Annotated[
        bool, typer.Option("--level", help="Raise quiet speech by up to 40 dB, slowly.")
    ] = False,
    floating: Floating = False,
    force: Force = False,
    quiet: files.Quiet = False,
) -> None:
    """Code speech to frames without a header, for radios.

    A frame has a fixed number of bits. Give the same --model, --bitrate and --bits-per-frame to
    --decode. Texts that arrive are printed on standard error.
    """
    from chirrup.files.bare import decode_bare, encode_bare
    from chirrup.zoo import load

    if decode and (text is not None or raw is not None):
        raise UsageError(f"--{'raw' if text is None else 'text'} is not an option of --decode")
    if decode and level:
        raise UsageError("--level is not an option of --decode")
    if floating and not decode:
        raise UsageError("--float needs --decode")
    codec = load(model)
    if not decode:
        codec.check_encodes()
    bitrate_bps = console.optional_bitrate(bitrate)
    layout = {"bitrate_bps": bitrate_bps, "bits": bits, "force": force}
    with ExitStack() as stack:
        live = stack.enter_context(console.live_input()) if source == "-" else None
        place, out = live or source, console.pipe_out() if target == "-" else target
        work = "decoding" if decode else "encoding"
        bar = stack.enter_context(console.progress_bar(work, quiet))
        if decode:
            latest: list[str] = []

            def on_text(found: str) -> None:
                if latest != [found]:
                    latest[:] = [found]
                    note(f"text: {found}")

            result = decode_bare(
                codec, place, out, floating=floating, on_text=on_text, progress=bar, **layout
            )
            console.print_decoded(result, source, target, quiet)
        else:
            coded = encode_bare(
                codec, place, out, text=text, raw=raw, level=level, progress=bar, **layout
            )
            console.warn(coded.notes, source)
            if not quiet and target != "-":
                note(f"{target}: {duration(coded.seconds)} in {coded.size_bytes} bytes")
    raise typer.Exit(130 if live is not None and live.interrupted else 0)


def message(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Audio, or a folder of messages with --decode.")
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help="New folder for message-000.bin, ..., or audio, or - for a pipe, with --decode.",
        ),
    ],
    decode: Annotated[bool, typer.Option("--decode", help="Decode messages to audio.")] = False,
    model: options.Model = "iris-t1",
    bitrate: Annotated[
        str | None,
        options.bitrate(
            "A bitrate of the model: 3000 or 3k", "the lowest that the model was trained for"
        ),
    ] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option(metavar="BYTES", help=f"Largest message; by default {MESSAGE_BYTES} bytes."),
    ] = None,
    max_messages: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            metavar="N",
            help="Choose the highest bitrate with at most this many messages, of those that the "
            "model was trained for; by default as --bitrate.",
        ),
    ] = None,
    floating: Floating = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Code speech to messages of a few bytes.

    Each message can be decoded without the others. Lost messages are concealed. Give the
    same --model to --decode.
    """
    from chirrup.files.messages import decode_messages, encode_messages
    from chirrup.zoo import load

    for option, value in (
        ("--bitrate", bitrate),
        ("--max-bytes", max_bytes),
        ("--max-messages", max_messages),
    ):
        if decode and value is not None:
            raise UsageError(f"--decode does not use {option}: leave it out")
    if not decode and (floating or force):
        raise UsageError("--float and --force need --decode: OUT must be a new folder")
    codec = load(model)
    if decode:
        out = console.pipe_out() if target == "-" else target
        result = decode_messages(codec, Path(source), out, floating=floating, force=force)
        console.print_decoded(result, source, target, quiet)
        return
    codec.check_encodes()
    sizes, notes = encode_messages(
        codec,
        source,
        Path(target),
        MESSAGE_BYTES if max_bytes is None else max_bytes,
        bitrate_bps=console.optional_bitrate(bitrate),
        max_messages=max_messages,
    )
    console.warn(notes, source)
    if not quiet:
        note(f"{target}: {counted(len(sizes), 'message')}, {sum(sizes)} bytes together")


COMMANDS = (bare, message)
