"""Detection of a second audio file in a file whose format has no total size in its header.

libsndfile reads the first audio file and ignores the rest.
"""

from pathlib import Path
from typing import BinaryIO

_PIECE, _LONGEST = 1 << 20, 16
_OGG_BEGINS = b"OggS\x00\x02"


def second_file(path: Path) -> str | None:
    """Return a note if another file of the same format begins within a FLAC, Ogg or MP3 file."""
    with path.open("rb") as file:
        first = file.read(_PIECE)
        if first.startswith(b"fLaC"):
            name, starts, begin = "FLAC", (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22"), 4
        elif first.startswith(b"OggS"):
            name, starts, begin = "Ogg", (_OGG_BEGINS,), _end_of_beginnings(first)
        elif first.startswith(b"ID3") or first[:1] == b"\xff":
            tags = (b"ID3\x03\x00", b"ID3\x04\x00", b"Xing\x00\x00\x00", b"Info\x00\x00\x00")
            name, starts, begin = "MP3", tags, _after_first_tag(first)
        else:
            return None
        found = _find(file, starts, begin)
    if found is None:
        return None
    return f"another {name} file begins at byte {found}: only the first one is read"


def _find(file: BinaryIO, starts: tuple[bytes, ...], begin: int) -> int | None:
    """Return the offset of the first of several byte strings, at or after ``begin``."""
    file.seek(begin)
    kept = b""
    while data := file.read(_PIECE):
        data = kept + data
        places = [place for start in starts if (place := data.find(start)) >= 0]
        if places:
            return begin + min(places)
        kept = data[-_LONGEST:]
        begin += len(data) - len(kept)
    return None


def _end_of_beginnings(first: bytes) -> int:
    """Return the offset of the first page of an Ogg file that does not begin a stream."""
    place = 0
    while first.startswith(_OGG_BEGINS, place):
        place = max(first.find(b"OggS", place + 4), place + 4)
    return place


def _after_first_tag(first: bytes) -> int:
    """Return an offset after the ID3 tag and the Xing tag of an MP3 file."""
    size = 0
    if first.startswith(b"ID3"):
        size = 10 + sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(first[6:10]))
    return size + (1 << 11)
