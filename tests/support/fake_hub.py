"""A local HTTP server that answers as the Hugging Face hub does when a repository is downloaded."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """A hub with repositories at one commit, which is the branch ``main`` and the tag ``v1``."""

    repositories: Mapping[str, Path]
    """Folders by ``owner/name``."""
    url: str = ""
    downloaded: list[str] = field(default_factory=list)
    """Paths of the downloaded files, such as ``owner/name/model.json``."""

    def environment(self, home: Path) -> dict[str, str]:
        """Return the variables that make huggingface_hub use this hub and a cache in ``home``."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return the status, the headers and the body for a path."""
        parts = path.strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        owner, name, kind, *rest = parts[2:] if is_api else parts
        folder = self.repositories.get(f"{owner}/{name}")
        if folder is None:
            return 401, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if rest[0] not in ("main", "v1", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        files = {x.relative_to(folder).as_posix(): x for x in folder.rglob("*") if x.is_file()}
        if is_api and kind == "revision":
            siblings = [{"rfilename": file} for file in files]
            about = {"id": f"{owner}/{name}", "sha": COMMIT, "siblings": siblings}
            return 200, {}, json.dumps(about).encode()
        if is_api and kind == "tree":
            tree = [
                {"type": "file", "path": file, "size": x.stat().st_size, "oid": oid(x)}
                for file, x in files.items()
            ]
            return 200, {}, json.dumps(tree).encode()
        file = "/".join(rest[1:])
        if file not in files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{oid(files[file])}"'}
        return 200, headers, files[file].read_bytes()


def oid(path: Path) -> str:
    """Return the id of a file's content in git."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def running_hub(repositories: Mapping[str, Path]) -> Iterator[FakeHub]:
    """Run a hub on a free port of this machine."""
    hub = FakeHub(repositories)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            status, headers, body = hub.answer(path)
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)
                if "/resolve/" in path:
                    repository, _, file = path.strip("/").partition("/resolve/")
                    hub.downloaded.append(f"{repository}/{file.partition('/')[2]}")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
