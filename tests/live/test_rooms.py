"""Addresses, tokens and texts of a relay."""

from pathlib import Path

import pytest

from chirrup.errors import FileError, UsageError
from chirrup.live import rooms

TOKEN = "a-token-of-22-letters."


@pytest.mark.parametrize(
    "address",
    [
        "ws://127.0.0.1:8000/relay/lab",
        "wss://[::1]/relay/a_b-9",
        "wss://h.org/under/relay/" + "x" * 64,
    ],
)
def test_addresses_of_rooms(address: str) -> None:
    assert rooms.is_room(address)
    rooms.check_room(address)


@pytest.mark.parametrize(
    "address",
    [
        *("ws://", "ws://host", "ws://host/relay/", "ws://host/relay/a b", "ws://host/lab"),
        *("wss://host:99999/relay/lab", "ws://[::1/relay/lab", "ws://host/relay/lab?token=x"),
        *("ws://ann:secret@host/relay/lab", "ws://host/relay/" + "x" * 65, "ws:///relay/lab"),
        "ws://host/relay/lab\n",
    ],
)
def test_wrong_addresses_of_rooms(address: str) -> None:
    with pytest.raises(UsageError, match="is not the address of a room"):
        rooms.check_room(address)


def test_a_token_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(rooms.TOKEN, raising=False)
    assert rooms.read_token(None) is None
    monkeypatch.setenv(rooms.TOKEN, TOKEN[::-1])
    assert rooms.read_token(None) == TOKEN[::-1]
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert rooms.read_token(tmp_path / "token") == TOKEN
    (tmp_path / "token").write_text("too short")
    with pytest.raises(UsageError, match="16 to 256"):
        rooms.read_token(tmp_path / "token")
    with pytest.raises(FileError, match="cannot be read"):
        rooms.read_token(tmp_path / "none")


@pytest.mark.parametrize("token", [None, TOKEN, "/+=?&,;\"'!0123456789"])
def test_a_token_travels_as_a_subprotocol(token: str | None) -> None:
    offered = rooms.offered_protocols(token)
    assert offered[0] == rooms.PROTOCOL
    assert rooms.offered_token(offered) == token
    assert all(c.isalnum() or c in "._-" for text in offered for c in text)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"people": "2"}', '{"people": -1}', "[" * 9999]
)
def test_other_texts_are_read_as_an_empty_room(text: str) -> None:
    assert rooms.parse_news(text) == 1
