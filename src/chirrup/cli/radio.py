"""``chirrup bare``: streams of bare frames for radios."""

from contextlib import ExitStack
from typing import Annotated

import typer

from chirrup.cli import console
from chirrup.cli.console import duration, note
from chirrup.errors import UsageError

Model = Annotated[str, typer.Option(help="Name or folder of a model.")]
Bitrate = Annotated[
    str | None, typer.Option("--bitrate", "-b", help="A bitrate of the model: 3000 or 3k.")
]


def bare(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Audio, or frames with --decode. - is a pipe.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="OUT", help="Frames, or audio with --decode. - is a pipe.")
    ],
    decode: Annotated[bool, typer.Option("--decode", help="Decode frames to audio.")] = False,
    model: Model = "iris-t1",
    bitrate: Bitrate = None,
    bits: Annotated[
        int | None,
        typer.Option("--bits-per-frame", help="Bits of a frame, by default the bits of its codes."),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Text to repeat in the spare bits, such as a call sign.")
    ] = None,
    raw: Annotated[
        str | None,
        typer.Option(metavar="TYPE@RATExCHANNELS", help="Format of IN without a header."),
    ] = None,
    floating: Annotated[
        bool, typer.Option("--float", help="Write 32-bit floating point with --decode.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite OUT.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no summary.")] = False,
) -> None:
    """Code speech to frames of a fixed number of bits without a header, for radios.

    There is no header: give the same --model, --bitrate and --bits-per-frame to --decode. Texts
    that arrive are printed on standard error.
    """
    from chirrup.files.bare import decode_bare, encode_bare
    from chirrup.zoo import load

    if decode and (text is not None or raw is not None):
        raise UsageError(f"--{'raw' if text is None else 'text'} is not an option of --decode")
    if floating and not decode:
        raise UsageError("--float needs --decode")
    codec = load(model)
    bitrate_bps = None if bitrate is None else console.parse_bitrate(bitrate)
    layout = {"bitrate_bps": bitrate_bps, "bits": bits, "force": force}
    with ExitStack() as stack:
        live = stack.enter_context(console.live_input()) if source == "-" else None
        place, out = live or source, console.pipe_out() if target == "-" else target
        if decode:
            latest: list[str] = []

            def heard(found: str) -> None:
                if latest != [found]:
                    latest[:] = [found]
                    note(f"text: {found}")

            result = decode_bare(codec, place, out, floating=floating, heard=heard, **layout)
            console.print_decoded(result, source, target, quiet)
        else:
            coded = encode_bare(codec, place, out, text=text, raw=raw, **layout)
            console.warn(coded.notes, source)
            if not quiet and target != "-":
                note(f"{target}: {duration(coded.seconds)} in {coded.size_bytes} bytes")
    raise typer.Exit(130 if live is not None and live.interrupted else 0)


COMMANDS = (bare,)
