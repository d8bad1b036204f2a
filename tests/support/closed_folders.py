"""Folders that cannot be read, also as root."""

import os
from collections.abc import Callable
from typing import Any

import pytest


def close_folders(monkeypatch: pytest.MonkeyPatch, name: str = "closed") -> None:
    """Refuse to list all folders with a name."""

    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def listed(path: Any = ".") -> Any:
            if os.path.basename(os.path.normpath(path)) == name:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        return listed

    monkeypatch.setattr(os, "scandir", refusing(os.scandir))
    monkeypatch.setattr(os, "listdir", refusing(os.listdir))
