"""The clips of an evaluation: their files, names and speakers, and reading them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr

from chirrup.errors import FileError
from chirrup.files.naming import READ_ENDINGS
from chirrup.files.sounds import UnreadableError, read_sound
from chirrup.files.walking import files_below

ENDINGS = READ_ENDINGS - {".raw"}
"""Endings of clips. A file with the ending .raw has no header, so its sample rate is unknown."""
MAX_CHANNELS = 8


def audio_files(folder: Path, but: Path | None = None) -> tuple[Path, ...]:
    """Return the audio files in a folder and its subfolders, sorted by name.

    Args:
        but: a folder whose files are left out.

    Raises:
        FileError: the folder does not exist or has no audio, or a folder cannot be read.
    """
    if not folder.is_dir():
        raise FileError(f"{folder} is not a folder: name a folder of audio files")
    paths = sorted(
        path
        for path in files_below(folder)
        if path.suffix.lower() in ENDINGS
        and path.is_file()
        and (but is None or not path.resolve().is_relative_to(but.resolve()))
    )
    if not paths:
        raise FileError(f"{folder} has no audio files ({', '.join(sorted(ENDINGS))})")
    return tuple(paths)


def check_names(clips: Sequence[Path]) -> None:
    """Raise FileError if two clips have the same name, because results are stored by name."""
    names = Counter(map(name_of, clips))
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise FileError(f"there are two clips named {min(twice)}: rename one")


def name_of(clip: Path) -> str:
    """Return the file name without its ending. Bytes that are not UTF-8 are escaped."""
    return clip.stem.encode("utf-8", "backslashreplace").decode()


def speaker(clip: Path) -> str:
    """Return the part of a clip's name before its last ``__``, or the whole name."""
    return name_of(clip).rpartition("__")[0] or name_of(clip)


def read_clip(path: Path, rate_hz: int | None = None, mono: bool = False) -> tuple[np.ndarray, int]:
    """Read a clip.

    Args:
        rate_hz: rate to which the clip is resampled; None keeps its rate.
        mono: whether the channels are averaged.

    Returns:
        ``float32 [channels, samples]``, and its rate in Hz.

    Raises:
        FileError: the file is not readable audio, is empty, has more than `MAX_CHANNELS` channels,
            or has a sample that is not finite.
    """
    try:
        audio, rate = read_sound(path)
    except UnreadableError as error:
        raise FileError(f"{path} cannot be read as audio: {error}") from error
    if not np.isfinite(audio).all():
        raise FileError(f"{path} has samples that are not finite: repair it first")
    if mono:
        audio = audio.mean(axis=1, keepdims=True)
    if audio.shape[1] > MAX_CHANNELS:
        raise FileError(
            f"{path} has {audio.shape[1]} channels, more than {MAX_CHANNELS}: mix them with --mono"
        )
    if rate_hz is not None and rate_hz != rate:
        audio, rate = soxr.resample(audio, rate, rate_hz), rate_hz
    if not len(audio):
        raise FileError(f"{path} is empty")
    return np.ascontiguousarray(audio.T), rate
