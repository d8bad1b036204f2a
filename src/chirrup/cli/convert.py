"""``chirrup convert``: voice conversion of speech."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from chirrup.cli import console, options


def convert(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Audio, a .chirrup file, or - for a pipe.")
    ],
    target: Annotated[
        str,
        typer.Argument(metavar="OUT", help="Audio; the ending selects the format. - is a pipe."),
    ],
    voice: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="Recording of the other voice; can be repeated."),
    ],
    model: options.Model = "focal-small",
    neighbours: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Average this many frames of the voice for each frame."
        ),
    ] = 4,
    floating: Annotated[
        bool, typer.Option("--float", help="Write 32-bit floating point, which does not clip.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite OUT.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print no progress and no summary.")
    ] = (False),
) -> None:
    """Convert speech to another voice.

    A few seconds of the other voice suffice; two minutes or more are better. The model must be a
    FocalCodec-Stream, such as focal-small. A .chirrup file of the model is decoded in the other
    voice. Ask the speaker for permission first.
    """
    from chirrup.files import convert_file
    from chirrup.zoo import load

    codec = load(model)
    codec.check_encodes()
    with ExitStack() as stack:
        live = stack.enter_context(console.live_input()) if source == "-" else None
        result = convert_file(
            codec,
            live or source,
            console.pipe_out() if target == "-" else target,
            voice,
            neighbours=neighbours,
            floating=floating,
            force=force,
            to_end=live is not None,
            progress=stack.enter_context(console.progress_bar("converting", quiet)),
        )
    console.print_decoded(result, source, target, quiet)
    raise typer.Exit(130 if live is not None and live.interrupted else 0)


COMMANDS = (convert,)
