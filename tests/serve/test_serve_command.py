"""``chirrup serve`` as a process."""

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from chirrup.cli import run
from chirrup.serve import assets

pytest.importorskip("aiohttp", reason="pip install 'chirrup[web]'")

from relays import handshake

LIMIT_S = 60


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.skipif(not assets.ENGINE.is_file(), reason="needs chirrup.wasm: make engine")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_the_page_until_a_signal(port: int, number: int) -> None:
    command = [sys.executable, "-m", "chirrup", "serve", str(port)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(f"the page is at http://127.0.0.1:{port}/")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/talk.html") as answer:
                assert b"<title>Talk" in answer.read()
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(handshake("Sec-WebSocket-Protocol: token.\xe9\r\n"))
                assert b" 101 " in client.recv(100)  # aiohttp would print address and protocol
            process.send_signal(number)
            _, errors = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    assert process.returncode == 0
    events = [line.split(" room lab: ")[1][:6] for line in errors.splitlines()]
    assert events == ["joined", "left a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0"], "the port of '0' is not from 1 to 65535"),
        (["8000", "--max-rate", "1"], "--max-rate 1 is not from 10k"),
        (["8000", "--origin", "example.org"], "--origin 'example.org' is not https://HOST"),
        (["8000", "--origin", "https://example.org/"], "is not https://HOST"),
        (["8000", "--token-file", "/none"], "the token /none cannot be read"),
        (["8000", "--people", "1"], "--people"),
        (["8000", "--test", "speech"], "--test and --ratings belong together"),
        (["8000", "--test", "/none", "--ratings", "/none/x"], "/none/key.json cannot be read"),
    ],
)
def test_wrong_options(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_short_token_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_text("secret")
    assert run(["serve", "8000", "--token-file", str(tmp_path / "token")]) == 2
    error = capsys.readouterr().err
    assert "16 to 256" in error
    assert "secret" not in error


@pytest.mark.skipif(not assets.ENGINE.is_file(), reason="needs chirrup.wasm: make engine")
def test_an_address_of_another_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "192.0.2.1:8000"]) == 2
    captured = capsys.readouterr().err
    assert "everybody who reaches this address" in captured
    assert "192.0.2.1 port 8000 cannot be used" in captured
