"""Voice conversion of audio files."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chirrup.codec import Codec
from chirrup.errors import FileError, ModelError
from chirrup.files.coding import Decoded, decode_file, encode_file
from chirrup.files.inputs import Source, open_audio
from chirrup.files.meter import Meter, Progress
from chirrup.files.outputs import Target, check_target
from chirrup.resampling import resample_blocks
from chirrup.voice import NEIGHBOURS, in_voice


def convert_file(
    codec: Codec,
    source: Source,
    target: Target,
    voice: Sequence[str | Path],
    *,
    neighbours: int = NEIGHBOURS,
    floating: bool = False,
    force: bool = False,
    to_end: bool = False,
    progress: Progress | None = None,
) -> Decoded:
    """Convert an audio file to the voice of a target speaker.

    The sample rate, the channels and the length stay the same.

    Args:
        codec: a codec whose decoder has features; see `chirrup.in_voice`.
        source: path of an audio file of any format, or a binary file object such as a pipe; or path
            of a ``.chirrup`` file of the codec, which is decoded in the voice.
        target: path, whose ending selects the format, or a binary file object, which gets WAV.
        voice: audio files of the target speaker, whose channels are averaged.
        neighbours: as in `chirrup.in_voice`.
        floating: as in `decode_file`.
        force: as in `decode_file`.
        to_end: as in `encode_file`.
        progress: called with the seconds done and the total, or None if it is not known.

    Returns:
        The result of decoding; ``damage`` also has the notes on the source and the voice.

    Raises:
        FileError: a file cannot be read or written. A target given by path is then unchanged.
        ModelError: the codec cannot change the voice.
    """
    for file in (source, *voice):
        check_target(target, force, file)
    recordings, notes = [], []
    for file in voice:
        recording, faults = read_mono(file, codec.input_rate_hz)
        recordings.append(recording)
        notes += [f"voice {file}: {fault}" for fault in faults]
    try:
        speaking = in_voice(codec, recordings, neighbours)
    except ModelError:
        raise
    except ValueError as error:
        raise FileError(f"voice {', '.join(map(str, voice))}: {error}") from error
    options = {"floating": floating, "force": force, "progress": progress}
    if _is_coded(source):
        decoded = decode_file(speaking, source, target, **options)
        decoded.damage[:0] = notes
        return decoded
    memory = io.BytesIO()
    encoded = encode_file(codec, source, memory, to_end=to_end, progress=progress)
    memory.seek(0)
    options |= {"rate_hz": encoded.sample_rate_hz, "max_seconds": math.inf}
    decoded = decode_file(speaking, memory, target, **options)
    decoded.damage[:0] = notes + encoded.notes
    return decoded


def _is_coded(source: Source) -> bool:
    return isinstance(source, (str, Path)) and Path(source).suffix == ".chirrup"


def read_mono(path: str | Path, rate_hz: int) -> tuple[np.ndarray, list[str]]:
    """Return the average of a file's channels, ``float32 [samples]``, and faults of the file."""
    with open_audio(path) as audio:
        meter = Meter(audio, None)
        mono = (block.mean(axis=0, keepdims=True) for block in meter.watch(audio.blocks))
        pieces = list(resample_blocks(mono, 1, audio.sample_rate_hz, rate_hz))
        audio.finish()
    signal = np.concatenate([np.zeros((1, 0), np.float32), *pieces], axis=1)[0]
    return signal, [*audio.notes, *meter.notes()]
