"""Encryption of datagrams: keys, replays, changes, and what is refused."""

import runpy
import sys
from pathlib import Path

import pytest

from chirrup.errors import FileError, UsageError
from chirrup.live.rtp import SEAL_BYTES, Bye, Control, Voice, parse

pytest.importorskip("cryptography", reason="pip install 'chirrup[live]'")
from chirrup.live import seal
from chirrup.live.seal import Opener, ReplayError, Sealer, UnsealError

KEY = bytes(range(32))
CONTROL = Control(9, (Bye(),))


def voice(number: int) -> Voice:
    return Voice(number, 480 * number, 9, b"voice")


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(KEY, "voice")


@pytest.fixture
def opener(sealer: Sealer) -> Opener:
    """An opener that has the session of the sealer."""
    opener = Opener(KEY, "voice")
    assert opener.open(sealer.control(CONTROL)) == CONTROL
    return opener


def test_datagrams_are_sealed_and_opened(sealer: Sealer, opener: Opener) -> None:
    """The header is in clear, the payload is not, and the order does not matter."""
    sealed = [sealer.voice(voice(number)) for number in range(100)]
    assert [opener.open(data) for data in reversed(sealed)] == [*map(voice, range(99, -1, -1))]
    assert len(sealed[0]) == len(voice(0).pack()) + SEAL_BYTES
    assert sealed[3].startswith(voice(3).header())
    assert b"voice" not in b"".join(sealed)
    assert isinstance(parse(sealer.control(CONTROL)), Control)  # other programs see RTCP


def test_no_nonce_is_used_twice_with_a_key(sealer: Sealer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters rise, salts differ, and a new session begins before the counter overflows."""
    one, two = sealer.voice(voice(0)), sealer.voice(voice(0))
    assert (one[-4:], two[-4:]) == (bytes(4), bytes(3) + b"\1")
    other = Sealer(KEY, "voice")
    assert other.voice(voice(0))[12:] != one[12:]
    sealer._counter = 1 << 31
    first, opener = sealer.control(CONTROL), Opener(KEY, "voice")
    assert first[-4:] == bytes(4)
    assert opener.open(first) == CONTROL
    assert opener.open(sealer.voice(voice(1))) == voice(1)
    sealer._counter = 1 << 32
    with pytest.raises(RuntimeError):
        sealer.voice(voice(2))


@pytest.mark.parametrize("overtaken", [0, 1, seal.WINDOW - 1])
def test_replayed_datagrams(sealer: Sealer, opener: Opener, overtaken: int) -> None:
    late = sealer.voice(voice(0))
    later = [sealer.voice(voice(1)) for _ in range(overtaken)]
    for data in later:
        opener.open(data)
    assert opener.open(late) == voice(0)
    for data in (late, *later[:1]):
        with pytest.raises(ReplayError):
            opener.open(data)


def test_datagrams_that_are_too_old_to_know(sealer: Sealer, opener: Opener) -> None:
    late = sealer.voice(voice(0))
    later = [sealer.voice(voice(1)) for _ in range(seal.WINDOW)]
    for data in later:
        opener.open(data)
    for data in (late, later[0], later[-1]):
        with pytest.raises(ReplayError):
            opener.open(data)


def test_a_replayed_session_does_not_replace_its_successor(sealer: Sealer, opener: Opener) -> None:
    """The sender is restarted with the same SSRC, and the first session is sent again."""
    old = sealer.voice(voice(0)), sealer.control(CONTROL)
    for data in old:
        opener.open(data)
    again = Sealer(KEY, "voice")
    opener.open(again.control(CONTROL))
    for data in old:
        with pytest.raises((ReplayError, UnsealError)):
            opener.open(data)
    assert opener.open(again.voice(voice(1))) == voice(1)


def test_every_bit_is_authenticated(sealer: Sealer, opener: Opener) -> None:
    for data in (sealer.voice(voice(0)), sealer.control(CONTROL)):
        for bit in range(8 * len(data)):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises((UnsealError, ReplayError)):
                opener.open(bytes(changed))
        opener.open(data)


@pytest.mark.parametrize(("key", "direction"), [(bytes(32), "voice"), (KEY, "report")])
def test_another_key_or_direction(sealer: Sealer, key: bytes, direction: str) -> None:
    opener = Opener(key, direction)
    for data in (sealer.control(CONTROL), sealer.voice(voice(0))):
        with pytest.raises(UnsealError):
            opener.open(data)


@pytest.mark.parametrize("size", [0, 1, 11, 31, 32, 47, 48, 1400, 1401])
def test_garbage(opener: Opener, size: int) -> None:
    for start in (b"", b"\x80\x60", b"\x82\xcc"):
        with pytest.raises(UnsealError):
            opener.open((start + bytes(size))[:size])


def test_sessions_are_bounded(sealer: Sealer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "MAX_SESSIONS", 2)
    opener = Opener(KEY, "voice")
    for source in range(5):
        sealer = Sealer(KEY, "voice")
        opener.open(sealer.control(Control(source, (Bye(),))))
    assert len(opener._sessions) == len(opener._of_source) == 2


def test_a_session_in_use_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded sessions with the key do not replace the session of the call."""
    monkeypatch.setattr(seal, "MAX_SESSIONS", 2)
    opener, sealer = Opener(KEY, "voice"), Sealer(KEY, "voice")
    call = [sealer.control(CONTROL), *(sealer.voice(voice(number)) for number in range(5))]
    for datagram in call:
        opener.open(datagram)
        opener.open(Sealer(KEY, "voice").control(Control(99, (Bye(),))))
    for replayed in call:
        with pytest.raises(ReplayError):
            opener.open(replayed)


def test_sources_of_a_session_are_bounded(
    opener: Opener, sealer: Sealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "MAX_SESSIONS", 2)
    for source in range(5):
        opener.open(sealer.control(Control(source, (Bye(),))))
    assert (len(opener._sessions), len(opener._of_source)) == (1, 2)


def test_keys(tmp_path: Path) -> None:
    phrase = "correct horse battery staple"
    assert seal.key_of_passphrase(phrase) == seal.key_of_passphrase(phrase) != KEY
    with pytest.raises(UsageError, match="5 characters: use 12"):
        seal.key_of_passphrase("short")
    (tmp_path / "key").write_bytes(KEY)
    assert seal.read_key(tmp_path / "key") == KEY
    for content, words in ((b"", "0 bytes"), (KEY[:31], "31 bytes"), (bytes(5000), "more than")):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(FileError, match=words):
            seal.read_key(tmp_path / "key")
    with pytest.raises(FileError, match="cannot be read"):
        seal.read_key(tmp_path / "none")


def test_cryptography_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(FileError, match=r"pip install 'chirrup\[live\]'"):
        runpy.run_path(seal.__file__)
