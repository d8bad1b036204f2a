"""Functions that ``send``, ``receive`` and ``talk`` share: addresses, keys, sources and meters."""

import json
import os
import shutil
import sys
import threading
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chirrup.cli import console, signals
from chirrup.errors import FileError, UsageError
from chirrup.live.rooms import DIRECTION, check_room, is_room, read_token

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from chirrup.calls.call import Call
    from chirrup.calls.meters import Meters
    from chirrup.calls.outputs import Output
    from chirrup.live.link import Link

PASSPHRASE = "CHIRRUP_PASSPHRASE"
MICROPHONE, SPEAKER = "mic", "speaker"
ANSWER_S = 5
"""Time in which a receiver sends several reports, one a second."""


def link(
    address: str,
    *,
    calls: bool,
    token_file: Path | None,
    simulate: str | None,
    seed: int,
    incoming: bool = False,
) -> "Link":
    """Return a link to a room, an address or a name, or with ``calls=False`` one that waits."""
    from chirrup.live.discovery import PREFIX, find
    from chirrup.live.link import UdpLink, parse_address
    from chirrup.live.network import Network

    network = None if simulate is None else Network(simulate, seed)
    if is_room(address):
        check_room(address)
        from chirrup.live.room_link import RoomLink

        token = read_token(token_file)
        return RoomLink(address, token, network=network, incoming=incoming)
    if token_file is not None:
        raise UsageError(f"--token-file is for ws:// and wss://, not for {address}: leave it out")
    if calls and address.startswith(PREFIX):
        host, port = find(address.removeprefix(PREFIX))
    else:
        host, port = parse_address(address, host_needed=calls)
    return UdpLink(host, port, listen=not calls, network=network, incoming=incoming)


def announced(name: str | None, link: "Link") -> "AbstractContextManager[None]":
    from chirrup.live.discovery import announced
    from chirrup.live.link import UdpLink

    if name is None:
        return nullcontext()
    if not isinstance(link, UdpLink):
        raise UsageError(f"--announce is for a port, not for {link.name}: leave it out")
    host, port, *_ = link.socket.getsockname()
    return announced(name, host, port)


def write_sdp(call: "Call", path: Path) -> None:
    """Write the SDP description of the stream that a call sends."""
    from chirrup.files.drafts import written
    from chirrup.live.description import session_description
    from chirrup.live.link import UdpLink

    sender, link = call.endpoint.sender, call.link
    assert sender is not None
    if not isinstance(link, UdpLink):
        raise UsageError(f"--sdp is for HOST:PORT, not for {link.name}: leave it out")
    host, port, *_ = link.address
    with written(path) as draft:
        draft.write_bytes(session_description(sender.description, host, port).encode())


def source(
    name: str,
    device: str | None,
    rate_hz: int,
    *,
    raw: str | None,
    device_option: str = "--device",
) -> Any:
    """Return a file, a pipe or a microphone."""
    _check_device(name, MICROPHONE, device, device_option, raw is not None)
    if name == MICROPHONE:
        from chirrup.live.devices import Microphone

        return Microphone(rate_hz, 1, console.device(device))
    return console.unbuffered(console.pipe_in()) if name == "-" else name


def output(
    name: str,
    device: str | None,
    *,
    raw: bool = False,
    force: bool,
    as_json: bool,
    device_option: str = "--device",
) -> "Output":
    """Return a file, a pipe or a speaker."""
    from chirrup.calls.outputs import Output
    from chirrup.live.devices import Speaker

    if name == "-" and as_json:
        raise UsageError("--json and OUT - both need standard output: give a file")
    _check_device(name, SPEAKER, device, device_option, raw)
    target: Any = name
    if name == SPEAKER:
        target = Speaker(console.device(device))
    elif name == "-":
        target = console.unbuffered(console.pipe_out())
    return Output(target, raw=raw, force=force)


def _check_device(
    name: str, device_name: str, device: str | None, device_option: str, raw: bool
) -> None:
    """Raise UsageError for an option of a device with a file, or of a file with a device."""
    if device is not None and name != device_name:
        raise UsageError(f"{device_option} is for {device_name}, not for {name}: leave it out")
    if raw and name == device_name:
        raise UsageError(f"--raw is for a file or a pipe, not for {name}: leave it out")


def check_received(call: "Call", out: str, quiet: bool) -> None:
    """Print a warning if OUT has stalled. Raise an error if a file would have no samples."""
    output = call.output
    assert output is not None
    if output.dropped and not quiet:
        console.note(f"warning: {out} stalled: {output.dropped} blocks were not written")
    if not output.started and not output.device:
        advice = "; ".join(causes(call)) or "check the address, the key and the model"
        raise FileError(
            f"no stream arrived at {call.link.name}, {call.meters().ignored} datagrams were "
            f"ignored: nothing was written; {advice}"
        )


