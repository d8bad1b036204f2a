"""The server of `chirrup page`: the files of the page, for browsers on this machine."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from chirrup.errors import FileError
from chirrup.serve import assets


class PageServer(ThreadingHTTPServer):
    """A server of files at ``http://localhost:PORT/``.

    Args:
        found: the files, as `assets.files` returns them.
        port: port of the address; 0 chooses a free one.

    Raises:
        FileError: the port cannot be used.
    """

    daemon_threads = True

    def __init__(self, found: Mapping[str, Path | bytes], port: int) -> None:
        self.found = found
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise FileError(f"port {port} cannot be used: {why}; give another one") from error

    @property
    def address(self) -> str:
        """Address of the page. Browsers allow a microphone on localhost without encryption."""
        return f"http://localhost:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send(with_content=True)

    def do_HEAD(self) -> None:
        self._send(with_content=False)

    def _send(self, with_content: bool) -> None:
        assert isinstance(self.server, PageServer)
        path = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
        file = self.server.found.get(path)
        if file is None:
            self.send_error(404)
            return
        data = assets.content(file)
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        unchanged = self.headers["If-None-Match"] == tag
        self.send_response(304 if unchanged else 200)
        for name, value in assets.HEADERS.items():
            self.send_header(name, value)
        self.send_header("ETag", tag)
        self.send_header("Content-Type", assets.media_type(path))
        self.send_header("Content-Length", "0" if unchanged else str(len(data)))
        self.end_headers()
        if with_content and not unchanged:
            with suppress(ConnectionError):  # the browser has left the page
                self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        pass
