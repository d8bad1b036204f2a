"""The server of `chirrup serve` over real sockets."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

pytest.importorskip("aiohttp", reason="pip install 'chirrup[web]'")

import aiohttp
from aiohttp import WSMsgType, web

from chirrup.errors import FileError, UsageError
from chirrup.evaluate.listening_tests.design import make_test
from chirrup.evaluate.listening_tests.items import Settings
from chirrup.evaluate.listening_tests.ratings import MOST_BYTES, read_key
from chirrup.live import rooms
from chirrup.live.rtp import MAX_DATAGRAM
from chirrup.serve import app
from chirrup.serve.listening import ListeningTests
from chirrup.serve.relay import Limits, Relay
from listening_samples import evaluated, submission
from relays import handshake

LIMIT_S = 30
Test = Callable[[aiohttp.ClientSession, str], Awaitable[None]]


def run(
    test: Test,
    relay: Relay | None = None,
    origins: tuple[str, ...] = (),
    files: Mapping[str, Path | bytes] | None = None,
    tests: ListeningTests | None = None,
) -> list[str]:
    """Run a test against a server, end the server, and return its log."""
    lines: list[str] = []
    served = app.Server(files or {}, relay or Relay(Limits()), origins, lines.append, tests)

    async def main() -> None:
        runner = web.AppRunner(served.application(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with aiohttp.ClientSession() as session:
                port = runner.addresses[0][1]
                await asyncio.wait_for(test(session, f"http://127.0.0.1:{port}/"), LIMIT_S)
        finally:
            await runner.cleanup()

    asyncio.run(main())
    return lines


async def people(socket: aiohttp.ClientWebSocketResponse) -> int:
    return rooms.parse_news(await socket.receive_str())


async def deaf_client(port: int) -> asyncio.StreamWriter:
    """Join a room with a connection that reads and answers nothing."""
    _, deaf = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    deaf.write(handshake())
    deaf.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]
    return deaf


def test_datagrams_of_any_size_arrive_unchanged() -> None:
    async def test(session: aiohttp.ClientSession, url: str) -> None:
        address = f"{url}relay/lab"
        async with session.ws_connect(address) as ann, session.ws_connect(address) as ben:
            assert [await people(ann), await people(ann), await people(ben)] == [1, 2, 2]
            for size in (0, 1, 40, MAX_DATAGRAM):
                datagram = (bytes(range(256)) * 6)[:size]
                await ann.send_bytes(datagram)
                assert await ben.receive_bytes() == datagram
            await ben.close()
            assert await people(ann) == 1

    lines = run(test)
    assert [line for line in lines if "joined" in line] == [
        "room lab: joined, 1 person in it",
        "room lab: joined, 2 people in it",
    ]
    assert sum("left after" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda socket: socket.send_bytes(bytes(MAX_DATAGRAM + 1)), rooms.TOO_BIG),
        (lambda socket: socket.send_str("hello"), rooms.NOT_BINARY),
    ],
)
def test_what_is_no_datagram_ends_the_connection(send: Callable, code: int) -> None:
    async def test(session: aiohttp.ClientSession, url: str) -> None:
        async with session.ws_connect(f"{url}relay/lab") as ann:
            await people(ann)
            await send(ann)
            assert (await ann.receive()).type is WSMsgType.CLOSE
            assert ann.close_code == code

    run(test)


def test_a_flood_ends_the_connection_with_a_reason() -> None:
    relay = Relay(Limits(rate_bps=10_000))

    async def test(session: aiohttp.ClientSession, url: str) -> None:
        async with session.ws_connect(f"{url}relay/lab") as ann:
            await people(ann)
            for _ in range(100):
                await ann.send_bytes(bytes(100))
            closed = await ann.receive()
            assert closed.data == rooms.TOO_FAST
            assert closed.extra == "the datagrams have more than 10 kbit/s: choose a lower bitrate"

    assert any("more than 10 kbit/s" in line for line in run(test, relay))
    assert relay.rooms == {}


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://HOST", True),
        ("https://HOST", True),  # a proxy decrypts
        ("https://page.example.org", True),
        ("https://example.org", False),
        ("https://page.example.org.evil.org", False),
        ("http://page.example.org", False),
        ("null", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_pages_of_other_hosts_are_refused(origin: str | None, allowed: bool) -> None:
    async def test(session: aiohttp.ClientSession, url: str) -> None:
        given = None if origin is None else origin.replace("HOST", url.split("/")[2])
        headers = {} if given is None else {"Origin": given}
        connection = session.ws_connect(f"{url}relay/lab", headers=headers)
        if allowed:
            async with connection as ann:
                assert await people(ann) == 1
        else:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await connection
            assert refused.value.status == 403

    lines = run(test, origins=("https://page.example.org",))
    assert any("--origin" in line for line in lines) != allowed


def test_a_room_without_a_websocket_is_refused() -> None:
    async def test(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(f"{url}relay/lab") as answer:
            assert answer.status == 400

    assert run(test) == []


@pytest.mark.parametrize(
    ("token", "code"), [(None, rooms.WRONG_TOKEN), ("0" * 16, rooms.WRONG_TOKEN), ("1" * 16, None)]
)
def test_the_token_is_checked(token: str | None, code: int | None) -> None:
    async def test(session: aiohttp.ClientSession, url: str) -> None:
        protocols = rooms.offered_protocols(token)
        async with session.ws_connect(f"{url}relay/lab", protocols=protocols) as ann:
            assert ann.protocol == rooms.PROTOCOL
            message = await ann.receive()
            assert (message.data if code else None) == code

    lines = run(test, Relay(Limits(token="1" * 16)))
    assert not any("0" * 16 in line or "1" * 16 in line for line in lines)


@pytest.mark.parametrize("protocol", ["other", "token.\xe9", "token.=", "a" + 7000 * " " + "b"])
def test_strange_protocols_are_refused_at_once(protocol: str) -> None:
    async def test(session: aiohttp.ClientSession, url: str) -> None:
        port = int(url.split(":")[2].strip("/"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        start_s = time.process_time()
        writer.write(handshake(f"Sec-WebSocket-Protocol: {protocol}\r\n"))
        assert (await reader.readline()).split()[1] == b"101"
        assert time.process_time() - start_s < 0.1
        writer.close()

    lines = run(test, Relay(Limits(token="1" * 16)))
    assert "room lab: refused: the relay " in lines[0]


def test_a_person_that_reads_nothing_does_not_hold_up_the_others() -> None:
    relay = Relay(Limits(rate_bps=1e9))

    async def test(session: aiohttp.ClientSession, url: str) -> None:
        port = int(url.split(":")[2].strip("/"))
        deaf = await deaf_client(port)
        address = f"{url}relay/lab"
        async with session.ws_connect(address) as ann, session.ws_connect(address) as ben:
            while await people(ann) < 3:
                pass
            while await people(ben) < 3:
                pass
            for number in range(8000):
                datagram = number.to_bytes(2) + bytes(MAX_DATAGRAM - 2)
                await ann.send_bytes(datagram)
                assert await ben.receive_bytes() == datagram
            dropped = [person.dropped for person in relay.rooms["lab"]]
            assert sorted(dropped)[:2] == [0, 0]
            assert max(dropped) > 1000
        deaf.close()

    run(test, relay)


def test_the_files_of_the_page_are_served(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>hello")
    files: dict[str, Path | bytes] = {
        "index.html": tmp_path / "page.html",
        "modules/x.js": b"export {}",
    }

    async def test(session: aiohttp.ClientSession, url: str) -> None:
        for path in ("", "index.html"):
            async with session.get(url + path) as answer:
                assert (answer.status, await answer.text()) == (200, "<p>hello")
                assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
                assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        async with session.get(f"{url}modules/x.js") as answer:
            assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
        for path in ("none.js", "../secret", "relay/a.b", "relay/", "modules"):
            async with session.get(url + path) as answer:
                assert answer.status == 404

    run(test, files=files)


def test_an_address_in_use_is_an_error() -> None:
    served = app.Server({}, Relay(Limits()), (), print).application()

    async def twice() -> None:
        site = asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
        async with await site as server:
            port = server.sockets[0].getsockname()[1]
            await app.run(served, "127.0.0.1", port, lambda _: None)

    with pytest.raises(FileError, match=r"127\.0\.0\.1 port .* cannot be used"):
        asyncio.run(twice())


def test_the_end_closes_all_connections() -> None:
    """Clients that do not answer do not hold it up, however many there are."""
    relay, ended = Relay(Limits()), threading.Event()

    async def main() -> None:
        served = app.Server({}, relay, (), lambda _: None).application()
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(app.run(served, "127.0.0.1", 0, started.set_result))
        async with aiohttp.ClientSession() as session:
            deaf = [await deaf_client(await started) for _ in range(5)]
            address = f"http://127.0.0.1:{await started}/relay/lab"
            async with session.ws_connect(address) as ann:
                while await people(ann) < 6:
                    pass
                task.cancel()
                closed = await ann.receive()
                assert closed.data == rooms.GOING
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, LIMIT_S)
        for writer in deaf:
            writer.close()
        ended.set()

    asyncio.run(main())
    assert ended.is_set()
    assert relay.rooms == {}


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '"x"'])
def test_a_damaged_listening_test_is_an_error(tmp_path: Path, text: str) -> None:
    results = evaluated(tmp_path / "results", ["ann__0"], seconds=0.02)
    make_test(results, tmp_path / "speech", Settings("abx"), {})
    (tmp_path / "speech" / "page" / "test.json").write_text(text)
    with pytest.raises(FileError, match=r"test\.json cannot be read"):
        ListeningTests([tmp_path / "speech"], tmp_path / "ratings.sqlite")


def test_a_listening_test_with_another_page_or_without_a_sound_is_an_error(tmp_path: Path) -> None:
    results = evaluated(tmp_path / "results", ["ann__0"], seconds=0.02)
    for name in ("speech", "other"):
        make_test(results, tmp_path / name, Settings("abx"), {})
    sound = next((tmp_path / "speech" / "page" / "audio").iterdir())
    sound.unlink()
    with pytest.raises(FileError, match=rf"{sound.name} is missing"):
        ListeningTests([tmp_path / "speech"], tmp_path / "ratings.sqlite")
    (tmp_path / "other" / "page" / "test.json").replace(tmp_path / "speech" / "page" / "test.json")
    with pytest.raises(FileError, match="but the key is of"):
        ListeningTests([tmp_path / "speech"], tmp_path / "ratings.sqlite")
    assert not (tmp_path / "ratings.sqlite").exists()


def test_ratings_of_listening_tests_are_stored(tmp_path: Path) -> None:
    results = evaluated(tmp_path / "results", ["ann__0"], seconds=0.02)
    make_test(results, tmp_path / "speech", Settings("abx"), {})
    key = read_key(tmp_path / "speech")
    tests = ListeningTests([tmp_path / "speech"], tmp_path / "ratings.sqlite")
    right = submission(key, "7", lambda trial: trial["choices"][0], "choice")

    async def test(session: aiohttp.ClientSession, url: str) -> None:
        async def send(body: bytes, origin: str | None = None) -> tuple[int, str]:
            headers = {"Origin": origin} if origin else {}
            data = io.BytesIO(body)
            async with session.post(f"{url}ratings", data=data, headers=headers) as answer:
                return answer.status, await answer.text()

        async with session.get(f"{url}tests/speech/test.json") as answer:
            assert (await answer.json())["send"] == "../../ratings"
        sound = next(iter(key.sounds))
        async with session.get(f"{url}tests/speech/audio/{sound}") as answer:
            assert answer.headers["Content-Type"] == "audio/flac"
        async with session.get(f"{url}tests/speech/key.json") as answer:
            assert answer.status == 404
        assert (await send(json.dumps(right).encode(), url.rstrip("/"))) == (204, "")
        assert (await send(json.dumps(right).encode(), "https://example.org"))[0] == 403
        assert (await send(bytes(MOST_BYTES + 1)))[0] == 413
        for body, message in (
            (b"[" * 100_000, "not JSON"),
            (b"{}", "a submission is a JSON object"),
            (json.dumps(right | {"test": "other"}).encode(), "there is no test other"),
            (json.dumps(right | {"ratings": [{"trial": "1", "choice": "x"}]}).encode(), "not fit"),
            (json.dumps(right | {"ratings": []}).encode(), "ratings is empty"),
        ):
            status, text = await send(body)
            assert (status, message in text) == (400, True), text

    assert run(test, files=tests.files, tests=tests) == ["ratings: stored"]
    assert tests.ratings.rows(key.test) == [right]


def test_no_ratings_without_tests() -> None:
    async def test(session: aiohttp.ClientSession, url: str) -> None:
        async with session.post(f"{url}ratings", data=b"{}") as answer:
            assert answer.status == 404

    run(test)


def test_folders_that_are_no_tests(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="name the folder that chirrup blind-test made"):
        ListeningTests([tmp_path], tmp_path / "ratings.sqlite")
    results = evaluated(tmp_path / "results", ["ann__0"], seconds=0.02)
    for folder in (tmp_path / "a b", tmp_path / "one" / "x", tmp_path / "two" / "x"):
        folder.parent.mkdir(exist_ok=True)
        make_test(results, folder, Settings("abx"), {})
    with pytest.raises(UsageError, match="rename it to letters"):
        ListeningTests([tmp_path / "a b"], tmp_path / "ratings.sqlite")
    with pytest.raises(UsageError, match="two tests are named x"):
        ListeningTests([tmp_path / "one" / "x", tmp_path / "two" / "x"], tmp_path / "store")
