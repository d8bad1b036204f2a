"""``chirrup talk``: two processes talk over loopback, devices, push-to-talk and names."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, Self

import numpy as np
import pytest
import soundfile

import chirrup
from call_commands import COMMAND, RATE_HZ, SPEECH, ended, free_port, started
from chirrup.calls.keys import HOLD_S, PushToTalk, open_keys
from chirrup.cli import run
from chirrup.errors import FileError, UsageError
from chirrup.live import discovery
from fake_sounddevice import Sounds

LIMIT_S = 120
LIMIT_BPS = 20_000


@pytest.fixture
def talks(tmp_path: Path) -> tuple[Path, Path]:
    """The voices of the two ends."""
    paths = tmp_path / "alice.wav", tmp_path / "bob.wav"
    for path, seconds in zip(paths, (5, 6), strict=True):
        soundfile.write(path, np.tile(SPEECH, 2)[: seconds * RATE_HZ], RATE_HZ)
    return paths


def last(process: subprocess.Popen[str]) -> dict:
    return ended(process, LIMIT_S)[0]


def until(process: subprocess.Popen[str], key: str, least: int) -> None:
    """Read meters until a value of the received stream is large enough."""
    assert process.stdout is not None
    now: dict = {}
    for _ in range(LIMIT_S):
        now = json.loads(process.stdout.readline())
        if now["received"].get(key, 0) >= least:
            return
    pytest.fail(f"{key} stays below {least}: {now}")


def level(path: Path) -> float:
    audio, _ = soundfile.read(path)
    return float(np.sqrt(np.square(audio).sum() / RATE_HZ))


def test_two_processes_talk_over_a_bad_network(talks: tuple[Path, Path], tmp_path: Path) -> None:
    """Losses in both directions, a limit of the rate, a key, and recordings of both ends."""
    pytest.importorskip("cryptography", reason="pip install 'chirrup[live]'")
    port, key = free_port(), tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    bad = "loss:15%+jitter:10ms+reorder:5%+duplicate:10%"
    common = ["--key-file", key, "--simulate", bad, "--adapt", "--max-rate", LIMIT_BPS, "--once"]
    ends = [
        ["--in", talk, "--out", tmp_path / f"{name}-out.wav", "--record", tmp_path / name]
        for talk, name in zip(talks, ("alice", "bob"), strict=True)
    ]
    with (
        started("talk", "--port", port, *ends[0], *common, "--seed", "1") as alice,
        started("talk", f"127.0.0.1:{port}", *ends[1], *common, "--seed", "2") as bob,
    ):
        found = [last(process) for process in (alice, bob)]
    assert sum(now["sent"]["reports"] for now in found) >= 1, found
    assert sum(now["ignored"] for now in found) >= 1, found  # duplicates, as they are encrypted
    names = "alice", "bob"
    for now, far, own, other, name in zip(
        found, found[::-1], talks, talks[::-1], names, strict=True
    ):
        sent, received = now["sent"], now["received"]
        assert now["final"]
        assert 0 <= sent["round_trip_ms"] < 5000
        assert sent["codes_bps"] <= 6000
        assert sent["payload_bps"] < sent["total_bps"] <= LIMIT_BPS
        assert received["malformed"] == 0
        assert received["lost"] > 0
        assert received["recovered"] + received["concealed"] > 0
        assert 0.3 * far["sent"]["packets"] < received["received"] < far["sent"]["packets"]
        out = tmp_path / f"{name}-out.wav"
        assert 0.3 < level(out) / level(other) < 1.3
        recorded = level(tmp_path / name / "sent.wav")
        assert recorded == pytest.approx(level(own), rel=0.01)
        assert level(tmp_path / name / "received.wav") == pytest.approx(level(out), rel=0.01)


def test_the_other_end_is_restarted(talks: tuple[Path, Path], tmp_path: Path) -> None:
    """The first caller is killed. The end that waits talks with the second one, from another
    port."""
    port, long = free_port(), tmp_path / "long.wav"
    soundfile.write(long, np.tile(SPEECH, 20), RATE_HZ)
    waiting = ["--port", f"127.0.0.1:{port}", "--in", long, "--out", tmp_path / "out.wav"]
    caller = [f"127.0.0.1:{port}", "--in", long, "--out", tmp_path / "again.wav"]
    with started("talk", *waiting) as alice:
        with started("talk", *caller) as bob:
            until(bob, "played", 10)
            until(alice, "played", 10)
        with started("talk", *caller) as bob:
            until(bob, "played", 10)
            until(alice, "streams", 2)
            for process in (bob, alice):
                process.send_signal(signal.SIGINT)
                now = last(process)
                assert level(Path(process.args[-2])) > 0  # pyright: ignore
    assert now["received"]["restarts"] >= 1  # more if a busy machine interrupts a stream
    assert now["received"]["streams"] == 2


def test_an_end_that_waits_ends_with_its_caller(talks: tuple[Path, Path], tmp_path: Path) -> None:
    """With --once, its voice does not wait for another caller."""
    port, long = free_port(), tmp_path / "long.wav"
    soundfile.write(long, np.tile(SPEECH, 20), RATE_HZ)
    waiting = ["--port", f"127.0.0.1:{port}", "--in", long, "--out", tmp_path / "out.wav"]
    caller = [f"127.0.0.1:{port}", "--in", long, "--out", tmp_path / "again.wav"]
    with started("talk", *waiting, "--once") as alice, started("talk", *caller) as bob:
        until(alice, "played", 10)
        bob.send_signal(signal.SIGINT)
        last(bob)
        now = last(alice)
    assert now["received"]["ended"]
    assert now["sent"]["packets"] < 20 * len(SPEECH) / 480


def test_microphone_and_speaker(
    talks: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Devices, with a module in the place of sounddevice. A device is the clock of the ticks."""
    sounds = Sounds()
    sounds.recorded, sounds.paced = np.tile(SPEECH, 20).astype(np.float32)[:, None], True
    monkeypatch.setitem(sys.modules, "sounddevice", sounds.module())
    port, out = free_port(), tmp_path / "out.wav"

    def call() -> None:
        try:
            with started("talk", f"127.0.0.1:{port}", "--in", talks[0], "--out", out) as process:
                until(process, "written_s", 4)
                process.send_signal(signal.SIGINT)
                last(process)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    caller = threading.Thread(target=call)
    chirrup.load("iris-t1").engines()  # imports what a signal must not interrupt
    caller.start()
    try:
        assert run(["talk", "--port", str(port), "-q"]) == 0
    finally:
        caller.join()
    assert sounds.stopped
    assert sounds.played_rate_hz == RATE_HZ
    played = np.concatenate(sounds.played)[:, 0]
    assert 0.3 < float(np.sqrt(np.square(played).sum() / RATE_HZ)) / level(talks[0]) < 1.3
    assert level(out) > 0.3 * level(talks[0])


