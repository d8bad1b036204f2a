"""Folder of the sources of the page, HTML, CSS and JavaScript, which the report also uses."""

from pathlib import Path
from typing import Final

import chirrup
from chirrup.errors import FileError

_PACKAGE = Path(chirrup.__file__).parent
FOLDERS: Final = (_PACKAGE / "web", _PACKAGE.parents[1] / "web")
"""Folder of the sources in an installed package and in a checkout."""


def page_sources() -> Path:
    """Return the folder of the sources of the page.

    Raises:
        FileError: the folder is missing.
    """
    found = next((folder for folder in FOLDERS if (folder / "index.html").is_file()), None)
    if found is None:
        raise FileError(f"{FOLDERS[0]} is missing: install chirrup again")
    return found
