"""Sources of recordings: files, folders, patterns, manifests, webdataset tars and Parquet tables.

`scan` yields the recordings of all sources in a fixed order, without decoding them. What cannot be
read is a recording with a fault, so that it is reported with the others.
"""

import errno
import glob
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from chirrup.data import parquet
from chirrup.data.item import legible
from chirrup.data.manifest import BadRow, Entry, find_manifest, read_rows
from chirrup.errors import FileError
from chirrup.files.naming import AUDIO_ENDINGS
from chirrup.tokens.ids import id_of
from chirrup.tokens.tars import Sample, samples

TAR, TABLE = ".tar", ".parquet"
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
"""Endings of compressed tar files, from which a recording cannot be read without all before it."""
SPEAKERS = ("speaker", "speaker_id", "spk_id", "client_id", "reader_id", "group")
"""Columns and keys with the speaker, the first that is there."""
TEXTS = ("text", "sentence", "transcription", "transcript", "normalized_text", "txt")
"""Columns and keys with the text."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording to tokenise.

    Attributes:
        id: name in the data set.
        file: file with the audio, or that contains it.
        path: name for the column ``path``.
        offset: position of the audio in the file, in bytes.
        size: size of the audio in bytes, in a table about that; -1 for the whole file.
        row: row in a Parquet table; -1 if it is not in one.
        stamp: size and time of the file, which change if the file changes.
        speaker: speaker, if it is known.
        text: text, if it is known.
        fault: reason why it cannot be read, if it is already known.
    """

    id: str
    file: str
    path: str
    offset: int = 0
    size: int = -1
    row: int = -1
    stamp: str = ""
    speaker: str = ""
    text: str = ""
    fault: str = ""

    @property
    def bytes(self) -> int:
        """Size of the audio in its file; 0 if it is not known."""
        return int(self.stamp.partition(" ")[0] or 0) if self.size < 0 else self.size

    def source(self) -> str | BinaryIO:
        """Return the path of the audio, or its content if it is a part of a file.

        Raises:
            OSError: the file cannot be read.
            FileError: the file has changed.
        """
        if self.row >= 0:
            return parquet.audio_of_row(Path(self.file), self.row)
        if self.size < 0:
            return self.file
        with open(self.file, "rb") as file:
            if file.seek(0, os.SEEK_END) < self.offset + self.size:
                raise FileError(f"{self.file} ends before {self.path}")
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size))


def scan(sources: Sequence[str]) -> Iterator[Recording]:
    """Yield the recordings of all sources.

    Recordings are named by their paths below the folder, or below the folder of all files that are
    given. If there are several sources, the name of the folder comes first.

    Args:
        sources: audio files, folders, patterns such as ``corpus/**/*.flac``, manifests (CSV or
            Parquet with a column ``path``), tar files of webdataset, and Parquet tables with a
            column ``audio``. A folder with a manifest stands for the manifest.

    Raises:
        FileError: a source does not exist, a pattern finds nothing, or a table cannot be read.
    """
    places = [place for source in sources for place in _places(source)]
    folders = [place for place in places if os.path.isdir(place)]
    files = [os.path.abspath(place) for place in places if not os.path.isdir(place)]
    base = os.path.commonpath([os.path.dirname(file) for file in files]) if files else ""
    for place in places:
        if os.path.isdir(place):
            alone = len(folders) == 1 and not files
            yield from _of_folder(place, PurePath() if alone else PurePath(place.resolve().name))
        else:
            name = PurePath(os.path.relpath(os.path.abspath(place), base))
            yield from _of_file(place, name)


def _places(source: str) -> list[Path]:
    """Return the file or folder of a source, or what `_matches` returns for a pattern."""
    place = Path(source).expanduser()
    if place.exists():
        return [place]
    if not glob.has_magic(source):
        raise FileError(f"{source} does not exist: give an audio file, a folder or a pattern")
    if not (found := _matches(os.path.expanduser(source))):
        raise FileError(f"no file matches {source}: check the pattern")
    return found


def _matches(pattern: str) -> list[Path]:
    """Return the files that match a pattern, and the folders that it cannot look into."""
    found = [path for path in sorted(glob.glob(pattern, recursive=True)) if not os.path.isdir(path)]
    parts = PurePath(pattern).parts
    folders: set[str] = set()
    for index, part in enumerate(parts):
        if glob.has_magic(part):
            folders.update(glob.glob(os.path.join(*parts[:index], "") or ".", recursive=True))
        if part == "**":
            folders.update(glob.glob(os.path.join(*parts[: index + 1], ""), recursive=True))
    for folder in sorted(folders):
        try:
            os.scandir(folder).close()
        except OSError:
            found.append(folder)
    return [Path(path) for path in found]


