"""``chirrup send`` and ``chirrup receive``: a live voice over UDP."""

import json
import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chirrup.cli import console
from chirrup.errors import FileError, UsageError

if TYPE_CHECKING:
    from chirrup.calls.meters import Meters

PASSPHRASE = "CHIRRUP_PASSPHRASE"

Bitrate = Annotated[
    str | None, typer.Option("--bitrate", "-b", help="Highest bitrate of the codes: 6000 or 6k")
]
Redundancy = Annotated[
    int, typer.Option(min=0, max=16, help="Codebooks of a packet that the next one repeats.")
]
Adapt = Annotated[
    bool,
    typer.Option("--adapt", help="Choose bitrate and redundancy from the receiver's reports."),
]
MaxRate = Annotated[
    str | None,
    typer.Option(metavar="RATE", help="Highest rate with all headers: 16000 or 16k."),
]
Vad = Annotated[
    bool, typer.Option("--vad", help="Leave out pauses; the receiver plays noise in them.")
]
RawSource = Annotated[
    str | None,
    typer.Option("--raw", metavar="TYPE@RATExCHANNELS", help="Format of SOURCE without a header."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        help="File with the key of the encryption, 32 bytes or more; or set the environment "
        f"variable {PASSPHRASE} to a passphrase.",
    ),
]
Simulate = Annotated[
    str | None,
    typer.Option(metavar="CONDITIONS", help="Simulate a network, such as loss:10%+jitter:40ms."),
]
Seed = Annotated[int, typer.Option(help="Seed of the simulated network.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite files that exist.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print meters as a line of JSON a second, and at the end.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no meters and no summary.")]


def send(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Audio file, or - for a pipe.")],
    to: Annotated[str, typer.Argument(metavar="HOST:PORT", help="The receiver.")],
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "iris-t1",
    bitrate: Bitrate = None,
    redundancy: Redundancy = 1,
    adapt: Adapt = False,
    max_rate: MaxRate = None,
    vad: Vad = False,
    raw: RawSource = None,
    key_file: KeyFile = None,
    simulate: Simulate = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Send a voice to chirrup receive, in real time.

    Ctrl-C ends the stream. A receiver that is started later begins in its middle.
    """
    from chirrup.calls.call import Call
    from chirrup.live.link import Link, parse_address
    from chirrup.live.network import Network
    from chirrup.zoo import load

    host, port = parse_address(to, host_needed=True)
    network = None if simulate is None else Network(simulate, seed)
    seals = _seals(key_file, own="voice", other="report")
    codec = load(model)
    bitrate_bps = None if bitrate is None else console.parse_bitrate(bitrate)
    limit_bps = None if max_rate is None else console.parse_bitrate(max_rate)
    with ExitStack() as stack:
        file = console.unbuffered(console.pipe_in()) if source == "-" else source
        call = stack.enter_context(Call(Link(host, port, listen=False, network=network), *seals))
        audio = call.send(
            file,
            codec,
            bitrate_bps,
            redundancy,
            raw=raw,
            adapt=adapt,
            limit_bps=limit_bps,
            vad=vad,
        )
        _run(call, as_json, quiet)
        console.warn(audio.notes, source)


def receive(
    at: Annotated[
        str, typer.Argument(metavar="[HOST:]PORT", help="Port, and own address, to receive at.")
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Audio file, or - for a pipe.")],
    model: Annotated[
        str | None,
        typer.Option(help="Name or folder of the model; by default the one that the sender names."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End with the first stream.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Write s16 samples without a header.")] = False,
    key_file: KeyFile = None,
    simulate: Simulate = None,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Receive a voice of chirrup send, and write it in real time.

    OUT begins with the first stream. Ctrl-C ends it. A sender may be restarted.
    """
    from chirrup.calls.call import Call
    from chirrup.calls.models import Models
    from chirrup.calls.outputs import Output
    from chirrup.live.link import Link, parse_address
    from chirrup.live.network import Network
    from chirrup.zoo import load

    host, port = parse_address(at, host_needed=False)
    network = None if simulate is None else Network(simulate, seed)
    if out == "-" and as_json:
        raise UsageError("--json and OUT - both need standard output: give a file")
    target = console.unbuffered(console.pipe_out()) if out == "-" else out
    output = Output(target, raw=raw, force=force)
    seals = _seals(key_file, own="report", other="voice")
    models = Models(None if model is None else load(model), console.note)
    with Call(Link(host, port, listen=True, network=network), *seals, once=once) as call:
        call.receive(output, models.find)
        _run(call, as_json, quiet)
    if output.dropped and not quiet:
        console.note(f"warning: {out} stalled: {output.dropped} blocks were not written")
    if not output.started:
        raise FileError(
            f"no stream arrived at {call.link.name}, {call.endpoint.ignored} datagrams were "
            f"ignored: nothing was written; check the address, the key and the model"
        )


def _run(call: Any, as_json: bool, quiet: bool) -> None:
    """Run a call and print its meters."""
    meters = call.meters()
    printer = _Printer(meters, as_json, quiet)
    with _stopping() as stop:
        call.run(stop, printer.second)
    printer.end()


class _Printer:
    """Meters that are printed once a second and at the end."""

    def __init__(self, meters: "Meters", as_json: bool, quiet: bool) -> None:
        self.meters, self.as_json, self.quiet = meters, as_json, quiet
        self.terminal = sys.stderr is not None and sys.stderr.isatty()

    def second(self) -> None:
        if self.as_json:
            print(json.dumps(self.meters.values()), flush=True)
        elif self.terminal and not self.quiet:
            print(f"\r\x1b[K{self.meters.line()}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.as_json:
            print(json.dumps({**self.meters.values(), "final": True}), flush=True)
        if not self.quiet:
            if self.terminal and not self.as_json:
                print("\r\x1b[K", end="", file=sys.stderr)
            console.note(self.meters.line())


@contextmanager
def _stopping() -> Generator[threading.Event, None, None]:
    """Yield an event that Ctrl-C and SIGTERM set, so that what was received is kept."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _seals(key_file: Path | None, *, own: str, other: str) -> tuple[Any, Any]:
    """Return a sealer and an opener, or None without a key."""
    passphrase = os.environ.get(PASSPHRASE)
    if key_file is not None and passphrase is not None:
        raise UsageError(f"--key-file and {PASSPHRASE} exclude each other: use one")
    if key_file is None and passphrase is None:
        console.note(
            "the voice is NOT encrypted: give a key with --key-file, or a passphrase in "
            f"{PASSPHRASE}"
        )
        return None, None
    from chirrup.live import seal

    if key_file is not None:
        key = seal.read_key(key_file)
    else:
        key = seal.key_of_passphrase(passphrase or "")
    return seal.Sealer(key, own), seal.Opener(key, other)


COMMANDS = (send, receive)
