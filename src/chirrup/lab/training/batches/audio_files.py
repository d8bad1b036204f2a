"""Recordings of a manifest, in files or shards, read at a model's sample rate."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import soundfile
import soxr

from chirrup.data.manifest import Entry, find_manifest, read_manifest
from chirrup.errors import ModelError
from chirrup.files.sounds import UnreadableError, check_rate, open_sound, read_samples
from chirrup.words import counted

FACTS = ("seconds", "sample_rate_hz", "channels", "sha256")
"""Columns of a manifest that training uses."""
ROUNDING_S = 0.02
"""Largest rounding of a duration in a manifest."""


@contextmanager
def open_recording(source: Path | Entry) -> Generator[soundfile.SoundFile, None, None]:
    """Open a recording in any format that soundfile reads, in a file or in a shard.

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
            file = stack.enter_context(open_sound(place)).file
            check_rate(file)
            yield file
    except (OSError, UnreadableError, soundfile.LibsndfileError) as error:
        raise ModelError(f"{source} cannot be read: {error}") from error


def read(source: Path | Entry) -> tuple[np.ndarray, int]:
    """Read a whole recording.

    Returns:
        ``float32 [samples, channels]`` and the sample rate.

    Raises:
        ModelError: it cannot be read, or it is shorter than its header or the manifest states.
    """
    with open_recording(source) as file:
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
    """Return whether ``seconds`` reach the duration in the manifest, if it has one."""
    return seconds > float(entry.facts.get("seconds", 0)) - ROUNDING_S


def check_length(source: Path | Entry, samples: int) -> None:
    """Check that positions can be drawn from a recording.

    Raises:
        ModelError: it has fewer than two samples at the model's rate.
    """
    if samples < 2:
        raise ModelError(
            f"{source} has {counted(samples, 'sample')} at the model's rate: leave it out of the "
            "corpus, or with data.leave_out"
        )


def read_channels(source: Path | Entry, sample_rate_hz: int) -> np.ndarray:
    """Read all channels of a recording, resampled: ``float32 [channels, samples]``."""
    audio, rate_hz = read(source)
    return soxr.resample(audio, rate_hz, sample_rate_hz).T


def read_mono(source: Path | Entry, sample_rate_hz: int) -> np.ndarray:
    """Read the average of a recording's channels, resampled: ``float32 [samples]``."""
    audio, rate_hz = read(source)
    return soxr.resample(audio.mean(axis=1), rate_hz, sample_rate_hz)


def match_channels(audio: np.ndarray, channels: int, source: object) -> np.ndarray:
    """Return ``[channels, samples]`` for a model of joint channels; mono is repeated.

    Args:
        source: name of the recording for the error.

    Raises:
        ModelError: the recording is not mono and has another number of channels.
    """
    if len(audio) not in (1, channels):
        raise ModelError(
            f"{source} has {len(audio)} channels, the model codes {channels} jointly: train with "
            "data.channels=mix or each, or without it"
        )
    return np.broadcast_to(audio, (channels, audio.shape[1]))


def read_jointly(source: Path | Entry, sample_rate_hz: int, channels: int) -> np.ndarray:
    """Read a recording for a model of joint channels: ``float32 [channels, samples]``."""
    return match_channels(read_channels(source, sample_rate_hz), channels, source)


def list_recordings(
    manifest: Path | None,
    folder: str,
    leave_out: Sequence[str] = (),
    licences: Sequence[str] = (),
) -> list[Entry]:
    """List the recordings in a folder of a manifest, files or entries of shards.

    If there is no ``folder``, ``folder_train`` is taken: ``chirrup data prepare`` writes room
    responses to ``rir_train``, other corpora have them in ``rir``.

    Args:
        leave_out: patterns of file names to leave out.
        licences: patterns of licences; recordings with others, or with none, are left out. Without
            patterns, all recordings are taken.

    Raises:
        ModelError: there is no manifest, or the folder is empty, or has none of these licences.
    """
    if manifest is None or not manifest.exists():
        missing = "no corpus is named" if manifest is None else f"there is no corpus at {manifest}"
        raise ModelError(
            f"{missing}: make one with chirrup data prepare, and name it with --data FOLDER"
        )
    entries = [
        entry
        for entry in read_manifest(find_manifest(manifest))
        if not any(map(Path(entry.path).match, leave_out))
    ]
    if found := _in_folder(entries, folder):
        return [
            replace(entry, facts={key: entry.facts[key] for key in FACTS if key in entry.facts})
            for entry in _licensed(found, licences, folder)
        ]
    others = sorted({entry.path.partition("/")[0] for entry in entries if "/" in entry.path})
    raise ModelError(
        f"{manifest} lists no file in {folder}/, only in {', '.join(others[:9])}: prepare such "
        "recordings too, or train without noise and rooms, with data.conditions={clean=1}"
    )


def _licensed(entries: list[Entry], licences: Sequence[str], folder: str) -> list[Entry]:
    """Return the recordings with these licences."""
    if not licences:
        return entries
    of_entry = {
        entry: entry.facts.get("licence") or entry.facts.get("license", "") for entry in entries
    }
    found = [
        entry
        for entry, licence in of_entry.items()
        if any(fnmatchcase(licence, x) for x in licences)
    ]
    if not found:
        others = "; ".join(sorted(filter(None, set(of_entry.values())))[:9]) or "none"
        raise ModelError(
            f"no recording in {folder}/ has a licence of data.licences; the licences there are: "
            f"{others}; change data.licences, or train without noise and rooms, with "
            "data.conditions={clean=1}"
        )
    return found


def has_recordings(manifest: Path | None, folder: str) -> bool:
    """Return whether a corpus has recordings in a folder; True if there is no corpus."""
    if manifest is None or not manifest.exists():
        return True
    return bool(_in_folder(read_manifest(find_manifest(manifest)), folder))


def _in_folder(entries: Iterable[Entry], folder: str) -> list[Entry]:
    entries = list(entries)
    for name in (folder, f"{folder}_train"):
        if found := [entry for entry in entries if entry.path.startswith(name + "/")]:
            return found
    return []
