"""``chirrup send`` and ``chirrup receive``: two processes over loopback, and hostile datagrams."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from call_commands import (
    COMMAND,
    LIMIT_S,
    RATE_HZ,
    SPEECH,
    ended,
    free_port,
    is_heard,
    started,
)
from chirrup.cli import run
from chirrup.live.rtp import Control, parse

SECONDS = 2


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "talk.wav", SPEECH[: SECONDS * RATE_HZ], RATE_HZ)
    return tmp_path / "talk.wav"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    pytest.importorskip("cryptography", reason="pip install 'chirrup[live]'")
    (tmp_path / "key").write_bytes(bytes(range(32)))
    return tmp_path / "key"


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request: pytest.FixtureRequest) -> str:
    try:
        free_port(request.param)
    except OSError:
        pytest.skip("this machine has no IPv6")
    return request.param


def send(talk: Path, port: int, *options: str | Path, host: str = "127.0.0.1") -> dict:
    to = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    command = [*COMMAND, "send", str(talk), to, "-b", "6k", "--json", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def finished(process: subprocess.Popen[str]) -> tuple[dict, str]:
    """Stop a receiver by Ctrl-C, unless it has ended; return its meters and its messages."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    return ended(process)


def test_a_voice_over_a_bad_network(talk: Path, host: str, tmp_path: Path) -> None:
    port = free_port(host)
    with started("receive", port, tmp_path / "out.wav", "--once") as process:
        sent = send(talk, port, "--simulate", "loss:10%+jitter:5ms+duplicate:5%", host=host)
        process.wait(LIMIT_S)
        received, messages = finished(process)
    assert "NOT encrypted" in messages
    assert sent["reports"] >= 1
    assert 0 <= sent["round_trip_ms"] < 5000
    assert sent["codes_bps"] < sent["payload_bps"] < sent["total_bps"]
    assert received["final"]
    assert received["lost"] > 0
    assert received["duplicates"] > 0
    assert received["recovered"] + received["concealed"] > 0
    assert received["received"] + received["lost"] >= 0.9 * sent["packets"]
    assert is_heard(tmp_path / "out.wav", talk)


def test_the_end_of_a_delayed_stream_arrives(talk: Path, tmp_path: Path) -> None:
    port = free_port()
    with started("receive", port, tmp_path / "out.wav", "--once") as process:
        sent = send(talk, port, "--simulate", "delay:700ms")
        assert process.wait(LIMIT_S) == 0
        received, _ = finished(process)
    assert received["ended"]
    assert received["received"] == sent["packets"]
    assert received["concealed"] <= received["late"]


def attack(relay: Callable[[bytes], object], datagram: bytes, number: int) -> None:
    """Send a datagram, and with it garbage, a changed copy and a replay."""
    relay(datagram)
    relay(np.random.default_rng(number).bytes(number % 100))
    changed = bytearray(datagram)
    changed[number % len(changed)] ^= 1 << number % 8
    relay(bytes(changed))
    relay(datagram)


def test_hostile_datagrams_are_counted_and_ignored(talk: Path, key: Path, tmp_path: Path) -> None:
    """A relay adds three datagrams to each one, also to each datagram of another key."""
    port, between = free_port(), free_port()
    other = tmp_path / "other"
    other.write_bytes(bytes(32))
    options = ("--key-file", key)
    with (
        started("receive", port, tmp_path / "out.wav", *options) as process,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay,
    ):
        relay.bind(("127.0.0.1", between))
        relay.settimeout(0.5)
        sender = [*COMMAND, "send", str(talk), f"127.0.0.1:{between}", "-q"]
        send(talk, port, "--key-file", other)
        with subprocess.Popen([*sender, "--key-file", key]) as source:
            count = 0
            while True:
                try:
                    data, _ = relay.recvfrom(2000)
                except TimeoutError:
                    if source.poll() is not None:
                        break
                    continue
                attack(lambda d: relay.sendto(d, ("127.0.0.1", port)), data, count)
                count += 1
        received, messages = finished(process)
    assert "NOT" not in messages
    assert received["ignored"] >= 3 * count + 50
    assert (received["lost"], received["malformed"], received["duplicates"]) == (0, 0, 0)
    assert received["streams"] == 1
    assert is_heard(tmp_path / "out.wav", talk)