def causes(call: "Call") -> list[str]:
    """Return why a call does not send, or ignores datagrams, and what the user can do."""
    endpoint, link, receiver = call.endpoint, call.link, call.endpoint.receiver
    found = []
    if link.trouble is not None:
        found.append(link.trouble)
    elif link.shared and link.others is None and endpoint.sender is not None:
        found.append(f"nobody else is in {link.name}: the voice is sent when somebody joins")
    if endpoint.sealed:
        found.append(
            "encrypted datagrams arrive, and this end has no key: give the key of the other end "
            f"with --key-file, or its passphrase in {PASSPHRASE}"
        )
    if endpoint.clear:
        found.append(
            "datagrams without encryption arrive, and this end has a key: give the key to the "
            "other end too"
        )
    if receiver is None:
        return found
    if link.strangers:
        found.append(
            f"datagrams arrive from another address than {link.name}: start the end that waits "
            "with its address, --port ADDRESS:PORT"
        )
    if receiver.statistics.busy:
        found.append(
            "another stream arrives and is ignored: it can begin when the present one has ended "
            "or has been silent for 2 s"
        )
    if receiver.statistics.other_model and receiver.codec is not None:
        found.append(
            f"a stream of another model than {receiver.codec.name} is ignored: restart this end "
            "to receive it"
        )
    return found


def unanswered(call: "Call") -> list[str]:
    """Return that no report has come from the address to which a call sends."""
    sender, link = call.endpoint.sender, call.link
    if sender is None or sender.statistics.reports or link.shared or link.listen:
        return []
    return [
        f"no receiver answers at {link.name}: start receive or talk there, and check the address, "
        "the key and the firewall"
    ]


def run(call: "Call", as_json: bool, quiet: bool, push_to_talk: str | None = None) -> None:
    """Run a call and print its meters."""
    from chirrup.calls.keys import open_keys

    meters = call.meters()
    printer = Printer(call, meters, as_json, quiet)
    stop = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(signals.handled(lambda *_: stop.set()))
        if push_to_talk is not None:
            meters.talks = stack.enter_context(open_keys(push_to_talk)).talks
        if call.endpoint.sealer is None:
            console.note(
                "the voice is NOT encrypted: give a key with --key-file, or a passphrase in "
                f"{PASSPHRASE}"
            )
        call.run(stop, printer.second, meters.talks or (lambda: True))
    printer.end()


class Printer:
    """Meters that are printed once a second and at the end, and warnings, each once."""

    def __init__(self, call: "Call", meters: "Meters", as_json: bool, quiet: bool) -> None:
        self.call, self.meters, self.as_json, self.quiet = call, meters, as_json, quiet
        self.terminal = console.on_terminal()
        self.warned: set[str] = set()
        self.seconds = 0

    def warn(self) -> None:
        found = causes(self.call)
        if self.seconds == ANSWER_S:
            found += unanswered(self.call)
        for text in [] if self.quiet else found:
            if text not in self.warned:
                self.warned.add(text)
                clear = "\r\x1b[K" * (self.terminal and not self.as_json)
                print(clear, end="", file=sys.stderr)
                console.note(f"warning: {text}")

    def second(self) -> None:
        self.seconds += 1
        self.warn()
        if self.as_json:
            print(json.dumps(self.meters.values()), flush=True)
        elif self.terminal and not self.quiet:
            line = self.meters.short()[: shutil.get_terminal_size().columns - 1]
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.as_json:
            print(json.dumps({**self.meters.values(), "final": True}), flush=True)
        if not self.quiet:
            if self.terminal and not self.as_json:
                print("\r\x1b[K", end="", file=sys.stderr)
            console.note(self.meters.line())


def seals(address: str, key_file: Path | None, *, calls: bool) -> tuple[Any, Any]:
    """Return a sealer and an opener of the end that calls or waits, or None without a key."""
    passphrase = os.environ.get(PASSPHRASE)
    if key_file is not None and passphrase is not None:
        raise UsageError(f"--key-file and {PASSPHRASE} exclude each other: use one")
    if key_file is None and passphrase is None:
        return None, None
    from chirrup.live import seal

    if key_file is not None:
        key = seal.read_key(key_file)
    else:
        key = seal.key_of_passphrase(passphrase or "")
    own, other = ("call", "answer") if calls else ("answer", "call")
    if is_room(address):
        own = other = DIRECTION
    return seal.Sealer(key, own), seal.Opener(key, other)
