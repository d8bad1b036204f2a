"""``chirrup send``, ``receive`` and ``talk`` over a room of a relay."""

from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("aiohttp", reason="pip install 'chirrup[web]'")

from call_commands import RATE_HZ, SPEECH, ended, is_heard, level, started
from chirrup.cli import run
from chirrup.serve.relay import Limits
from relays import Running, running_relay

SECONDS = 5
TOKEN = "a-token-of-22-letters."


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "speech.wav", SPEECH[: SECONDS * RATE_HZ], RATE_HZ)
    return tmp_path / "speech.wav"


def test_a_file_waits_for_a_receiver_and_arrives_encrypted(speech: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="pip install 'chirrup[live]'")
    key, token = tmp_path / "key", tmp_path / "token"
    key.write_bytes(bytes(range(32)))
    token.write_text(TOKEN)
    options = ("--key-file", key, "--token-file", token)
    with running_relay(Limits(token=TOKEN)) as relay:
        room = relay.room("lab")
        with started("send", speech, room, "-b", "6k", *options) as sender:
            out = tmp_path / "out.wav"
            ready = ("--model", "iris-t1", "--once", *options)
            with started("receive", room, out, *ready) as receiver:
                received, messages = ended(receiver)
            sent, warned = ended(sender)
    assert "NOT encrypted" not in messages
    assert f"nobody else is in {room}" in warned
    assert sent["packets"] == SECONDS * 50 + 1
    assert sent["reports"] >= 1
    assert received["received"] == sent["packets"]
    assert (received["lost"], received["ignored"], received["undescribed"]) == (0, 0, 0)
    assert is_heard(out, speech)


def test_two_talk_in_a_room_and_a_third_one_who_comes_later_receives_a_voice(
    speech: Path, tmp_path: Path
) -> None:
    longer, third = tmp_path / "longer.wav", tmp_path / "third.wav"
    soundfile.write(longer, np.tile(SPEECH, 2)[: 8 * RATE_HZ], RATE_HZ)
    with running_relay() as relay:
        room = relay.room("lab")
        ends = [
            ("talk", room, "--in", source, "--out", tmp_path / f"{name}.wav", "--once")
            for name, source in (("ann", longer), ("ben", longer))
        ]
        with (
            started(*ends[0]) as ann,
            started(*ends[1]) as ben,
            started("receive", room, third, "--once") as late,
        ):
            found = [ended(process)[0] for process in (ann, ben, late)]
    for now in found[:2]:
        assert now["sent"]["reports"] >= 1
        assert now["received"]["received"] > 300
        assert now["received"]["lost"] == 0
    assert found[2]["received"] > 50
    for name in ("ann", "ben", "third"):
        assert level(tmp_path / f"{name}.wav") > 0.15 * level(longer)


@pytest.fixture
def relay() -> Generator[Running, None, None]:
    with running_relay(Limits(token=TOKEN)) as running:
        yield running


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["receive", "ws://127.0.0.1:8000/lab", "OUT"], "is not the address of a room"),
        (["receive", "ROOM", "OUT"], "the relay needs a token"),
        (["receive", "ROOM", "OUT", "--announce", "ann", *("--token-file", "TOKEN")], "--announce"),
        (["send", "IN", "127.0.0.1:9", "--token-file", "TOKEN"], "--token-file is for ws://"),
        (["send", "IN", "ROOM", "--token-file", "TOKEN", "--sdp", "OUT"], "--sdp is for HOST:PORT"),
        (["talk", "--port", "ROOM", "--in", "IN", "--out", "OUT"], "without --port"),
        (["talk", "ROOM", "--in", "IN", "--out", "OUT", "--announce", "a"], "--announce"),
        (["talk", "ROOM", "--in", "IN", "--out", "OUT", "--token-file", "none"], "the token none"),
    ],
)
def test_wrong_options(
    arguments: list[str],
    message: str,
    relay: Running,
    speech: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    names = {"ROOM": relay.room("lab"), "IN": str(speech), "TOKEN": str(tmp_path / "token")}
    names["OUT"] = str(tmp_path / "out.wav")
    assert run([names.get(word, word) for word in arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.wav").exists()
