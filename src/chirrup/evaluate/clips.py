"""The clips of an evaluation: audio files, the names that results keep them by, and speakers."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from chirrup.errors import FileError

ENDINGS = {".wav", ".flac", ".opus", ".ogg", ".mp3", ".aiff"}


def audio_files(folder: Path, but: Path | None = None) -> tuple[Path, ...]:
    """All audio of a folder, by name, but for what lies in another.

    Raises:
        FileError: there is none.
    """
    if not folder.is_dir():
        raise FileError(f"{folder} is no folder: give a folder of audio files")
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS
        and path.is_file()
        and (but is None or not path.resolve().is_relative_to(but.resolve()))
    )
    if not paths:
        raise FileError(f"{folder} has no audio ({', '.join(sorted(ENDINGS))})")
    return tuple(paths)


def check_names(clips: Sequence[Path]) -> None:
    """FileError if two clips have one name, by which results are kept."""
    names = Counter(map(name_of, clips))
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise FileError(f"there are two clips of the name {min(twice)}: rename one")


def name_of(clip: Path) -> str:
    """By which results are kept; text also where the name of the file is none."""
    return clip.stem.encode("utf-8", "backslashreplace").decode()


def speaker(clip: Path) -> str:
    return name_of(clip).rpartition("__")[0] or name_of(clip)
