"""The files of the page, and the headers that a server sends with them.

At run time all of them lie in one folder: the contents of ``web/``, the engine in WebAssembly, a
list of the models, the program of each model, and the bundled clip.
"""

import hashlib
import json
import mimetypes
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import chirrup
from chirrup.errors import FileError
from chirrup.files.drafts import cannot_write, exists, open_scratch
from chirrup.files.page_sources import page_sources
from chirrup.model_json import read_spec
from chirrup.runtime.native import PROGRAM
from chirrup.zoo import FOLDER, models

_PACKAGE = Path(chirrup.__file__).parent
ENGINE: Final = _PACKAGE / "runtime" / "library" / "chirrup.wasm"
SERVICE_WORKER: Final = "service-worker.js"
POLICY: Final = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ws: wss:; "
    "img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy: no inline scripts or styles, and no other host except for calls."""
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self)",
    "Cache-Control": "no-cache",
}
"""Headers of every file. A browser asks whether a cached file has changed."""
TYPES: Final = {
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".chirp": "application/octet-stream",
}


LISTENING: Final = (
    *("listen.html", "style.css", "icon.svg", "pages/listen.js", "pages/listen-trials.js"),
    *("pages/listen.css", "modules/dom.js", "modules/fetched.js", "modules/listening-test.js"),
    "modules/player.js",
)
"""Files of a blind listening test. The other files import nothing else."""


def files() -> dict[str, Path | bytes]:
    """Return all files of the page, by their path relative to it, such as ``modules/coder.js``.

    Raises:
        FileError: the engine in WebAssembly or the sources of the page are not there.
    """
    sources = page_sources()
    if not ENGINE.is_file():
        raise FileError(
            "the page needs the engine in WebAssembly, which this installation lacks: install a "
            "released wheel, or run in a checkout: pip install ziglang && "
            "python native/build.py --target wasm32-freestanding"
        )
    found: dict[str, Path | bytes] = {
        path.relative_to(sources).as_posix(): path
        for path in sorted(sources.rglob("*"))
        if path.is_file()
    }
    script = sources / "chirrup.js"  # in a wheel; a checkout has it with the engine's sources
    found["chirrup.js"] = script if script.is_file() else sources.parent / "native/wasm/chirrup.js"
    found["chirrup.wasm"] = ENGINE
    found["clip.flac"] = _PACKAGE / "clips/joe.flac"
    named = [name for name in models(earlier=True) if (FOLDER / name / PROGRAM).is_file()]
    for name in named:
        found[f"models/{name}/{PROGRAM}"] = FOLDER / name / PROGRAM
    described = [describe(FOLDER / name) for name in named]
    found["models.json"] = json.dumps(described, indent=1).encode()
    found[SERVICE_WORKER] = service_worker(found)
    return found


def service_worker(found: Mapping[str, Path | bytes]) -> bytes:
    """Return the service worker with the list of the files that it keeps, and their version."""
    kept = [path for path in found if path != SERVICE_WORKER and not path.endswith(PROGRAM)]
    version = hashlib.sha256()
    for path in kept:
        version.update(path.encode() + b"\0" + hashlib.sha256(content(found[path])).digest())
    script = content(found[SERVICE_WORKER]).decode()
    for empty, value in (('VERSION = ""', version.hexdigest()), ("FILES = []", kept)):
        filled = f"{empty.partition(' ')[0]} = {json.dumps(value)}"
        assert empty in script
        script = script.replace(empty, filled)
    return script.encode()


def listening_page() -> dict[str, bytes]:
    """Return the files of the page beside a blind listening test, by path.

    The page has no links to other pages, and its test lies in its own folder.

    Raises:
        FileError: the sources of the page are not there.
    """
    sources = page_sources()
    found = {path: (sources / path).read_bytes() for path in LISTENING}
    text = found.pop("listen.html").decode()
    text = re.sub(r"<header.*</header>\n", "", text, flags=re.DOTALL)
    text = re.sub(r"<script .*offline\.js.*\n", "", text)
    text = text.replace('name="listening-test" content=""', 'name="listening-test" content="."')
    return {"index.html": text.encode(), **found}


def describe(folder: Path) -> dict[str, Any]:
    """Return the values of a model that the page uses.

    ``earlier`` states whether it has earlier weights, which the page uses only to decode.
    """
    spec, _ = read_spec(folder)
    same = (
        *("name", "sample_rate_hz", "input_rate_hz", "channels", "frame_samples", "delay_samples"),
        *("latency_samples", "preroll_frames", "codebooks", "codebook_size", "bits_per_code"),
        *("bitrates_bps", "default_bitrate_bps", "lowest_bitrate_bps", "lost_frames"),
        *("codes_sha256", "program_sha256"),
    )
    size = (folder / PROGRAM).stat().st_size
    program = {"program": f"models/{folder.name}/{PROGRAM}", "program_bytes": size}
    about = {name: getattr(spec, name) for name in same} | program
    return about | {"earlier": "@" in folder.name}


def content(file: Path | bytes) -> bytes:
    return file if isinstance(file, bytes) else file.read_bytes()


def media_type(path: str) -> str:
    """Return the value of the header ``Content-Type`` of a path."""
    kind = TYPES.get(Path(path).suffix) or mimetypes.guess_type(path)[0]
    kind = kind or "application/octet-stream"
    text = kind.startswith("text/") or kind in {"application/json", "image/svg+xml"}
    return f"{kind}; charset=utf-8" if text else kind


def write(folder: Path, found: Mapping[str, Path | bytes], force: bool = False) -> None:
    """Write the files of the page into a folder, which any static host can serve.

    The policy is in each HTML file, because many hosts send no headers of one's own. After an error
    the folder has the files that it had before.

    Raises:
        FileError: the folder exists and has files, and ``force`` is not set; or it cannot be
            written.
    """
    if not force and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise exists(folder)
    for path in found:
        if (folder / path).is_dir():
            raise FileError(f"{folder / path} is a folder: give another output")
    new = not folder.exists()
    try:
        with open_scratch(folder if new else folder / "page") as scratch:
            whole = scratch / "page"
            for path, file in found.items():
                draft = whole / path
                draft.parent.mkdir(parents=True, exist_ok=True)
                data = content(file)
                draft.write_bytes(with_policy(data) if draft.suffix == ".html" else data)
            if new:
                whole.replace(folder.resolve())  # a link may name a folder that does not exist
                return
            for path in found:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (whole / path).replace(folder / path)
    except OSError as error:
        raise cannot_write(folder, error) from error


def with_policy(page: bytes) -> bytes:
    """Return an HTML file with the policy, without the part that holds only in a header."""
    policy = POLICY.partition("; frame-ancestors")[0]
    tag = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    return page.replace(b"<head>\n", b"<head>\n" + tag.encode(), 1)
