"""What all processes of a test session share, made by one of them."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

T = TypeVar("T")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """What ``make`` returns for a folder, made by one process of pytest-xdist for all of them."""
    root = factory.getbasetemp()
    root = root.parent if root.name.startswith("popen-") else root
    with FileLock(root / f"{name}.lock"):
        done = root / f"{name}.pickle"
        if not done.exists():
            done.write_bytes(pickle.dumps(make(root / name)))
        return pickle.loads(done.read_bytes())
