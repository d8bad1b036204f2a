"""Descriptions of ``.chirrup`` files and audio files, for ``chirrup info``."""

from pathlib import Path
from typing import Any

from chirrup.bitstream import Readable
from chirrup.errors import FileError
from chirrup.files.inputs import Source, open_reader, open_source
from chirrup.files.names import names_file
from chirrup.files.remedies import first_bytes, remedy
from chirrup.files.sounds import UnreadableError, open_sound
from chirrup.zoo import models


def describe(path: Source, *, check: bool = False, to_end: bool = False) -> dict[str, Any]:
    """Return a dictionary of plain values that describes a ``.chirrup`` file.

    >>> describe("talk.chirrup")["seconds"]

    Args:
        path: path of the file, or a binary file object such as a pipe.
        check: check every chunk. A file that is cut off or not seekable is always checked.
        to_end: also read a file object after the end of the ``.chirrup`` file. A path is always
            read to its end.

    Returns:
        Model, duration in s, rates in Hz, sizes, bitrates in bit/s and metadata. ``damage`` is a
        list of descriptions, empty for an intact file, or None if the file was not checked.

    Raises:
        FileError: the file cannot be read.
        FormatError: the file is not a ``.chirrup`` file.
    """
    by_name = isinstance(path, (str, Path))
    file_path = Path(path) if by_name and names_file(Path(path)) else None
    with open_source(path) as file:
        counted = _CountedInput(file)
        reader = open_reader(file if file_path else counted, path)
        header, frames, damage = reader.header, reader.frames, None
        if check or frames is None:
            ends = (start + codes.shape[2] for start, codes in reader.chunks())
            last = max(ends, default=0)
            frames = last if reader.frames is None else reader.frames
            if to_end or by_name:
                reader.finish()
            damage = list(reader.damage)
        size = file_path.stat().st_size if file_path else counted.size
    native = max(0, frames * header.frame_samples - header.delay_samples)
    seconds = native / header.sample_rate_hz
    if reader.sample_count is not None:
        seconds = min(seconds, reader.sample_count / header.original_sample_rate_hz)
    return {
        "model": header.model,
        "weights": header.weights_hash,
        "installed": header.model in models(),
        "seconds": seconds,
        "sample_count": reader.sample_count,
        "original_sample_rate_hz": header.original_sample_rate_hz,
        "original_channels": header.original_channels,
        "channels": header.channels,
        "channel_mode": header.channel_mode,
        "sample_rate_hz": header.sample_rate_hz,
        "frame_samples": header.frame_samples,
        "delay_samples": header.delay_samples,
        "frames": frames,
        "codebooks": header.codebooks,
        "bits_per_code": header.bits_per_code,
        "nominal_bitrate_bps": header.bitrate_bps,
        "bitrate_bps": _rate(size, seconds),
        "size_bytes": size,
        "metadata": dict(header.metadata),
        "damage": damage,
    }


def describe_audio(path: str | Path) -> dict[str, Any]:
    """Return a dictionary of plain values that describes an audio file.

    Raises:
        FileError: the file cannot be read as audio.
    """
    path = Path(path)
    try:
        with open_sound(path) as sound:
            file = sound.file
            return {
                "format": file.format_info,
                "samples": file.subtype_info,
                "seconds": file.frames / file.samplerate,
                "sample_count": file.frames,
                "sample_rate_hz": file.samplerate,
                "channels": file.channels,
                "size_bytes": path.stat().st_size,
                "tags": sound.tags,
                "damage": sound.notes,
            }
    except UnreadableError as error:
        advice = remedy(path, first_bytes(path))
        raise FileError(
            f"{path} is not a .chirrup file and cannot be read as audio: {error}: {advice}"
        ) from error


class _CountedInput:
    """A binary file that counts the bytes read."""

    def __init__(self, file: Readable) -> None:
        self.file, self.size = file, 0

    def read(self, size: int, /) -> bytes:
        data = self.file.read(size)
        self.size += len(data)
        return data


def _rate(size_bytes: int, seconds: float) -> float | None:
    return size_bytes * 8 / seconds if seconds > 0 else None
