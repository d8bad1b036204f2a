"""Reading of audio files of any format, and of WAV or raw samples from a pipe.

Audio is read in blocks ``float32 [channels, samples]``, in constant memory.
"""

import io
import os
import re
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import soundfile

from chirrup.bitstream import FormatError, Readable, Reader
from chirrup.errors import FileError
from chirrup.files.callbacks import SoundFile
from chirrup.files.joined import second_file
from chirrup.files.names import descriptor_of, names_file
from chirrup.files.remedies import first_bytes, remedy
from chirrup.files.riff import NotWavError, PeekableFile, read_wav_header, skip_chunks
from chirrup.files.sounds import BLOCK_SAMPLES, UnreadableError, blocks, open_sound
from chirrup.files.wav import SAMPLE_TYPES, Format
from chirrup.resampling import RATES_HZ
from chirrup.words import counted

MAX_CHANNELS = 16
FIRST_BYTES = 1 << 16
"""Number of bytes of a pipe from which libsndfile must recognise the format."""
UNKNOWN_FORMAT = 1
"""Error code of libsndfile for an unknown format."""


Source = str | Path | Readable


@dataclass
class Audio:
    """An open source of audio.

    Attributes:
        sample_rate_hz: sample rate of the source.
        channels: number of channels of the source.
        samples: samples of each channel according to the header; None if it does not state them.
        blocks: blocks ``float32 [channels, samples]`` in their order.
        notes: descriptions of faults of the source; complete after the blocks and `finish`.
        tags: title, artist and other tags of `tags.TAGS`.
        finish: reads a pipe to its end after the samples, so that its writer does not fail.
    """

    sample_rate_hz: int
    channels: int
    samples: int | None
    blocks: Iterator[np.ndarray]
    notes: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    finish: Callable[[], None] = lambda: None


def parse_raw(text: str) -> Format:
    """Parse the format of samples without a header, such as ``s16@24000x1``.

    Args:
        text: type, sample rate in Hz and number of channels. The types are the keys of
            `SAMPLE_TYPES`: integers and floating point, little endian unless the name ends in
            ``be``, and G.711. ``x1`` may be left out.

    Raises:
        FileError: the text is not such a format.
    """
    match = re.fullmatch(r"([a-z]+\d*(?:be)?)(?:le)?@(\d{1,7})(?:x(\d{1,2}))?", text)
    kind, rate, channels = match.groups() if match else ("", 0, 0)
    if kind not in SAMPLE_TYPES:
        raise FileError(
            f"raw format {text!r} is not TYPE@RATExCHANNELS, for example s16@24000x1, with a type "
            f"of {', '.join(SAMPLE_TYPES)}"
        )
    return Format(kind, int(rate), int(channels or 1))


@contextmanager
def open_audio(source: Source, raw: str | None = None) -> Generator[Audio, None, None]:
    """Open a source of audio.

    A pipe is read block by block if it is WAV (PCM or floating point) or if ``raw`` is given. Other
    formats are first copied to a temporary file.

    Args:
        source: path, or a binary file object, which need not be seekable and stays open.
        raw: format of a source without a header; see `parse_raw`.

    Raises:
        FileError: the source cannot be read as audio, or its sample rate or number of channels is
            not supported.
    """
    name = source_name(source)
    with open_source(source) as file:
        if raw is not None:
            yield _checked(_from_samples(PeekableFile(file), parse_raw(raw), None), name)
        elif isinstance(source, (str, Path)) and names_file(Path(source)):
            with _from_soundfile(Path(source), name) as audio:
                yield _checked(audio, name)
        else:
            with _from_pipe(file, name) as audio:
                yield _checked(audio, name)


@contextmanager
def open_source(source: Source) -> Generator[Readable, None, None]:
    """Open the binary file of a source, and close it at the end if the source is a path."""
    if not isinstance(source, (str, Path)):
        yield source
        return
    path = Path(source)
    if path.is_dir():
        raise FileError(f"{path} is a folder: give one file")
    descriptor = descriptor_of(path)
    try:
        file = path.open("rb") if descriptor is None else os.fdopen(os.dup(descriptor), "rb")
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist") from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield file


def open_reader(file: Readable, source: Source) -> Reader:
    """Return the reader of a ``.chirrup`` file, and add the file's name to a FormatError."""
    try:
        return Reader(file)
    except FormatError as error:
        raise error.of(source_name(source)) from error


def source_name(source: Source) -> str:
    """Return the name of a source in a message: its path, or its ``label`` or ``name`` if any."""
    if isinstance(source, (str, Path)):
        return str(source)
    name = getattr(source, "label", getattr(source, "name", None))
    return name if isinstance(name, str) and name != "<stdin>" else "standard input"


