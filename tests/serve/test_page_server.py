"""The server of `chirrup page`, and the folder that it writes for static hosts."""

import hashlib
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chirrup.cli import run
from chirrup.errors import FileError
from chirrup.serve import assets
from chirrup.serve.page import PageServer
from chirrup.zoo import FOLDER, models


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path | bytes]:
    engine = tmp_path / "chirrup.wasm"
    engine.write_bytes(b"\0asm")
    monkeypatch.setattr(assets, "ENGINE", engine)
    return assets.files()


@pytest.fixture
def address(found: dict[str, Path | bytes]) -> Iterator[str]:
    with PageServer(found, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.address
        server.shutdown()


def refused(request: str | urllib.request.Request) -> int:
    """Return the status of an answer without content."""
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request)
    error.value.close()
    return error.value.code


def test_the_list_of_models_has_the_hash_of_each_program(found: dict[str, Path | bytes]) -> None:
    described = json.loads(assets.content(found["models.json"]))
    named = {name for name in models(earlier=True) if (FOLDER / name / "model.chirp").is_file()}
    assert {model["program"].split("/")[1] for model in described} == named
    offered = [model["name"] for model in described if not model["earlier"]]
    assert offered == [name for name in models() if name in named]
    for model in described:
        program = assets.content(found[model["program"]])
        assert hashlib.sha256(program).hexdigest() == model["program_sha256"]
        assert len(program) == model["program_bytes"]


def test_a_file_has_its_type_and_the_policy(address: str) -> None:
    with urllib.request.urlopen(f"{address}chirrup.wasm") as answer:
        assert answer.read() == b"\0asm"
        assert answer.headers["Content-Type"] == "application/wasm"
        assert answer.headers["Content-Security-Policy"] == assets.POLICY
        tag = answer.headers["ETag"]
    again = urllib.request.Request(f"{address}chirrup.wasm", headers={"If-None-Match": tag})
    assert refused(again) == 304
    with urllib.request.urlopen(address) as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_browser_that_leaves_is_no_error(
    found: dict[str, Path | bytes], address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found["long"] = bytes(30_000_000)
    with socket.create_connection(("localhost", int(address.rsplit(":")[-1].strip("/")))) as page:
        page.sendall(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n")
        page.recv(1000)
    with urllib.request.urlopen(address) as answer:
        assert answer.status == 200
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join(10)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("path", ["absent.html", "../pyproject.toml", "%2e%2e/pyproject.toml"])
def test_only_files_of_the_page_are_served(address: str, path: str) -> None:
    assert refused(f"{address}{path}") == 404


def test_a_used_port_is_named(found: dict[str, Path | bytes]) -> None:
    with (
        PageServer(found, 0) as server,
        pytest.raises(FileError, match=f"port {server.server_port} cannot be used"),
    ):
        PageServer(found, server.server_port)


def test_a_folder_for_a_static_host_has_all_files(
    found: dict[str, Path | bytes], tmp_path: Path
) -> None:
    out = tmp_path / "site"
    assets.write(out, found)
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written == found.keys()
    with pytest.raises(FileError, match="exists"):
        assets.write(out, found)
    assets.write(out, found, force=True)


@pytest.mark.parametrize("before", [None, {}, {"index.html": "own"}])
def test_a_full_disk_leaves_the_folder_as_it_was(
    found: dict[str, Path | bytes],
    tmp_path: Path,
    limited_size: Callable[[int], None],
    before: dict[str, str] | None,
) -> None:
    out = tmp_path / "site"
    if before is not None:
        out.mkdir()
    for name, text in (before or {}).items():
        (out / name).write_text(text)
    limited_size(50_000)
    with pytest.raises(FileError, match="site cannot be written: File too large"):
        assets.write(out, found, force=True)
    there = {path.name: path.read_text() for path in out.iterdir()} if out.exists() else None
    assert there == before
    assert {path.name for path in tmp_path.iterdir()} <= {"site", "chirrup.wasm"}


def test_a_folder_in_place_of_a_file_leaves_the_output_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "index.html").mkdir()
    with pytest.raises(FileError, match=r"index\.html is a folder"):
        assets.write(tmp_path, {"icon.svg": b"a", "index.html": b"<head>\n"}, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_a_link_to_a_folder_that_does_not_exist_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("page")
    assets.write(tmp_path / "link", {"icon.svg": b"a"})
    assert (tmp_path / "page" / "icon.svg").read_bytes() == b"a"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--force"], "--force needs --out"),
        (["--out", "page", "--port", "1"], "--port is not an option of --out"),
        (["--out", "page", "--no-browser"], "--no-browser is not an option of --out"),
    ],
)
def test_options_that_do_nothing_are_refused(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["page", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_without_the_engine_the_error_names_a_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "ENGINE", tmp_path / "absent.wasm")
    with pytest.raises(FileError, match=r"native/build\.py"):
        assets.files()
