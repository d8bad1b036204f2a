"""Results that all processes of a test session share.

Modules that need the same slow result are a group in ``tests/conftest.py``. One process runs their
tests, and the others do not wait for the result.
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

T = TypeVar("T")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """Return the result of ``make`` for a folder; one process of pytest-xdist runs it for all."""
    root = factory.getbasetemp()
    root = root.parent if root.name.startswith("popen-") else root
    with FileLock(root / f"{name}.lock"):
        done = root / f"{name}.pickle"
        if not done.exists():
            done.write_bytes(pickle.dumps(make(root / name)))
        return pickle.loads(done.read_bytes())
