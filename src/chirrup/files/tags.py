"""Tags of audio files, which a ``.chirrup`` file stores as metadata with the same names."""

import struct
from collections.abc import Iterable, Mapping
from typing import BinaryIO

import soundfile

from chirrup.bitstream import MAX_METADATA

TAGS = (
    *("title", "artist", "album", "date", "comment"),
    *("genre", "tracknumber", "copyright", "license"),
)
"""The tags that soundfile reads and writes, except the name of a program."""
_ROOMY = {"FLAC", "OGG", "MP3"}
_MOST_BYTES = 2000
"""Most bytes of tags in other formats. With more, libsndfile reads no tags from a WAV header, and
cannot read an AIFF file."""
_INFO = {
    b"INAM": "title",
    b"IART": "artist",
    b"IPRD": "album",
    b"ICRD": "date",
    b"ICMT": "comment",
    b"IGNR": "genre",
    b"ITRK": "tracknumber",
    b"ICOP": "copyright",
}


def read_tags(file: soundfile.SoundFile) -> dict[str, str]:
    """Return the tags of an open file."""
    return _kept((name, getattr(file, name)) for name in TAGS)


def info_tags(content: bytes) -> dict[str, str]:
    """Return the tags in the content of a chunk ``LIST`` of a WAV file."""
    found, place = [], 4
    while content.startswith(b"INFO") and place + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, place)
        text = content[place + 8 : place + 8 + size].partition(b"\0")[0]
        if name in _INFO:
            found.append((_INFO[name], text.decode("utf-8", "replace")))
        place += 8 + size + size % 2
    return _kept(found)


def after_id3(content: BinaryIO) -> int:
    """Return the offset after the ID3v2 tags at the beginning of a file."""
    place = 0
    while content.seek(place) == place and (head := content.read(10))[:3] == b"ID3":
        # the size of a tag without its head and foot, in four 7-bit bytes
        size = sum((byte & 0x7F) << 7 * (3 - index) for index, byte in enumerate(head[6:]))
        place += 10 + size + 10 * (len(head) > 5 and head[5] >> 4 & 1)
    return place


def _kept(tags: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: text.strip() for name, text in tags if text.strip()}


def with_tags(
    metadata: Mapping[str, str], tags: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Add the tags that metadata does not replace.

    Returns:
        The metadata, and a note if some tags do not fit in a ``.chirrup`` file.
    """
    result, left_out = dict(metadata), []
    room = MAX_METADATA - sum(_size(*pair) for pair in metadata.items())
    for name, text in tags.items():
        if name not in metadata and _size(name, text) <= room:
            result[name] = text
            room -= _size(name, text)
        elif name not in metadata:
            left_out.append(name)
    return result, _note(left_out, "are too long for a .chirrup file")


def _size(name: str, text: str) -> int:
    return 4 + len(name.encode(errors="replace")) + len(text.encode(errors="replace"))


def write_tags(file: soundfile.SoundFile, metadata: Mapping[str, str]) -> list[str]:
    """Write the tags among metadata. Must be called before the first sample is written.

    Returns:
        A note if the format cannot hold some of them.
    """
    left_out, room = [], MAX_METADATA if file.format in _ROOMY else _MOST_BYTES
    for name in TAGS:
        text = metadata.get(name, "")
        size = len(text.encode())
        # In MP3, libsndfile declares the bytes of UTF-8 as Latin-1.
        fits = size <= room and "\0" not in text and (text.isascii() or file.format != "MP3")
        try:
            if text and fits:
                setattr(file, name, text)
                room -= size
        except soundfile.LibsndfileError:
            fits = False
        if not fits:
            left_out.append(name)
    return _note(left_out, f"do not fit into {file.format}")


def _note(names: list[str], reason: str) -> list[str]:
    return [f"left out tags that {reason}: {', '.join(names)}"] if names else []