def _of_folder(place: Path, name: PurePath) -> Iterator[Recording]:
    manifest = None
    with suppress(FileError, OSError):
        manifest = find_manifest(place)
    if manifest:
        yield from _listed(manifest, name)
        return
    unreadable: list[OSError] = []
    for folder, folders, names in os.walk(place, onerror=unreadable.append):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        for path in (Path(folder, own) for own in folders):
            if path.is_symlink():
                fault = "it is a link to a folder, which is not followed: give it as another source"
                yield _recording(path, (name / path.relative_to(place)).as_posix(), ("", fault))
        for file in sorted(names):
            path = Path(folder, file)
            known = path.suffix.lower() in {*AUDIO_ENDINGS, TAR, TABLE} or _is_packed(path)
            if known and not file.startswith("."):
                yield from _in_folder(path, name / path.relative_to(place))
    for error in unreadable:
        path = Path(error.filename)
        fault = f"the folder {path} cannot be read: {error.strerror}"
        yield _recording(path, (name / path.relative_to(place)).as_posix(), ("", fault))


def _in_folder(path: Path, name: PurePath) -> Iterator[Recording]:
    """Yield the recordings of a file in a folder, where a damaged table is a fault.

    A table without audio is left out.
    """
    try:
        if path.suffix.lower() != TABLE or parquet.has_audio(path):
            yield from _of_file(path, name)
    except FileError as error:
        yield _recording(path, name.as_posix(), ("", str(error)))


def _of_file(path: Path, name: PurePath) -> Iterator[Recording]:
    kind = path.suffix.lower()
    if _is_packed(path):
        fault = "it is a compressed tar file: decompress it, for example with gunzip"
        yield _recording(path, name.as_posix(), ("", fault))
    elif kind == TAR:
        yield from _of_tar(path, name)
    elif kind == TABLE and parquet.has_audio(path):
        yield from _of_table(path, name)
    elif kind in (TABLE, ".csv"):
        yield from _listed(path, name.parent)
    else:
        yield _recording(path, name.as_posix(), _stamp(path))


def _is_packed(path: Path) -> bool:
    return path.name.lower().endswith(PACKED)


def _recording(file: Path, name: str, about: tuple[str, str], **facts: Any) -> Recording:
    """Return a recording, with the result of `_stamp` for its file."""
    name, (stamp, fault) = legible(name), about
    own = {
        "id": id_of(name),
        "file": str(file.absolute()),
        "path": name,
        "stamp": stamp,
        "fault": fault,
    }
    return Recording(**{**own, **facts})


def _stamp(file: Path) -> tuple[str, str]:
    """Return size and time of a file, and the reason if it cannot be read.

    A change of permissions does not change the time, so they are checked here.
    """
    try:
        about = file.stat()
    except OSError as error:
        return "", error.strerror or str(error)
    fault = "" if os.access(file, os.R_OK) else os.strerror(errno.EACCES)
    return f"{about.st_size} {about.st_mtime_ns}", fault


def _first(facts: Mapping[str, Any], names: Sequence[str]) -> str:
    values = (facts.get(name) for name in names)
    found = next((x for x in values if x not in (None, "") and x == x), "")  # NaN is no value
    return legible(str(found))


def _of_tar(path: Path, name: PurePath) -> Iterator[Recording]:
    """Yield the samples of a tar file of webdataset, with the facts of ``.json`` and ``.txt``."""
    place, about = name.with_suffix("").as_posix(), _stamp(path)
    for sample in samples(path):
        if isinstance(sample, Sample):
            yield _recording(
                path,
                f"{place}/{sample.name}",
                about,
                offset=sample.offset,
                size=sample.size,
                speaker=_first(sample.facts, SPEAKERS),
                text=_first(sample.facts, TEXTS),
            )
        else:
            yield _recording(path, name.as_posix(), about, fault=sample)


def _of_table(path: Path, name: PurePath) -> Iterator[Recording]:
    """Yield the rows of a Parquet table of audio, as on the Hugging Face hub.

    The id of a recording is the number of its row, because names in a table may repeat.
    """
    about, size = _stamp(path), path.stat().st_size // max(1, parquet.row_count(path))
    rows = parquet.columns_without_audio(path, ("id", *SPEAKERS, *TEXTS))
    place = name.with_suffix("").as_posix()
    for number, row in enumerate(rows):
        own = str(row.get("id") or "") or PurePath(row["audio.path"]).name or f"{number:06d}"
        yield _recording(
            path,
            f"{place}/{own}",
            about,
            id=id_of(f"{place}/{number:06d}"),
            size=size,
            row=number,
            speaker=_first(row, SPEAKERS),
            text=_first(row, TEXTS),
        )


def _listed(manifest: Path, name: PurePath) -> Iterator[Recording]:
    """Yield the recordings of a manifest, which are files or members of shards."""
    for row in read_rows(manifest):
        if isinstance(row, BadRow):
            own = row.path or f"row {row.number}"
            fault = f"row {row.number} of {manifest}: {row.why}"
            yield _recording(manifest, (name / own).as_posix(), ("", fault))
        else:
            yield _of_entry(row, name)


def _of_entry(entry: Entry, name: PurePath) -> Recording:
    file = entry.folder / (entry.shard or entry.path)
    facts = {"speaker": _first(entry.facts, SPEAKERS), "text": _first(entry.facts, TEXTS)}
    if entry.shard:
        facts |= {"offset": entry.offset, "size": entry.size}
    return _recording(file, (name / entry.path).as_posix(), _stamp(file), **facts)
