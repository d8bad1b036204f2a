"""Storage of decoded recordings between trainings."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chirrup.data.manifest import Entry
from chirrup.files.drafts import written
from chirrup.lab.training.batches.audio_files import has_length
from chirrup.parsing import parsing


def key(entries: Sequence[Entry]) -> str:
    """Hash the names of recordings, and their content hashes or file sizes and times."""
    texts = (f"{entry} {entry.facts.get('sha256', '')} {_stamp(entry)}" for entry in entries)
    return hashlib.sha256("\n".join(texts).encode(errors="surrogateescape")).hexdigest()[:16]


def _stamp(entry: Entry) -> str:
    if entry.shard and "sha256" in entry.facts:
        return ""
    try:
        about = (entry.folder / (entry.shard or entry.path)).stat()
    except OSError:
        return "missing"  # reading it raises the error
    return f"{about.st_size} {about.st_mtime_ns} {entry.offset}"


def save(path: Path, audio: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Store recordings, each ``int16 [channels, samples]``.

    Returns:
        The recordings and their lengths in the form of `load`.

    Raises:
        FileError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    joined = np.concatenate(audio, axis=1)
    length = np.array([recording.shape[1] for recording in audio])
    with written(path) as draft, draft.open("wb") as file:
        np.savez(file, audio=joined, length=length)
    return joined, length


def load(
    path: Path, entries: Sequence[Entry], sample_rate_hz: int, each_channel: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Load stored recordings.

    Returns:
        All recordings, concatenated, ``int16 [channels, samples]``, and the length of each in
        samples. None if there is no such file, if it is damaged, or if a recording is shorter than
        in the manifest.
    """
    try:
        with parsing(), path.open("rb") as file, np.load(file) as arrays:
            audio, length = np.atleast_2d(arrays["audio"]), arrays["length"]
        if (audio.dtype, length.ndim) != (np.int16, 1) or length.sum() != audio.shape[1]:
            raise ValueError("the arrays do not have the form of recordings")
        if not each_channel:  # otherwise a file gives several recordings
            seconds = (length / sample_rate_hz).tolist()
            if not all(has_length(*pair) for pair in zip(entries, seconds, strict=True)):
                raise ValueError("a recording is too short")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logging.getLogger(__name__).warning("%s is damaged, decoding anew: %s", path, error)
        return None
    return audio, length
