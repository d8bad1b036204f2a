"""Encryption of datagrams with a key that both ends have.

The package ``cryptography`` provides ChaCha20-Poly1305, HKDF and Scrypt. Each program draws a
random salt when it begins, from which, with the shared key and its direction, HKDF derives the key
of the session. The nonce is a counter, which never repeats within a session.
docs/reference/format.md documents the datagrams.
"""

import secrets
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Final

from chirrup.errors import FileError, FormatError, UsageError
from chirrup.live import rtp

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
except ModuleNotFoundError as error:
    raise FileError(
        "encryption needs the package cryptography: install it with pip install 'chirrup[live]'"
    ) from error

SCRYPT_COST: Final = {"n": 1 << 16, "r": 8, "p": 1}
"""64 MiB of memory for each guess of a passphrase."""
SHORTEST_PASSPHRASE: Final = 12
KEY_BYTES: Final = (32, 4096)
SALT_BYTES: Final = 16
WINDOW: Final = 1024
"""Datagrams by which one may be overtaken and still be accepted."""
MAX_SESSIONS: Final = 1024
"""Sessions of other programs that are remembered, so that none is accepted again."""

_APPLICATION = struct.Struct(">BBHI4s")
_COUNTER = struct.Struct(">I")
_DOMAIN = b"chirrup live 1"


class UnsealError(FormatError):
    """A datagram was not sealed with this key, is damaged, or is not for this direction."""

    def __init__(self) -> None:
        super().__init__("a datagram is not sealed with this key", 0)


class ReplayError(FormatError):
    """A datagram was accepted before, or is too old to know."""

    def __init__(self) -> None:
        super().__init__("a datagram has arrived before", 0)


def key_of_passphrase(passphrase: str) -> bytes:
    """Derive a key from a passphrase by Scrypt.

    The salt is constant, because the two ends share nothing else.

    Raises:
        UsageError: the passphrase is too short, or not UTF-8.
    """
    try:
        data = passphrase.encode()
    except UnicodeEncodeError as error:  # Python reads other bytes of the environment as surrogates
        raise UsageError("the passphrase is not UTF-8: use a terminal with UTF-8") from error
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise UsageError(
            f"the passphrase has {len(passphrase)} characters: use {SHORTEST_PASSPHRASE} or more, "
            "for example five random words"
        )
    return Scrypt(salt=_DOMAIN, length=32, **SCRYPT_COST).derive(data)


def read_key(path: Path) -> bytes:
    """Read a key file.

    Raises:
        FileError: the file cannot be read, or its size is wrong.
    """
    shortest, longest = KEY_BYTES
    try:
        with path.open("rb") as file:
            data = file.read(longest + 1)
    except OSError as error:
        raise FileError(f"the key {path} cannot be read: {error.strerror or error}") from error
    if not shortest <= len(data) <= longest:
        size = f"more than {longest}" if len(data) > longest else str(len(data))
        raise FileError(
            f"the key {path} has {size} bytes, not {shortest} to {longest}: make one with "
            f"head -c 32 /dev/urandom > {path}"
        )
    return data


def _session_key(key: bytes, salt: bytes, direction: str) -> ChaCha20Poly1305:
    info = _DOMAIN + b" " + direction.encode()
    return ChaCha20Poly1305(HKDF(SHA256(), 32, salt, info).derive(key))


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12)


class Sealer:
    """Seal the datagrams of one program in one direction.

    Args:
        key: the shared key, of any length.
        direction: label of the direction; the other end opens with the same one.
    """

    def __init__(self, key: bytes, direction: str) -> None:
        self._key, self._direction = key, direction
        self._begin()

    def _begin(self) -> None:
        """Begin a session."""
        self._salt = secrets.token_bytes(SALT_BYTES)
        self._cipher = _session_key(self._key, self._salt, self._direction)
        self._counter = 0

    def voice(self, packet: rtp.Voice) -> bytes:
        """Return a sealed RTP packet: its header, the encrypted payload, tag and counter."""
        return self._sealed(packet.header(), packet.payload)

    def control(self, packet: rtp.Control) -> bytes:
        """Return RTCP, sealed in an application packet that has the salt of the session."""
        if self._counter >= 1 << 31:  # half of the counters, after 500 days; voice takes the others
            self._begin()
        data = packet.pack()
        size = _APPLICATION.size + SALT_BYTES + len(data) + rtp.SEAL_BYTES
        head = _APPLICATION.pack(
            rtp.VERSION << 6 | rtp.SEALED,
            rtp.APPLICATION,
            size // 4 - 1,
            packet.source,
            rtp.APPLICATION_NAME,
        )
        return self._sealed(head + self._salt, data)

    def _sealed(self, head: bytes, data: bytes) -> bytes:
        counter = self._counter
        if counter >= 1 << 32:
            raise RuntimeError("a session has sealed 2**32 datagrams without a control packet")
        self._counter += 1
        return head + self._cipher.encrypt(_nonce(counter), data, head) + _COUNTER.pack(counter)


