"""The rooms of the relay: who is in them, and which datagrams go to whom.

The relay forwards each datagram to all other people of a room, as it is. It neither reads nor
stores any. This module has no sockets and reads no clock; `serve.app` connects it to WebSockets.
"""

import hmac
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from chirrup.errors import ChirrupError
from chirrup.live import rooms
from chirrup.live.rtp import MAX_DATAGRAM

BURST_S: Final = 5.0
"""Time whose datagrams may arrive at once, after a connection has stalled."""
HEADER_BYTES: Final = 64
"""Bytes that count for each datagram beside its own: about the headers of TCP and IP."""


class RefusedError(ChirrupError):
    """A connection is refused or ended.

    Attributes:
        code: close code of the WebSocket.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Limits:
    """Limits of a relay.

    Attributes:
        people: most people in a room.
        rooms: most rooms.
        rate_bps: highest rate of a person's datagrams, with `HEADER_BYTES` for each.
        token: text that a person must give; None lets everybody in.
    """

    people: int = 8
    rooms: int = 100
    rate_bps: float = 1e6
    token: str | None = None


@dataclass(eq=False)
class Person:
    """One connection to a room.

    Attributes:
        room: name of the room.
        since_s: time of joining.
        wake: called when `take` has something.
        datagrams: datagrams that this person has sent.
        dropped: datagrams that were dropped because this person's connection was too slow.
    """

    room: str
    since_s: float
    wake: Callable[[], None]
    datagrams: int = 0
    dropped: int = 0
    _people: int | None = None
    _waiting: deque[bytes] = field(default_factory=lambda: deque(maxlen=rooms.MAX_WAITING))
    _credit_bits: float = 0.0
    _counted_s: float = 0.0

    def take(self) -> str | bytes | None:
        """Return what is to be sent to this person next, or None.

        It is a text with the number of people, if that has changed, or else a datagram.
        """
        if self._people is not None:
            text, self._people = rooms.news(self._people), None
            return text
        return self._waiting.popleft() if self._waiting else None

    def offer(self, datagram: bytes) -> None:
        self.dropped += len(self._waiting) == rooms.MAX_WAITING
        self._waiting.append(datagram)
        self.wake()

    def note_people(self, people: int) -> None:
        self._people = people
        self.wake()

    def spend(self, size: int, now_s: float, rate_bps: float) -> bool:
        """Count a datagram, and return whether the rate is not too high."""
        earned = (now_s - self._counted_s) * rate_bps
        self._credit_bits = min(BURST_S * rate_bps, self._credit_bits + earned)
        self._credit_bits -= 8 * (size + HEADER_BYTES)
        self._counted_s = now_s
        self.datagrams += 1
        return self._credit_bits >= 0


class Relay:
    """The rooms of a relay. A room exists while somebody is in it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.rooms: dict[str, set[Person]] = {}

    def join(self, room: str, token: str | None, now_s: float, wake: Callable[[], None]) -> Person:
        """Add a person to a room.

        Raises:
            RefusedError: the token is wrong, the room is full, or there are too many rooms.
        """
        limits, people = self.limits, self.rooms.get(room, set())
        if limits.token is not None:
            given = b"" if token is None else token.encode()
            if not hmac.compare_digest(given, limits.token.encode()):
                fault = "needs a token" if token is None else "does not accept this token"
                raise RefusedError(
                    rooms.WRONG_TOKEN, f"the relay {fault}: ask the people who run it for one"
                )
        if len(people) >= limits.people:
            raise RefusedError(
                rooms.FULL,
                f"the room has {limits.people} people and is full: choose another room",
            )
        if room not in self.rooms and len(self.rooms) >= limits.rooms:
            raise RefusedError(
                rooms.FULL, f"the relay has {limits.rooms} rooms, its limit: try again later"
            )
        burst = BURST_S * limits.rate_bps
        person = Person(room, now_s, wake, _credit_bits=burst, _counted_s=now_s)
        self.rooms[room] = people | {person}
        self._note_people(room)
        return person

    def leave(self, person: Person) -> None:
        """Remove a person."""
        self.rooms[person.room].discard(person)
        if self.rooms[person.room]:
            self._note_people(person.room)
        else:
            del self.rooms[person.room]

    def forward(self, person: Person, datagram: bytes, now_s: float) -> None:
        """Give a datagram to all other people of the room.

        Raises:
            RefusedError: it is too big, or its sender has exceeded the highest rate.
        """
        if len(datagram) > MAX_DATAGRAM:
            raise RefusedError(
                rooms.TOO_BIG, f"a datagram has {len(datagram)} bytes: send at most {MAX_DATAGRAM}"
            )
        if not person.spend(len(datagram), now_s, self.limits.rate_bps):
            rate = f"{self.limits.rate_bps / 1000:g} kbit/s"
            raise RefusedError(
                rooms.TOO_FAST, f"the datagrams have more than {rate}: choose a lower bitrate"
            )
        for other in self.rooms[person.room]:
            if other is not person:
                other.offer(datagram)

    def _note_people(self, room: str) -> None:
        people = self.rooms[room]
        for person in people:
            person.note_people(len(people))
