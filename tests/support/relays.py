"""A relay in a thread, for tests of its clients."""

import asyncio
import threading
from collections.abc import Generator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chirrup.serve.app import Server, run
from chirrup.serve.relay import Limits, Relay


@dataclass
class Running:
    """A relay that runs.

    Attributes:
        port: its port at 127.0.0.1.
        relay: its rooms.
        log: its lines.
    """

    port: int
    relay: Relay
    log: list[str] = field(default_factory=list)

    def room(self, name: str) -> str:
        """Return the address of a room."""
        return f"ws://127.0.0.1:{self.port}/relay/{name}"


def handshake(headers: str = "") -> bytes:
    """Return a request to join the room ``lab``."""
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    return (
        "GET /relay/lab HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"{key}{headers}\r\n"
    ).encode()


@contextmanager
def running_relay(
    limits: Limits | None = None,
    *,
    port: int = 0,
    files: Mapping[str, Path | bytes] | None = None,
) -> Generator[Running, None, None]:
    """Run a relay, and the page if it has files, until the end of the context."""
    running = Running(port, Relay(limits or Limits()))
    server = Server(files or {}, running.relay, (), running.log.append)
    started: Future[int] = Future()
    loop = asyncio.new_event_loop()
    task = loop.create_task(run(server.application(), "127.0.0.1", port, started.set_result))

    def serve() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        except Exception as error:
            started.set_exception(error)
        finally:
            loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    running.port = started.result()
    try:
        yield running
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
