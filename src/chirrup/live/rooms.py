"""Rooms of a relay, as both ends of its WebSockets know them: addresses, tokens and close codes.

A binary message is one datagram. A text message comes from the relay only: JSON with the number of
people in the room. docs/reference/format.md documents both.
"""

import json
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from chirrup.errors import FileError, UsageError
from chirrup.parsing import parsing

PROTOCOL: Final = "chirrup.relay"
"""Subprotocol of the WebSocket."""
TOKEN: Final = "CHIRRUP_TOKEN"
"""Environment variable with the token of a relay."""
ROOM: Final = r"[A-Za-z0-9_-]{1,64}"
"""Pattern of the name of a room."""
DIRECTION: Final = "room"
"""Label of the encryption in a room, in which all ends are alike."""
WRONG_TOKEN, FULL, TOO_FAST, TOO_BIG, NOT_BINARY, GOING = 4401, 1013, 1008, 1009, 1003, 1001
"""Codes with which a relay closes a WebSocket; its reason is a text."""
HEARTBEAT_S: Final = 20.0
"""Time between pings. A connection without an answer for half of it is closed."""
KERNEL_BYTES: Final = 16_384
"""Size of the buffer of a socket. Voice that waits longer is too late."""
MAX_WAITING: Final = 50
"""Datagrams that wait to be sent, a second of speech. The oldest are dropped."""

_PREFIX: Final = "token."
_TOKEN_FORM: Final = re.compile(r"[!-~]{16,256}")


def is_room(address: str) -> bool:
    """Return whether an address names a relay."""
    return address.startswith(("ws://", "wss://"))


def check_room(address: str) -> None:
    """Check the address of a room.

    Raises:
        UsageError: it is not ``ws://HOST:PORT/relay/ROOM`` or ``wss://...``.
    """
    try:
        parts = urlsplit(address)
        right = parts.hostname and parts.port != 0 and not (parts.query or parts.fragment)
        right = right and not re.search(r"[\s\x00-\x1f]", address)  # urlsplit leaves some out
    except ValueError:  # the port is not a number, or a bracket is missing
        right, parts = False, urlsplit("")
    if not right or parts.username or not re.search(rf"/relay/{ROOM}\Z", parts.path):
        raise UsageError(
            f"{address!r} is not the address of a room: use for example "
            "wss://talk.example.org/relay/ROOM, with 1 to 64 letters, digits, - or _ for ROOM"
        )


def read_token(path: Path | None) -> str | None:
    """Read the token of a relay from a file, or else from the environment.

    Returns:
        The token, or None if there is none.

    Raises:
        FileError: the file cannot be read.
        UsageError: the token has a wrong form.
    """
    place, text = TOKEN, os.environ.get(TOKEN)
    if path is not None:
        try:
            with path.open("rb") as file:
                place, text = str(path), file.read(1024).decode(errors="replace")
        except OSError as error:
            raise FileError(
                f"the token {path} cannot be read: {error.strerror or error}"
            ) from error
    if text is None:
        return None
    if not _TOKEN_FORM.fullmatch(text.strip()):
        raise UsageError(
            f"the token in {place} has a wrong form: use 16 to 256 ASCII characters without "
            "spaces, for example the output of head -c 24 /dev/urandom | base64"
        )
    return text.strip()


def offered_protocols(token: str | None) -> list[str]:
    """Return the subprotocols that a client offers. One of them carries the token.

    A browser can set no other header of a WebSocket, and servers log addresses.
    """
    if token is None:
        return [PROTOCOL]
    return [PROTOCOL, _PREFIX + urlsafe_b64encode(token.encode()).decode().rstrip("=")]


def offered_token(protocols: Iterable[str]) -> str | None:
    """Return the token among the subprotocols that a client offers."""
    for text in protocols:
        if text.startswith(_PREFIX):
            coded = text.removeprefix(_PREFIX)
            try:
                return urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode()
            except ValueError:  # not ASCII, base64 or UTF-8
                return None
    return None


def news(people: int) -> str:
    """Return the text message with the number of people in a room."""
    return json.dumps({"people": people})


def parse_news(text: str) -> int:
    """Return the number of people of a text message; 1, the reader alone, if it has none."""
    try:
        with parsing():
            people = json.loads(text)["people"]
    except ValueError:
        return 1
    return people if isinstance(people, int) and people >= 1 else 1