def test_a_sender_is_restarted(talk: Path, key: Path, tmp_path: Path) -> None:
    """The first sender is killed, so that it does not state its end."""
    port, long = free_port(), tmp_path / "long.wav"
    soundfile.write(long, np.tile(SPEECH, 20), RATE_HZ)
    command = [*COMMAND, "send", str(long), f"127.0.0.1:{port}", "-q", "--key-file", str(key)]
    with started("receive", port, tmp_path / "out.wav", "--key-file", key) as process:
        with subprocess.Popen(command) as first:
            assert process.stdout is not None
            now: dict = {}
            for _ in range(LIMIT_S):
                now = json.loads(process.stdout.readline())
                if now.get("played", 0) >= 20:
                    break
            else:
                pytest.fail(f"the stream does not arrive: {now}, {first.poll()}")
            first.kill()
        time.sleep(2.1)
        send(talk, port, "--key-file", key)
        received, _ = finished(process)
    assert received["streams"] == 2
    assert received["restarts"] >= 1  # more if a busy machine interrupts a stream
    assert received["played"] > 20 + 0.3 * 50 * SECONDS


def test_pipes(talk: Path, tmp_path: Path) -> None:
    port, out = free_port(), tmp_path / "out"
    command = [*COMMAND, "receive", f"127.0.0.1:{port}", "-", "--once", "-q"]
    with out.open("wb") as file, subprocess.Popen(command, stdout=file) as process:
        for _ in range(3):  # the receiver may not listen yet
            sender = [*COMMAND, "send", "-", f"127.0.0.1:{port}", "-q"]
            subprocess.run(sender, input=talk.read_bytes(), timeout=LIMIT_S, check=True)
            if out.stat().st_size:
                break
        assert process.wait(LIMIT_S) == 0
    data = out.read_bytes()
    assert data.startswith(b"RIFF")
    assert len(data) > 2 * RATE_HZ * 0.3 * SECONDS


