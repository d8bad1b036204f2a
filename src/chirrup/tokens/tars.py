"""Reading of tar files of webdataset: consecutive members with one key are a sample.

The key of a name ends at its first dot. In a tar file of a folder, names that contain dots may have
one key, so each audio file of a sample is a recording.
"""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from chirrup.files.naming import AUDIO_ENDINGS
from chirrup.parsing import parsing

MOST_TEXT_BYTES = 1 << 20
"""Largest size of a member with facts; larger ones are left out."""
FAULTS = (tarfile.TarError, OSError, EOFError, ValueError, IndexError, OverflowError, MemoryError)
"""Errors of tarfile for damaged files."""


@dataclass(frozen=True)
class Sample:
    """The audio of a sample.

    Attributes:
        name: name of the member with the audio.
        offset: its position in the tar file, in bytes.
        size: its size in bytes.
        facts: content of the member ``.json``, and of ``.txt`` as ``txt``. If the sample has other
            audio too, only members with the name of this audio or with the key count.
    """

    name: str
    offset: int
    size: int
    facts: dict[str, Any] = field(default_factory=dict)


def samples(path: Path) -> Iterator[Sample | str]:
    """Yield the samples of a tar file that have audio, or the reason why the rest is unreadable."""
    try:
        with tarfile.open(path, "r:") as tar:
            for _, members in groupby(_files(tar), lambda member: _key(member.name)):
                yield from _samples(tar, list(members))
                cast(Any, tar).members = []  # otherwise they grow with the file
    except FAULTS as error:
        yield f"it cannot be read as a tar file without compression: {str(error)[:200]}"


def _files(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members that are files, or links to files.

    Raises:
        tarfile.ReadError: a header is damaged, which tarfile takes for the end of the file.
    """
    for member in tar:
        if member.size < 0:  # tarfile would go back and read the same members again
            raise tarfile.ReadError(f"{member.name} has a size of {member.size} bytes")
        if member.isfile() or member.issym() or member.islnk():
            yield member
    file = cast(Any, tar.fileobj)
    file.seek(tar.offset)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError(f"the header at byte {tar.offset} is damaged")


def _key(name: str) -> str:
    """Return a name up to the first dot after the last slash."""
    folder, slash, own = name.rpartition("/")
    return folder + slash + own.partition(".")[0]


def _samples(tar: tarfile.TarFile, members: list[tarfile.TarInfo]) -> Iterator[Sample | str]:
    """Yield the audio of a sample, which is several recordings if their names have dots."""
    facts: dict[str, dict[str, Any]] = {}
    audio: list[tarfile.TarInfo] = []
    for member in members:
        stem, _, ending = member.name.rpartition(".")
        ending = "." + ending.lower()
        if ending in AUDIO_ENDINGS:
            audio.append(member)
        elif ending in (".json", ".txt") and member.isfile() and member.size <= MOST_TEXT_BYTES:
            content = tar.extractfile(member)
            facts[stem] = facts.get(stem, {}) | _facts(ending, content.read() if content else b"")
    for one in audio:
        if not one.isfile():
            way = "--dereference --hard-dereference"
            yield f"{one.name} is a link to {one.linkname}: pack the tar file with {way}"
            continue
        if one.issparse():
            yield f"{one.name} is stored as a sparse file: pack the tar file without --sparse"
            continue
        stems = facts if len(audio) == 1 else (_key(one.name), one.name.rpartition(".")[0])
        own = {name: fact for stem in stems for name, fact in facts.get(stem, {}).items()}
        yield Sample(one.name, one.offset_data, one.size, own)


def _facts(ending: str, content: bytes) -> dict[str, Any]:
    if ending == ".txt":
        return {"txt": content.decode(errors="replace").strip()}
    try:
        with parsing():
            found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
