"""``chirrup page``: the models in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from chirrup.cli.console import print_text


def page(
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the page for a static host.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 is any free one.")] = 8765,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Write into a folder that has files.")
    ] = False,
) -> None:
    """Serve a page that codes and plays audio with all models in a browser.

    All audio is coded in the browser. Ctrl-C ends the server.
    """
    import webbrowser

    from chirrup.serve import assets
    from chirrup.serve.page import PageServer

    found = assets.files()
    if out is not None:
        assets.write(out, found, force)
        size = sum(len(assets.content(file)) for file in found.values())
        print_text(f"wrote {len(found)} files ({size / 1e6:.1f} MB) into {out}")
        return
    with PageServer(found, port) as server:
        print_text(f"the page is at {server.address} (Ctrl-C ends)")
        if browser:
            webbrowser.open(server.address)
        server.serve_forever()


COMMANDS = (page,)