def test_a_pipe_that_nobody_reads(tmp_path: Path) -> None:
    """The receiver goes on, and Ctrl-C ends it: a stalled pipe holds up neither."""
    soundfile.write(tmp_path / "long.wav", np.tile(SPEECH, 3)[: 5 * RATE_HZ], RATE_HZ)
    port = free_port()
    command = [*COMMAND, "receive", str(port), "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            for _ in range(5):  # the receiver may not listen yet
                if send(tmp_path / "long.wav", port)["reports"] > 3:
                    break
            else:
                pytest.fail("the receiver sends no reports")
            process.send_signal(signal.SIGINT)
            assert process.wait(LIMIT_S) == 0
            assert process.stderr is not None
            assert b"blocks were not written" in process.stderr.read()
        finally:
            process.kill()


def test_a_pipe_that_sends_nothing() -> None:
    """Ctrl-C ends the sender."""
    with subprocess.Popen(
        [*COMMAND, "send", "-", f"127.0.0.1:{free_port()}", "--raw", "s16@24000", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()  # it runs
            process.send_signal(signal.SIGINT)
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["send", "TALK", "5004"], "'5004' is not HOST:PORT"),
        (["send", "TALK", "::1:5004"], "'::1:5004' is not HOST:PORT"),
        (["send", "TALK", "127.0.0.1:0"], "the port of '127.0.0.1:0' is not from 1 to 65535"),
        (["send", "TALK", "127.0.0.1:99999"], "is not from 1 to 65535"),
        (["send", "TALK", "no-such-host.invalid:5004"], "no-such-host.invalid is not known"),
        (["send", "TALK", "127.0.0.1:9", "--redundancy", "16"], "from 0 to"),
        (["send", "TALK", "127.0.0.1:9", "--max-rate", "3k"], "3000 bit/s is too low"),
        (["send", "TALK", "127.0.0.1:9", "-b", "1"], "no bitrate of 1 bit/s"),
        (["send", "TALK", "127.0.0.1:9", "--key-file", "none"], "none cannot be read"),
        (["send", "none.wav", "127.0.0.1:9"], "none.wav does not exist"),
        (["receive", "127.0.0.1:USED", "out.wav"], "choose another port"),
        (["send", "TALK", "127.0.0.1:9", "--device", "1"], "--device is for mic, not for talk.wav"),
        (["send", "mic", "127.0.0.1:9", "--raw", "s16@8000"], "--raw is for a file or a pipe"),
        (["receive", "5004", "out.wav", "--device", "1"], "--device is for speaker, not for out"),
        (["receive", "5004", "speaker", "--raw"], "--raw is for a file or a pipe, not for speaker"),
        (["receive", "5004", "TALK"], "overwrite it with --force"),
        (["receive", "5004", "out.xyz"], "not of a known audio format"),
        (["receive", "5004", "-", "--json"], "both need standard output"),
    ],
)
def test_errors(
    talk: Path,
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("cryptography", reason="pip install 'chirrup[live]'")
    monkeypatch.chdir(talk.parent)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as used:
        used.bind(("127.0.0.1", 0))
        port = str(used.getsockname()[1])
        given = [text.replace("TALK", "talk.wav").replace("USED", port) for text in arguments]
        assert run(given) == 2
    shown = capsys.readouterr().err
    assert words in shown
    assert "NOT encrypted" not in shown  # no connection has begun
    assert [path.name for path in talk.parent.iterdir()] == ["talk.wav"]


@pytest.mark.parametrize("command", [["send", "TALK", "127.0.0.1:9"], ["receive", "5004", "OUT"]])
def test_without_the_extra(
    talk: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A key without the package that encrypts is an error, and nothing is sent or written."""
    out = talk.parent / "out.wav"
    arguments = [text.replace("TALK", str(talk)).replace("OUT", str(out)) for text in command]
    monkeypatch.setenv("CHIRRUP_PASSPHRASE", "correct horse battery staple")
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    monkeypatch.delitem(sys.modules, "chirrup.live.seal", raising=False)
    monkeypatch.delattr("chirrup.live.seal", raising=False)
    assert run(arguments) == 2
    assert "install it with pip install 'chirrup[live]'" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("end", ["closed terminal", "closed pipe"])
def test_what_arrived_is_kept(talk: Path, tmp_path: Path, end: str) -> None:
    port, out = free_port(), tmp_path / "out.wav"
    with started("receive", f"127.0.0.1:{port}", out) as process:
        send(talk, port)
        assert process.stdout is not None
        while json.loads(process.stdout.readline()).get("played", 0) < 10:
            pass
        if end == "closed pipe":
            process.stdout.close()  # the next meters cannot be printed
        else:
            process.send_signal(signal.SIGHUP)
        assert process.wait(LIMIT_S) == (2 if end == "closed pipe" else 0)
    assert is_heard(out, talk)
    assert {path.name for path in tmp_path.iterdir()} == {"talk.wav", "out.wav"}


def test_ctrl_c_ends_a_sender_that_waits_for_a_named_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "voice")
    held = os.open(tmp_path / "voice", os.O_RDWR)
    address = f"127.0.0.1:{free_port()}"
    try:
        with started("send", tmp_path / "voice", address, "--raw", "s16@24000") as process:
            process.send_signal(signal.SIGINT)
            assert process.wait(LIMIT_S) == 0
    finally:
        os.close(held)


def test_nothing_arrives(tmp_path: Path) -> None:
    with started("receive", free_port(), tmp_path / "out.wav") as process:
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 2
    assert "no stream arrived" in messages
    assert [*tmp_path.iterdir()] == []


def test_a_passphrase(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: Path, talk: Path
) -> None:
    monkeypatch.setenv("CHIRRUP_PASSPHRASE", "short")
    assert run(["send", str(talk), "127.0.0.1:9"]) == 2
    assert "5 characters" in capsys.readouterr().err
    assert run(["send", str(talk), "127.0.0.1:9", "--key-file", str(key)]) == 2
    assert "exclude each other" in capsys.readouterr().err
    monkeypatch.setenv("CHIRRUP_PASSPHRASE", os.fsdecode(b"gr\xfcn gr\xfcn gr\xfcn"))
    assert run(["send", str(talk), "127.0.0.1:9"]) == 2
    assert "is not UTF-8" in capsys.readouterr().err
    monkeypatch.setenv("CHIRRUP_PASSPHRASE", "correct horse battery staple")
    assert run(["send", str(talk), "127.0.0.1:9", "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_the_description_of_a_stream_for_other_programs(talk: Path, tmp_path: Path) -> None:
    out = tmp_path / "talk.sdp"
    assert run(["send", str(talk), "[::1]:9", "-q", "--sdp", str(out), "--bitrate", "3k"]) == 0
    text = out.read_bytes().decode()
    assert "c=IN IP6 ::1\r\n" in text
    assert "m=audio 9 RTP/AVP 96\r\n" in text
    assert "bitrate=3000;codebooks=6;" in text
    assert run(["send", str(talk), "[::1]:9", "-q", "--sdp", str(tmp_path / "no" / "talk")]) == 2


def test_the_voice_of_a_stream_is_rtp(talk: Path) -> None:
    """Without a key, any program reads sequence numbers and timestamps."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.0.0.1", 0))
        link.settimeout(1)
        send(talk, link.getsockname()[1])
        packets = []
        while not packets or not isinstance(packets[-1], Control) or len(packets[-1].messages) < 3:
            packets.append(parse(link.recv(2000)))
    voice = [packet for packet in packets if not isinstance(packet, Control)]
    assert isinstance(packets[0], Control)
    assert [packet.starts for packet in voice[:3]] == [True, False, False]
    steps = {
        (b.sequence - a.sequence & 0xFFFF, b.timestamp - a.timestamp & 0xFFFFFFFF)
        for a, b in pairwise(voice)
    }
    assert steps == {(1, 480)}
