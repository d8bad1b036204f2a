"""Ids of recordings, each of which names one recording of a data set."""

import hashlib
import re
from pathlib import PurePosixPath

from chirrup.data.item import legible

SUFFIX = re.compile(r"#(?=(\d{4,}|c\d+)$)")
"""The sign before the number of a segment or of a channel in the id of a row."""


def id_of(name: str) -> str:
    """Return a name as a relative path of printable characters, which all formats can hold.

    It does not end like the id of a segment or of a channel.
    """
    parts = (part for part in PurePosixPath(legible(name)).parts if part not in ("/", "..", "."))
    return SUFFIX.sub("_", "".join(sign if sign.isprintable() else "_" for sign in "/".join(parts)))


class DistinctIds:
    """Makes ids that differ from all earlier ones.

    They also differ if dots are replaced by ``_``, as in the keys of webdataset. The ids are kept
    as hashes of 8 bytes.

    Attributes:
        changed: number of ids that were changed.
    """

    def __init__(self) -> None:
        self.changed = 0
        self._seen: set[int] = set()
        self._last: dict[int, int] = {}

    def distinct(self, name: str) -> str:
        """Return an id, or ``ID~2``, ``ID~3``, ... if it is taken."""
        first = found = _hash(name)
        number, result = self._last.get(first, 1), name
        while found in self._seen:
            number += 1
            result = f"{name}~{number}"
            found = _hash(result)
        self._seen.add(found)
        if number > 1:
            self._last[first] = number
            self.changed += 1
        return result


def _hash(name: str) -> int:
    digest = hashlib.blake2b(name.replace(".", "_").encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
