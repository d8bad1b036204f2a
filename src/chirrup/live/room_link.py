"""A link to a room of a relay, over a WebSocket, which is opened again if it breaks."""

import asyncio
import os
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from chirrup.errors import FileError
from chirrup.live import rooms
from chirrup.live.link import IP_BYTES, Address, Link
from chirrup.live.network import Network
from chirrup.live.rtp import MAX_DATAGRAM

try:
    import aiohttp
except ModuleNotFoundError as error:
    raise FileError(
        "rooms need the package aiohttp: install it with pip install 'chirrup[web]'"
    ) from error

TCP_BYTES: Final = 32
"""Header of TCP with timestamps."""
FRAME_BYTES: Final = 6
"""Header of a short message from a client."""
CONNECT_S: Final = 10.0
CLOSE_S: Final = 2.0
AGAIN_S: Final = (0.5, 8.0)
"""Shortest and longest time until the connection is tried again; it doubles each time."""
MAX_ARRIVED: Final = 1024
"""Datagrams that wait to be read. The oldest are dropped."""


class RoomLink(Link):
    """A link to all other people in a room of a relay.

    The WebSocket belongs to another thread, because the link is used without asyncio.

    Args:
        address: ``ws://HOST:PORT/relay/ROOM``, as `rooms.check_room` accepts it.
        token: token of the relay.
        network: a simulated network.
        incoming: the network is for received datagrams instead of sent ones.

    Raises:
        FileError: the relay cannot be reached, or refuses the connection.
    """

    shared = True

    def __init__(
        self,
        address: str,
        token: str | None = None,
        *,
        network: Network | None = None,
        incoming: bool = False,
    ) -> None:
        header_bytes = IP_BYTES[socket.AF_INET] + TCP_BYTES + FRAME_BYTES
        super().__init__(address, True, header_bytes, network, incoming)
        self._offered = rooms.offered_protocols(token)
        self._outgoing: deque[bytes] = deque(maxlen=rooms.MAX_WAITING)
        self._arrived: deque[bytes] = deque(maxlen=MAX_ARRIVED)
        self._something, self._opened = threading.Event(), Future[None]()
        self._people, self._joins, self._closing = 1, 0, False
        self._loop, self._ready = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        try:
            self._opened.result()
        except BaseException:
            self._in_loop(self._end)
            raise

    def close(self) -> None:
        """Send what waits, and close the WebSocket."""
        self._in_loop(self._end)
        self._thread.join(CLOSE_S)

    def _end(self) -> None:
        self._closing = True
        self._ready.set()

    def wake(self) -> None:
        self._something.set()

    def _in_loop(self, call: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(call, *arguments)

    def _send(self, datagram: bytes, address: Address | None) -> None:
        if self.others is None:
            self.refused += 1
        else:
            self._in_loop(self._offer, datagram)

    def _wait(self, timeout_s: float) -> list[tuple[bytes, Address]]:
        self._something.wait(timeout_s)
        self._something.clear()
        received: list[tuple[bytes, Address]] = []
        while self._arrived:
            received.append((self._arrived.popleft(), (self.name, 0)))
        return received

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._stay())
        except BaseException as error:  # otherwise the constructor would wait for ever
            if not self._opened.done():
                self._opened.set_exception(error)
            raise
        finally:
            self._loop.close()

    async def _stay(self) -> None:
        """Join the room, and join it again when the connection breaks."""
        pause_s, longest_s = AGAIN_S
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            while True:
                joins = self._joins
                trouble = await self._join(session)
                self._note_people(1)
                if self._closing:
                    return
                if not self._opened.done():
                    self._opened.set_exception(FileError(trouble))
                    return
                pause_s = AGAIN_S[0] if self._joins > joins else min(2 * pause_s, longest_s)
                self.trouble = f"{trouble}; the connection is tried again"
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ready.wait(), pause_s)
                self._ready.clear()
                if self._closing:
                    return

    async def _join(self, session: aiohttp.ClientSession) -> str:
        """Join the room until the connection ends, and return why."""
        try:
            async with asyncio.timeout(CONNECT_S):
                opened = await session.ws_connect(
                    self.name,
                    protocols=self._offered,
                    heartbeat=rooms.HEARTBEAT_S,
                    max_msg_size=MAX_DATAGRAM + 1,
                    timeout=aiohttp.ClientWSTimeout(None, CLOSE_S / 2),  # pyright: ignore
                )
        except aiohttp.WSServerHandshakeError as error:
            return f"{self.name} answers with status {error.status}: check the address"
        except TimeoutError:
            return f"{self.name} does not answer: check the address, and whether the relay runs"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return (
                f"{self.name} cannot be reached: {_why(error)}: check the address, and whether the "
                "relay runs"
            )
        if (socket_ := opened.get_extra_info("socket")) is not None:
            socket_.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, rooms.KERNEL_BYTES)
        writing = asyncio.create_task(self._write(opened))
        try:
            return await self._read(opened)
        finally:
            writing.cancel()
            await opened.close()

    async def _read(self, opened: aiohttp.ClientWebSocketResponse) -> str:
        """Read messages until the connection ends, and return why."""
        if opened.protocol != rooms.PROTOCOL:
            return f"{self.name} is not a relay of chirrup: check the address"
        while True:
            message = await opened.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                self._arrived.append(message.data)
                self._something.set()
            elif message.type is aiohttp.WSMsgType.TEXT:
                self._note_people(rooms.parse_news(message.data))
                self.trouble = None
                if not self._opened.done():
                    self._opened.set_result(None)
            elif message.type is aiohttp.WSMsgType.CLOSE and message.extra:
                return f"{self.name}: {message.extra}"
            else:
                return f"{self.name}: the connection broke: check the network"

    def _note_people(self, people: int) -> None:
        """Note how many people are in the room, and whether somebody has joined."""
        self._joins += people > self._people
        self._people = people
        self.others = (self.name, self._joins) if people > 1 else None
        self._something.set()

    def _offer(self, datagram: bytes) -> None:
        self._outgoing.append(datagram)
        self._ready.set()

    async def _write(self, opened: aiohttp.ClientWebSocketResponse) -> None:
        """Send what waits, until the link is closed."""
        with suppress(ConnectionError):  # the reader ends too
            while self._outgoing or not self._closing:
                await self._ready.wait()
                self._ready.clear()
                while self._outgoing:
                    await opened.send_bytes(self._outgoing.popleft())
            await opened.close()


def _why(error: Exception) -> str:
    """Return the cause of an error in a few words."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not valid: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause, number = error.os_error, error.os_error.errno or 0
        if number > 0 and not isinstance(cause, ssl.SSLError):  # else the text is a better one
            return os.strerror(number)
        return cause.strerror or str(cause)
    return str(error)
