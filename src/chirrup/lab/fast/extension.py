"""The C++ extension, compiled for the current processor at its first use and cached."""

import hashlib
import importlib.util
import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from chirrup.files.drafts import open_scratch

NAME = "chirrup_fast"
FLAGS = "-O3 -march=native -mprefer-vector-width=512 -fno-math-errno -fno-trapping-math -fopenmp"


@cache
def extension() -> Any:
    """Return the compiled functions, or None if they cannot be compiled."""
    folder = Path(__file__).parent
    try:
        return load(sorted(folder.glob("*.cpp")), sorted(folder.glob("*.h")), cache_folder())
    except Exception as error:  # no compiler, no ninja, no writable cache, ...
        reason = str(error).partition("\n")[0]
        logging.getLogger(__name__).warning("training is slower without C++: %s", reason)
        return None


def available() -> bool:
    """Return whether the extension can be used. The first call compiles it, for some minutes."""
    return extension() is not None


def cache_folder() -> Path:
    """Return the folder of compiled extensions."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chirrup"


def load(sources: list[Path], headers: list[Path], kept: Path) -> Any:
    """Load the library of ``sources`` from the folder ``kept``, or compile it into that folder.

    One process compiles, and others that need the library wait for it. A killed process unlocks.
    `cpp_extension.load` in a shared folder would wait forever for the lock of a killed process, so
    each compiles in a separate folder and moves the finished library atomically.
    """
    about = b"".join(path.read_bytes() for path in [*sources, *headers])
    about += f"{FLAGS} {torch.__version__} {processor_flags()}".encode()
    library = kept / hashlib.sha256(about).hexdigest()[:16] / f"{NAME}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept / f"{NAME}.lock"):
            if not library.exists():
                compile_library(sources, library, kept)
    spec = importlib.util.spec_from_file_location(NAME, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compile_library(sources: list[Path], library: Path, kept: Path) -> None:
    """Compile ``sources`` in a folder within ``kept``, and move the result to ``library``."""
    from torch.utils.cpp_extension import load

    logging.getLogger(__name__).info(
        "compiling fast layers for this processor into %s: some minutes, once", kept
    )
    with open_scratch(kept / NAME) as folder:
        load(
            NAME,
            [str(source) for source in sources],
            extra_cflags=FLAGS.split(),
            build_directory=str(folder),
            is_python_module=False,
        )
        os.replace(folder / library.name, library)


def processor_flags() -> str:
    """Return the flags that `-march=native` depends on: different machines may share a cache."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
