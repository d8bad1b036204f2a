"""Recordings as a manifest lists them, read at a model's rate: plain files, or in shards."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import soxr

from chirrup.data.manifest import Entry, find_manifest, read_manifest
from chirrup.errors import ModelError
from chirrup.files.sounds import UnreadableError, open_sound, read_samples

FACTS = ("seconds", "sample_rate_hz", "channels", "sha256")
"""Columns of a manifest that are of use to training."""
SECONDS_OFF = 0.02
"""By which a manifest may round."""


@contextmanager
def opened(source: Path | Entry) -> Generator[soundfile.SoundFile, None, None]:
    """Any format soundfile reads, in a shard too.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        with ExitStack() as stack:
            if isinstance(source, Path):
                place = source
            elif source.shard:
                place = stack.enter_context(source.open())
            else:
                place = source.folder / source.path
            yield stack.enter_context(open_sound(place)).file
    except (OSError, UnreadableError, soundfile.LibsndfileError) as error:
        raise ModelError(f"{source} cannot be read: {error}") from error


def read(source: Path | Entry) -> tuple[np.ndarray, int]:
    """All of a recording, ``float32 [samples, channels]``, and its rate.

    Raises:
        ModelError: it cannot be read, or is shorter than it or the manifest says.
    """
    with opened(source) as file:
        audio = read_samples(file)
        if len(audio) < file.frames:
            raise ModelError(f"{source} ends after {len(audio)} of {file.frames} samples")
        seconds = len(audio) / file.samplerate
    if isinstance(source, Entry) and not has_length(source, seconds):
        raise ModelError(
            f"{source} has {seconds:.3f} s, less than the {float(source.facts['seconds']):.3f} s "
            "of the manifest: run chirrup data check, which finds all such files"
        )
    return audio, file.samplerate


def has_length(entry: Entry, seconds: float) -> bool:
    """Whether a recording is not shorter than the manifest says, which may say nothing."""
    return seconds > float(entry.facts.get("seconds", 0)) - SECONDS_OFF


def check_length(source: Path | Entry, samples: int) -> None:
    """Refuse a recording of which no position can be drawn.

    Raises:
        ModelError: it has less than two samples at the model's rate.
    """
    if samples < 2:
        raise ModelError(
            f"{source} has {samples} samples at the model's rate: leave it out of the corpus, "
            "or with data.leave_out"
        )


def read_channels(source: Path | Entry, sample_rate_hz: int) -> np.ndarray:
    """Each channel, resampled: ``float32 [channels, samples]``."""
    audio, rate_hz = read(source)
    return soxr.resample(audio, rate_hz, sample_rate_hz).T


def read_mono(source: Path | Entry, sample_rate_hz: int) -> np.ndarray:
    """Likewise, but the average of the channels: ``float32 [samples]``."""
    audio, rate_hz = read(source)
    return soxr.resample(audio.mean(axis=1), rate_hz, sample_rate_hz)


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


def listed(manifest: Path | None, folder: str, leave_out: Sequence[str] = ()) -> list[Entry]:
    """Recordings of a folder of the manifest, plain files or in shards.

    A prepared corpus has rooms in ``rir_train``, others in ``rir``: ``rir`` means either.

    Args:
        leave_out: patterns of names of files that are not to be among them.

    Raises:
        ModelError: there are none, or there is no such manifest.
    """
    if manifest is None or not manifest.exists():
        missing = "no corpus is named" if manifest is None else f"there is no corpus at {manifest}"
        raise ModelError(
            f"{missing}: make one with chirrup data prepare, and name it with --data FOLDER"
        )
    entries = [
        replace(entry, facts={key: entry.facts[key] for key in FACTS if key in entry.facts})
        for entry in read_manifest(find_manifest(manifest))
        if not any(map(Path(entry.path).match, leave_out))
    ]
    if found := _of_folder(entries, folder):
        return found
    others = sorted({entry.path.partition("/")[0] for entry in entries if "/" in entry.path})
    raise ModelError(
        f"{manifest} lists no file in {folder}/ but in {', '.join(others[:9])}: prepare such "
        "recordings too, or train without noise and rooms, with data.conditions=[1,0,0,0]"
    )


def is_listed(manifest: Path | None, folder: str) -> bool:
    """Return whether a corpus has recordings of a folder; True where there is no corpus."""
    if manifest is None or not manifest.exists():
        return True
    return bool(_of_folder(read_manifest(find_manifest(manifest)), folder))


def _of_folder(entries: Iterable[Entry], folder: str) -> list[Entry]:
    """Recordings of a folder; of the folder for training if a prepared corpus is split."""
    entries = list(entries)
    for name in (folder, f"{folder}_train"):
        if found := [entry for entry in entries if entry.path.startswith(name + "/")]:
            return found
    return []