class _Session:
    """The key of another program's session, and the counters that were accepted."""

    def __init__(self, salt: bytes, cipher: ChaCha20Poly1305) -> None:
        self.salt, self.cipher = salt, cipher
        self._next, self._accepted = 0, 0  # one above the highest counter; bit i is next - 1 - i

    def check(self, counter: int) -> None:
        """Raise ReplayError if a counter was accepted, or may have been."""
        age = self._next - 1 - counter
        if age >= WINDOW or (age >= 0 and self._accepted >> age & 1):
            raise ReplayError

    def accept(self, counter: int) -> None:
        """Note the counter of a datagram whose tag is right."""
        ahead = counter + 1 - self._next
        if ahead > 0:
            self._accepted = (self._accepted << min(ahead, WINDOW)) & (1 << WINDOW) - 1
            self._next = counter + 1
        self._accepted |= 1 << self._next - 1 - counter


class Opener:
    """Open the datagrams of other programs in one direction."""

    def __init__(self, key: bytes, direction: str) -> None:
        self._key, self._direction = key, direction
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()  # by salt, the last used last
        self._of_source: OrderedDict[int, _Session] = OrderedDict()  # by SSRC, the last used last

    def open(self, datagram: bytes) -> rtp.Voice | rtp.Control:
        """Return the content of a sealed datagram.

        Raises:
            UnsealError: the key is another one, the datagram is damaged, or no control packet of
                its session has arrived.
            ReplayError: it was opened before, or `WINDOW` later ones were.
            FormatError: its sender sealed something malformed.
        """
        if len(datagram) > rtp.MAX_DATAGRAM or len(datagram) < 12 + rtp.SEAL_BYTES:
            raise UnsealError
        return (self._control if rtp.is_control(datagram) else self._voice)(datagram)

    def _voice(self, datagram: bytes) -> rtp.Voice:
        session = self._of_source.get(int.from_bytes(datagram[8:12]))
        if session is None:
            raise UnsealError
        payload = _opened(session, datagram, 12)
        self._note(session, int.from_bytes(datagram[8:12]))
        voice = rtp.parse(datagram[:12] + payload)
        if not isinstance(voice, rtp.Voice):
            raise FormatError("a sealed RTP packet is RTCP", 1)
        return voice

    def _control(self, datagram: bytes) -> rtp.Control:
        start = _APPLICATION.size + SALT_BYTES
        if len(datagram) < start + rtp.SEAL_BYTES:
            raise UnsealError
        first, kind, _, source, name = _APPLICATION.unpack_from(datagram)
        if (first & 31, kind, name) != (rtp.SEALED, rtp.APPLICATION, rtp.APPLICATION_NAME):
            raise UnsealError
        salt = datagram[_APPLICATION.size : start]
        session = self._sessions.get(salt)
        if session is None:
            session = _Session(salt, _session_key(self._key, salt, self._direction))
        data = _opened(session, datagram, start)
        self._note(session, source)
        control = rtp.parse(data)
        if not isinstance(control, rtp.Control) or control.source != source:
            raise FormatError("a sealed control packet is not RTCP of its source", 0)
        return control

    def _note(self, session: _Session, source: int) -> None:
        """Remember the session of a source; forget the sessions and sources used longest ago."""
        self._sessions[session.salt] = self._of_source[source] = session
        self._sessions.move_to_end(session.salt)
        self._of_source.move_to_end(source)
        while len(self._sessions) > MAX_SESSIONS:
            _, oldest = self._sessions.popitem(last=False)
            for other in [s for s, found in self._of_source.items() if found is oldest]:
                del self._of_source[other]
        while len(self._of_source) > MAX_SESSIONS:
            self._of_source.popitem(last=False)


def _opened(session: _Session, datagram: bytes, start: int) -> bytes:
    """Return the data of a datagram whose clear bytes end at ``start``."""
    (counter,) = _COUNTER.unpack_from(datagram, len(datagram) - _COUNTER.size)
    session.check(counter)
    head, sealed = datagram[:start], datagram[start : -_COUNTER.size]
    try:
        data = session.cipher.decrypt(_nonce(counter), sealed, head)
    except InvalidTag as error:
        raise UnsealError from error
    session.accept(counter)
    return data