def test_keys() -> None:
    ours, theirs = pty.openpty()
    try:
        toggle = PushToTalk(theirs, "toggle")
        assert not toggle.talks()
        for text, talks in ((b" \n", True), (b"x\n", True), (b"  \n", True), (b" \n", False)):
            os.write(ours, text)
            time.sleep(0.1)
            assert toggle.talks() == talks
        hold = PushToTalk(theirs, "hold")
        assert not hold.talks()
        os.write(ours, b" \n")
        time.sleep(0.1)
        assert hold.talks()
        time.sleep(HOLD_S + 0.1)
        assert not hold.talks()
    finally:
        os.close(ours)
        os.close(theirs)
    with pytest.raises(UsageError, match="use hold or toggle"), open_keys("press"):
        pass
    with pytest.raises(UsageError, match="needs a terminal"), open_keys("hold"):
        pass


def test_push_to_talk(talks: tuple[Path, Path], tmp_path: Path) -> None:
    """Nothing is sent until the key is pressed."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, "talk", f"127.0.0.1:{free_port()}", "--push-to-talk", "toggle", "--json"]
    command += ["--in", str(tmp_path / "long.wav"), "--out", "/dev/null", "-q"]
    soundfile.write(tmp_path / "long.wav", np.tile(SPEECH, 20), RATE_HZ)
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for key in ("left_out", "packets"):
                for _ in range(LIMIT_S):
                    sent = json.loads(process.stdout.readline())["sent"]
                    if sent[key]:
                        break
                    assert sent["packets"] == 0
                else:
                    pytest.fail(f"{key} stays 0")
                os.write(ours, b" ")
        finally:
            process.kill()
            os.close(ours)
            os.close(theirs)


def test_meters_on_a_terminal(talks: tuple[Path, Path]) -> None:
    """One line, which is shorter than the terminal, and a summary."""
    ours, theirs = pty.openpty()
    port = free_port()
    command = [*COMMAND, "talk", "--port", str(port), "--push-to-talk", "hold"]
    command += ["--in", str(talks[0]), "--out", "/dev/null"]
    shown = bytearray()

    def read_until(words: bytes) -> None:
        end_s = time.monotonic() + LIMIT_S
        while words not in shown:
            assert select.select([ours], [], [], max(0, end_s - time.monotonic()))[0], shown
            shown.extend(os.read(ours, 1000))

    with subprocess.Popen(command, stdin=theirs, stderr=theirs) as process:
        try:
            read_until(b"no stream yet")
            with started("talk", f"127.0.0.1:{port}", "--in", talks[1], "--out", "/dev/null"):
                read_until(b"in delay")
            process.send_signal(signal.SIGINT)
            read_until(b"received with loss")
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()
            os.close(ours)
            os.close(theirs)
    lines = [line for line in shown.split(b"\r\x1b[K") if b" | " in line]
    assert b" | off | " in lines[0]
    assert max(map(len, lines)) < 80


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["127.0.0.1:9", "--port", "5004"], "for the end that waits"),
        (["127.0.0.1:9", "--in", "TALK", "--out", "-", "--json"], "both need standard output"),
        (["127.0.0.1:9", "--in", "TALK", "--out", "TALK"], "exists"),
        (["--port", "USED", "--in", "TALK", "--out", "out.wav"], "choose another port"),
        (["127.0.0.1:9", "--in", "TALK", "--out", "o.wav", "--push-to-talk", "x"], "hold or togg"),
        (["127.0.0.1:9", "--in", "TALK", "--out", "o.wav", "--record", "TALK"], "cannot be made"),
        (["name:no.such", "--in", "TALK", "--out", "o.wav"], "is not a name of an end"),
        (["127.0.0.1:9", "--out", "o.wav"], "device"),
        (["127.0.0.1:9", "--in", "TALK", "--out", "o.wav", "--device-in", "1"], "--device-in is"),
        (["127.0.0.1:9", "--in", "TALK", "--out", "o.wav", "--device-out", "1"], "--device-out is"),
    ],
)
def test_errors(
    talks: tuple[Path, Path],
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", Sounds(devices=False).module())
    monkeypatch.chdir(talks[0].parent)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as used:
        used.bind(("127.0.0.1", 0))
        names = {"TALK": "alice.wav", "USED": f"127.0.0.1:{used.getsockname()[1]}"}
        assert run(["talk", *[names.get(text, text) for text in arguments]]) == 2
    shown = capsys.readouterr().err
    assert words in shown
    assert "NOT encrypted" not in shown  # no connection has begun
    assert {path.name for path in talks[0].parent.iterdir()} == {"alice.wav", "bob.wav"}


def test_names_in_a_local_network(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zeroconf", reason="pip install 'chirrup[live]'")
    name = f"test {os.getpid()}"
    monkeypatch.setattr(discovery, "WAIT_S", 10.0)
    try:
        with discovery.announced(name, "0.0.0.0", 5004):
            try:
                host, port = discovery.find(name)
            except FileError:
                pytest.skip("this machine has no multicast")
            assert port == 5004
            assert socket.inet_aton(host)
            monkeypatch.setattr(discovery, "WAIT_S", 0.1)
            with pytest.raises(FileError, match=name):  # the names that there are
                discovery.find("nobody")
    except OSError:
        pytest.skip("this machine has no network")


class Responder:
    """In place of zeroconf's."""

    addresses: ClassVar[list[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def register_service(self, info: dict[str, list[str]]) -> None:
        self.addresses[:] = info["parsed_addresses"]


@pytest.mark.parametrize("host", ["127.0.0.2", "2001:db8::1", "::", "0.0.0.0"])
def test_the_announced_address_is_the_given_one(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    module = SimpleNamespace(
        Zeroconf=Responder,
        ServiceInfo=lambda *_, **facts: facts,
        NonUniqueNameException=KeyError,
    )
    monkeypatch.setitem(sys.modules, "zeroconf", module)
    monkeypatch.setattr(discovery, "_own_address", lambda: "192.0.2.7")
    with pytest.raises(BrokenPipeError), discovery.announced("kitchen", host, 5004):
        raise BrokenPipeError  # not of the announcement
    assert Responder.addresses == ["192.0.2.7" if host in ("::", "0.0.0.0") else host]


def test_names_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(FileError, match=r"pip install 'chirrup\[live\]'"):
        discovery.find("kitchen")
