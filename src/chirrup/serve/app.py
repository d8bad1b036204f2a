"""The server of ``chirrup serve``: the files of the page, the relay, and ratings."""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from weakref import WeakSet

from chirrup.errors import FileError
from chirrup.evaluate.listening_tests.ratings import MOST_BYTES
from chirrup.live import rooms
from chirrup.live.rtp import MAX_DATAGRAM
from chirrup.serve import assets
from chirrup.serve.listening import ROUTE, ListeningTests
from chirrup.serve.relay import Person, RefusedError, Relay

try:
    from aiohttp import WSMsgType, web
except ModuleNotFoundError as error:
    raise FileError(
        "the server needs the package aiohttp: install it with pip install 'chirrup[web]'"
    ) from error

_logger = logging.getLogger("aiohttp")  # its messages have addresses of people and headers
_logger.propagate = False
_logger.addHandler(logging.NullHandler())

BUFFER_BYTES: Final = 2048
"""Size of the buffer of a WebSocket, beside `rooms.KERNEL_BYTES` of its socket."""
SHUTDOWN_S: Final = 2.0
"""Time in which a client may answer when its connection is closed."""


@dataclass(frozen=True)
class Server:
    """The handlers.

    Args:
        found: files of the page, as `assets.files` returns them.
        relay: the rooms.
        origins: pages of other hosts that may use the relay, such as ``https://example.org``.
        log: prints a line. No line has contents of datagrams or addresses of people.
        tests: the listening tests whose ratings are accepted.
    """

    found: Mapping[str, Path | bytes]
    relay: Relay
    origins: tuple[str, ...]
    log: Callable[[str], None]
    tests: ListeningTests | None = None

    def application(self) -> web.Application:
        app = web.Application(client_max_size=0)
        app[_SOCKETS] = WeakSet()
        app.on_shutdown.append(_close_all)
        app.router.add_get(f"/relay/{{room:{rooms.ROOM}}}", self.room)
        app.router.add_get("/{path:.*}", self.file)
        app.router.add_post(f"/{ROUTE}", self.rate)
        return app

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Answer with a file of the page."""
        path = request.match_info["path"] or "index.html"
        file = self.found.get(path)
        if file is None:
            raise web.HTTPNotFound
        headers = {**assets.HEADERS, "Content-Type": assets.media_type(path)}
        if isinstance(file, bytes):
            return web.Response(body=file, headers=headers)
        return web.FileResponse(file, headers=headers)

    async def rate(self, request: web.Request) -> web.Response:
        """Store the ratings of a listener."""
        if self.tests is None:
            raise web.HTTPNotFound
        origin = request.headers.get("Origin")
        if origin is not None and not self._allowed(origin, request.host):
            raise web.HTTPForbidden(text="these ratings are not for pages of other hosts\n")
        body = bytearray()
        async for part in request.content.iter_any():
            body += part
            if len(body) > MOST_BYTES:
                raise web.HTTPRequestEntityTooLarge(MOST_BYTES, len(body))
        try:
            await asyncio.to_thread(self.tests.accept, bytes(body))
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error
        except FileError as error:
            self.log(f"ratings are lost: {error}")
            raise web.HTTPInternalServerError(text="the ratings could not be stored\n") from error
        self.log("ratings: stored")
        return web.Response(status=204)

    async def room(self, request: web.Request) -> web.StreamResponse:
        """Forward the datagrams of one person until the connection ends."""
        name, origin = request.match_info["room"], request.headers.get("Origin")
        if origin is not None and not self._allowed(origin, request.host):
            self.log(
                f"room {name}: refused: the page of {origin!r:.100} is not of this server; if it "
                "may use the relay, give --origin"
            )
            raise web.HTTPForbidden(text="this relay is not for pages of other hosts\n")
        socket_ = web.WebSocketResponse(
            timeout=SHUTDOWN_S,
            heartbeat=rooms.HEARTBEAT_S,
            protocols=[rooms.PROTOCOL],
            compress=False,
            max_msg_size=MAX_DATAGRAM + 1,
            writer_limit=1,
        )
        await socket_.prepare(request)
        _limit_buffers(request.transport)
        request.app[_SOCKETS].add(socket_)
        ready = asyncio.Event()
        try:
            offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
            token = rooms.offered_token(map(str.strip, offered))
            person = self.relay.join(name, token, time.monotonic(), ready.set)
        except RefusedError as error:
            self.log(f"room {name}: refused: {error}")
            await socket_.close(code=error.code, message=str(error).encode())
            return socket_
        self.log(f"room {name}: joined, {self._people(name)}")
        writing = asyncio.create_task(_write(person, ready, socket_))
        reason = "the connection ended"
        try:
            await self._read(person, socket_)
        except RefusedError as error:
            reason = str(error)
            await socket_.close(code=error.code, message=reason.encode())
        finally:
            writing.cancel()
            self.relay.leave(person)
            self.log(
                f"room {name}: left after {time.monotonic() - person.since_s:.0f} s and "
                f"{person.datagrams} datagrams, {person.dropped} dropped on the way to it: "
                f"{reason}, {self._people(name)}"
            )
        return socket_

    async def _read(self, person: Person, socket_: web.WebSocketResponse) -> None:
        async for message in socket_:
            if message.type is WSMsgType.BINARY:
                self.relay.forward(person, message.data, time.monotonic())
            elif message.type is WSMsgType.TEXT:
                raise RefusedError(rooms.NOT_BINARY, "a message is text: send datagrams only")
            else:  # an error of the protocol, of which the peer has been informed
                return

    def _people(self, room: str) -> str:
        count = len(self.relay.rooms.get(room, ()))
        return f"{count} {'person' if count == 1 else 'people'} in it"

    def _allowed(self, origin: str, host: str) -> bool:
        """Return whether a browser's page may use the relay: of this server, or a named one."""
        try:
            own = urlsplit(origin).netloc.lower() == host.lower()
        except ValueError:
            own = False
        return own or origin in self.origins


_SOCKETS: Final = web.AppKey("sockets", WeakSet[web.WebSocketResponse])


def _limit_buffers(transport: asyncio.BaseTransport | None) -> None:
    """Let little wait in the buffers of a connection, so that a slow one drops old voice."""
    if isinstance(transport, asyncio.WriteTransport):
        transport.set_write_buffer_limits(BUFFER_BYTES)
        with suppress(OSError):
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, rooms.KERNEL_BYTES
            )


async def _write(person: Person, ready: asyncio.Event, socket_: web.WebSocketResponse) -> None:
    """Send what waits for a person."""
    with suppress(ConnectionError):  # the reader ends too
        while True:
            await ready.wait()
            ready.clear()
            while (message := person.take()) is not None:
                if isinstance(message, str):
                    await socket_.send_str(message)
                else:
                    await socket_.send_bytes(message)


async def _close_all(app: web.Application) -> None:
    reason = b"the relay has been ended"
    closing = [open_.close(code=rooms.GOING, message=reason) for open_ in app[_SOCKETS]]
    await asyncio.gather(*closing, return_exceptions=True)  # some connections may have broken


async def run(app: web.Application, host: str, port: int, started: Callable[[int], None]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        app: from `Server.application`.
        host: own address.
        port: port; 0 is a free one.
        started: called with the port when connections are accepted.

    Raises:
        FileError: the address cannot be used.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, RuntimeError):  # Windows, or not in the main thread
            loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise FileError(
                f"{host} port {port} cannot be used: {why}; choose another address or port"
            ) from error
        started(runner.addresses[0][1])
        await stop.wait()
    finally:
        await runner.cleanup()