def _checked(audio: Audio, name: str) -> Audio:
    """Check rate and channels, and wrap the blocks in further checks.

    The blocks raise FileError at a sample that is not finite. If there are fewer samples than the
    header states, a note is added.
    """
    low, high = RATES_HZ
    if not low <= audio.sample_rate_hz <= high:
        raise FileError(
            f"{name} has a sample rate of {audio.sample_rate_hz} Hz: use {low} to {high} Hz"
        )
    if not 1 <= audio.channels <= MAX_CHANNELS:
        raise FileError(f"{name} has {audio.channels} channels: use 1 to {MAX_CHANNELS}")

    def checked() -> Iterator[np.ndarray]:
        done = 0
        for block in audio.blocks:
            if not np.isfinite(block).all():
                bad = done + int(np.argmin(np.isfinite(block).all(axis=0)))
                raise FileError(
                    f"{name} has a sample that is not a finite number at "
                    f"{bad / audio.sample_rate_hz:.3f} s: repair it first"
                )
            done += block.shape[1]
            yield block
        if done < (audio.samples or 0):
            there, stated = (count / audio.sample_rate_hz for count in (done, audio.samples or 0))
            audio.notes.append(f"its header states {stated:.2f} s, but it has {there:.2f} s")

    return replace(audio, blocks=checked())


# --- files -------------------------------------------------------------------------------------


@contextmanager
def _from_soundfile(path: Path, name: str) -> Generator[Audio, None, None]:
    try:
        with open_sound(path) as sound:
            file = sound.file
            samples = file.frames if file.frames < 2**62 else None
            another = second_file(path)
            notes = [*sound.notes, another] if another else sound.notes
            pieces = _pieces_of(file, name)
            yield Audio(file.samplerate, file.channels, samples, pieces, notes, sound.tags)
    except UnreadableError as error:
        advice = remedy(path if str(path) == name else None, first_bytes(path))
        raise FileError(f"{name} cannot be read as audio: {error}: {advice}") from error


def _pieces_of(file: soundfile.SoundFile, name: str) -> Iterator[np.ndarray]:
    try:
        for block in blocks(file):
            yield np.ascontiguousarray(block.T)
    except UnreadableError as error:
        raise FileError(f"{name} is damaged: {error}") from error


# --- pipes -------------------------------------------------------------------------------------


@contextmanager
def _from_pipe(file: Readable, name: str) -> Generator[Audio, None, None]:
    ahead = PeekableFile(file)
    try:
        header = read_wav_header(ahead)
    except NotWavError as error:
        if ahead.kept is None:
            raise FileError(f"{name} is cut off: it ends before its samples") from error
        header = None
    except FileError as error:
        raise FileError(f"{name}: {error}") from error
    if header is None or header.format is None:
        with _spooled(ahead, name) as path, _from_soundfile(path, name) as audio:
            yield audio
        return
    audio = _from_samples(ahead, header.format, header.data_bytes)
    audio.notes.extend(header.notes)

    def finish() -> None:
        if follows := skip_chunks(ahead, header):
            audio.notes.append(follows)

    yield replace(audio, tags=header.tags, finish=finish)


@contextmanager
def _spooled(file: PeekableFile, name: str) -> Generator[Path, None, None]:
    """Copy a pipe to a temporary file if it begins like audio."""
    first, file.kept = bytes(file.kept or b""), None
    while len(first) < FIRST_BYTES and (data := file.read1(FIRST_BYTES)):
        first += data
    if len(first) >= FIRST_BYTES and not _begins_audio(first):
        advice = remedy(None, first)
        raise FileError(f"{name} cannot be read as audio: its format is not known: {advice}")
    with tempfile.NamedTemporaryFile(prefix="chirrup-", buffering=0) as copy:
        data = first
        while data:
            try:
                copy.write(data)
            except OSError as error:
                raise FileError(
                    f"{name} cannot be copied to {copy.name}: {error.strerror}: set TMPDIR to a "
                    "folder with more space, or give a file"
                ) from error
            data = file.read1(1 << 16)
        yield Path(copy.name)


def _begins_audio(first: bytes) -> bool:
    try:
        SoundFile(io.BytesIO(first)).close()
    except soundfile.LibsndfileError as error:
        return error.code != UNKNOWN_FORMAT or first.startswith(b"ID3")  # a tag with a picture
    return True


def _from_samples(file: PeekableFile, form: Format, data_bytes: int | None) -> Audio:
    """Read samples up to ``data_bytes``, or up to the end of the file if it is None."""
    file.kept = None
    samples = None if data_bytes is None else data_bytes // form.frame_bytes
    notes: list[str] = []
    pieces = _pieces(file, form, samples, notes)
    return Audio(form.sample_rate_hz, form.channels, samples, pieces, notes)


def _pieces(
    file: PeekableFile, form: Format, samples: int | None, notes: list[str]
) -> Iterator[np.ndarray]:
    _, convert = SAMPLE_TYPES[form.kind]
    left = None if samples is None else samples * form.frame_bytes
    waiting = b""
    while left is None or left > 0:
        want = BLOCK_SAMPLES * form.frame_bytes
        data = file.read1(want if left is None else min(want, left))  # does not delay a live pipe
        if not data:
            break
        left = None if left is None else left - len(data)
        waiting += data
        whole = len(waiting) // form.frame_bytes * form.frame_bytes
        if whole:
            yield convert(waiting[:whole]).reshape(-1, form.channels).T.copy()
            waiting = waiting[whole:]
    if waiting:
        last = counted(len(waiting), "byte")
        notes.append(f"it ends within a sample: skipped the last {last}")
