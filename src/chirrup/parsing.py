"""Parsing of JSON, TOML and NumPy files that may come from anybody.

The parsers raise errors of many classes: RecursionError for deep nesting, MemoryError for large
shapes, errors of the tokenizer of Python for the header of an array, and errors of zlib and zipfile
for an archive.
"""

from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def parsing() -> Generator[None, None, None]:
    """Raise every fault of parsed bytes as ValueError. OSError is raised as it is."""
    try:
        yield
    except (OSError, ValueError):
        raise
    except Exception as error:  # its class depends on the content
        raise ValueError(f"{type(error).__name__}: {error}") from error
