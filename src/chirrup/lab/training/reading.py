"""Recordings as a manifest lists them, read at a model's rate: plain files, or in shards."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import soxr

from chirrup.data.manifest import Entry, find_manifest, read_manifest
from chirrup.runtime.errors import ModelError

FACTS = ("seconds", "sample_rate_hz", "channels", "sha256")
"""Columns of a manifest that are of use to training."""


@contextmanager
def opened(source: Path | Entry) -> Generator[soundfile.SoundFile, None, None]:
    """Any format soundfile reads, in a shard too.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        encoded = source.open("rb") if isinstance(source, Path) else source.open()
        with encoded, soundfile.SoundFile(encoded) as file:
            yield file
    except (OSError, soundfile.LibsndfileError) as error:
        raise ModelError(f"{source} cannot be read: {error}") from error


def read_channels(source: Path | Entry, sample_rate_hz: int) -> np.ndarray:
    """Each channel, resampled: ``float32 [channels, samples]``."""
    with opened(source) as file:
        audio = file.read(dtype="float32", always_2d=True)
    return soxr.resample(audio, file.samplerate, sample_rate_hz).T


def read_mono(source: Path | Entry, sample_rate_hz: int) -> np.ndarray:
    """Likewise, but the average of the channels: ``float32 [samples]``."""
    with opened(source) as file:
        audio = file.read(dtype="float32", always_2d=True)
    return soxr.resample(audio.mean(axis=1), file.samplerate, sample_rate_hz)


def joined(audio: np.ndarray, channels: int, source: object) -> np.ndarray:
    """``[channels, samples]`` for a model that codes so many jointly; mono is in all of them.

    Raises:
        ModelError: the recording has another number of channels.
    """
    if len(audio) not in (1, channels):
        raise ModelError(
            f"{source} has {len(audio)} channels, the model codes {channels} jointly: train with "
            "data.channels=mix or each, or without it"
        )
    return np.broadcast_to(audio, (channels, audio.shape[1]))


def read_jointly(source: Path | Entry, sample_rate_hz: int, channels: int) -> np.ndarray:
    """Likewise, but `joined`."""
    return joined(read_channels(source, sample_rate_hz), channels, source)


def listed(manifest: Path, folder: str, leave_out: Sequence[str] = ()) -> list[Entry]:
    """Recordings of a folder of the manifest, plain files or in shards.

    A prepared corpus has rooms in ``rir_train``, others in ``rir``: ``rir`` means either.

    Args:
        leave_out: patterns of names of files that are not to be among them.

    Raises:
        ModelError: there are none, or there is no such manifest.
    """
    if not manifest.exists():
        raise ModelError(
            f"there is no corpus at {manifest}: make one with chirrup data prepare, and say "
            "data.manifest=FOLDER after the recipe"
        )
    entries = [
        replace(entry, facts={key: entry.facts[key] for key in FACTS if key in entry.facts})
        for entry in read_manifest(find_manifest(manifest))
        if not any(map(Path(entry.path).match, leave_out))
    ]
    for name in (folder, f"{folder}_train"):
        if found := [entry for entry in entries if entry.path.startswith(name + "/")]:
            return found
    others = sorted({entry.path.partition("/")[0] for entry in entries if "/" in entry.path})
    raise ModelError(f"{manifest} lists no file in {folder}/ but in {', '.join(others[:9])}")
