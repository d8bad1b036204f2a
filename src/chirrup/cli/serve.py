"""``chirrup page`` and ``chirrup serve``: the models in a browser, and a relay for calls."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from chirrup.cli import console
from chirrup.cli.console import print_text
from chirrup.errors import UsageError
from chirrup.live.rooms import TOKEN

LOOPBACK = "127.0.0.1"
PORT = 8765


def page(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write the page for a static host; by default serve it."
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port; 0 is any free one.")
    ] = PORT,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Write into a folder that has files.")
    ] = False,
) -> None:
    """Serve a page with the models to a browser here.

    All audio is coded in the browser. Ctrl-C ends the server.
    """
    import webbrowser

    from chirrup.serve import assets
    from chirrup.serve.page import PageServer

    if force and out is None:
        raise UsageError("--force needs --out")
    if out is not None and (port != PORT or not browser):
        option = "--no-browser" if port == PORT else "--port"
        raise UsageError(f"{option} is not an option of --out: leave it out")
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


def serve(
    at: Annotated[
        str,
        typer.Argument(metavar="[HOST:]PORT", help="Own address; without HOST, this machine only."),
    ],
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="File with the token that people need; or set the environment variable "
            f"{TOKEN}. By default they need none.",
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="https://HOST",
            help="Let pages of another host use the relay; by default only pages of this one. "
            "Repeatable.",
        ),
    ] = None,
    people: Annotated[
        int, typer.Option(min=2, max=100, metavar="N", help="Most people in a room.")
    ] = 8,
    rooms: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="Most rooms.")] = 100,
    max_rate: Annotated[
        str, typer.Option(metavar="BPS", help="Highest rate that a person may send.")
    ] = "1000k",
    test: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", help="Serve a listening test that blind-test wrote; repeatable."
        ),
    ] = None,
    ratings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Store the ratings of the listening tests (SQLite)."),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print no lines of the log.")
    ] = False,
) -> None:
    """Serve the page, relay calls, and store listeners' ratings.

    People in a room of the relay talk with each other over WebSockets. The relay forwards
    datagrams and stores nothing. Ctrl-C ends it.
    """
    import asyncio

    from chirrup.live.link import parse_address
    from chirrup.live.rooms import read_token
    from chirrup.serve import assets
    from chirrup.serve.app import Server, run
    from chirrup.serve.listening import ListeningTests
    from chirrup.serve.relay import Limits, Relay

    host, port = parse_address(at, host_needed=False)
    rate_bps = console.parse_bitrate(max_rate)
    if not 10_000 <= rate_bps <= 100_000_000:
        raise UsageError(f"--max-rate {max_rate} is not from 10k to 100000k")
    for text in origin or ():
        if not re.fullmatch(r"https?://[^/\s]+", text):
            raise UsageError(f"--origin {text!r} is not https://HOST or http://HOST:PORT")
    if (test is None) != (ratings is None):
        raise UsageError("--test and --ratings belong together: give both or none")
    tests = ListeningTests(test, ratings) if test and ratings else None
    relay = Relay(Limits(people, rooms, rate_bps, read_token(token_file)))
    host = host or LOOPBACK
    if relay.limits.token is None and host not in (LOOPBACK, "::1", "localhost"):
        console.note(
            "warning: everybody who reaches this address can use the relay: give --token-file"
        )

    def log(line: str) -> None:
        if not quiet:
            console.note(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}")

    def started(port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        print_text(f"the page is at http://{shown}:{port}/ (Ctrl-C ends)")
        for path in tests.pages if tests else ():
            print_text(f"a listening test is at http://{shown}:{port}/{path}")

    files = {**assets.files(), **(tests.files if tests else {})}
    server = Server(files, relay, tuple(origin or ()), log, tests)
    asyncio.run(run(server.application(), host, port, started))


COMMANDS = (page, serve)
