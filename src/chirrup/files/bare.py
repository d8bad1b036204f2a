"""Audio files to streams of bare frames, and back."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from chirrup.bitstream import END_FRAMES, BitWriter, frames_of
from chirrup.codec import Codec
from chirrup.errors import FileError
from chirrup.files.coding import Decoded, Encoded, written_as
from chirrup.files.inputs import Source, open_audio, open_source, source_name
from chirrup.files.meter import Meter, Progress, levelled
from chirrup.files.names import is_coded
from chirrup.files.outputs import (
    Counted,
    Target,
    audio_format,
    check_target,
    open_sink,
    open_target,
)
from chirrup.radio import BareDecoder, BareEncoder

ADVICE = "check the bitrate, the bits of a frame and where the first frame begins"


def encode_bare(
    codec: Codec,
    source: Source,
    target: Target,
    *,
    bitrate_bps: float | None = None,
    bits: int | None = None,
    text: str | None = None,
    raw: str | None = None,
    level: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Encoded:
    """Encode audio to a stream of bare frames, one over. Several channels are averaged.

    Args:
        codec: the model.
        source: path, or a binary file object such as a pipe.
        target: path, or a binary file object, which gets each byte as soon as it is complete.
        bitrate_bps: one of the model's bitrates; None is its default.
        bits: bits of a frame; None is the bits of the codes.
        text: a text to repeat in the spare bits.
        raw: as in `encode_file`.
        level: raise quiet speech with `LevelControl`.
        force: overwrite an existing file.
        progress: as in `encode_file`.

    Raises:
        FileError: a file cannot be read or written, or an argument is not supported.
    """
    check_target(target, force, source)
    with open_audio(source, raw) as audio:
        rate_hz = audio.sample_rate_hz
        try:
            encoder = BareEncoder(codec, bitrate_bps, bits, text=text, sample_rate_hz=rate_hz)
        except ValueError as error:
            raise FileError(str(error)) from error
        meter = Meter(audio, progress)
        with open_target(target, force) as file:
            counted, writer = Counted(file), BitWriter()
            for block in meter.watch(levelled(audio) if level else audio.blocks):
                _write(counted, writer, encoder.push(block.mean(axis=0)))
            if not meter.samples:
                raise FileError(f"{source_name(source)} has no samples: give a longer recording")
            _write(counted, writer, encoder.flush())
            counted.write(writer.flush())
        audio.finish()
    codes_bps = codec.bitrates_bps[encoder.format.codebooks - 1]
    shape = (meter.samples, rate_hz, audio.channels)
    return Encoded(*shape, counted.size, codes_bps, [*audio.notes, *meter.notes()])


def _write(file: Counted, writer: BitWriter, frames: list[np.ndarray]) -> None:
    for frame in frames:
        if data := writer.push(frame):
            file.write(data)
            file.flush()


def decode_bare(
    codec: Codec,
    source: Source,
    target: Target,
    *,
    bitrate_bps: float | None = None,
    bits: int | None = None,
    floating: bool = False,
    raw: bool = False,
    force: bool = False,
    on_text: Callable[[str], None] = lambda text: None,
    progress: Progress | None = None,
) -> Decoded:
    """Decode a stream of bare frames to audio at the model's rate. Overs follow without a gap.

    Args:
        codec: the model.
        source: path, or a binary file object such as a pipe.
        target: path, whose ending selects the format, or a binary file object, which gets WAV.
        bitrate_bps: as in `encode_bare`.
        bits: as in `encode_bare`.
        floating: as in `decode_file`.
        raw: as in `decode_file`.
        force: overwrite an existing file.
        on_text: called with each text that arrives, also if it is a repetition.
        progress: as in `decode_file`.

    Raises:
        FileError: a file cannot be read or written, or an argument is not supported.
    """
    check_target(target, force, source)
    if isinstance(source, (str, Path)) and is_coded(Path(source)):
        raise FileError(f"{source_name(source)} is a .chirrup file: use chirrup decode")
    if isinstance(target, (str, Path)) and not raw:
        audio_format(Path(target), floating)
    try:
        decoder = BareDecoder(codec, bitrate_bps, bits)
    except ValueError as error:
        raise FileError(str(error)) from error
    rate_hz, skip = codec.sample_rate_hz, codec.delay_samples
    result, total_s = Decoded(rate_hz, codec.channels), None
    size_bytes = marks = most_marks = 0
    if isinstance(source, (str, Path)) and Path(source).is_file():
        frames = 8 * Path(source).stat().st_size // decoder.format.bits
        total_s = frames / codec.frame_rate_hz
    with (
        open_source(source) as file,
        open_sink(
            target, rate_hz, codec.channels, None, floating=floating, raw=raw, force=force
        ) as sink,
    ):

        def pieces() -> Iterator[bytes]:
            nonlocal size_bytes
            read = getattr(file, "read1", file.read)
            while data := read(4096):
                size_bytes += len(data)
                yield data

        for frame in frames_of(pieces(), decoder.format.bits):
            audio = np.atleast_2d(decoder.push(frame))
            for text in decoder.texts:
                on_text(text)
            marks = marks + 1 if decoder.ended else 0
            most_marks = max(most_marks, marks)
            dropped = min(skip, audio.shape[1])
            skip = codec.delay_samples if decoder.ended else skip - dropped
            if audio.shape[1] > dropped:
                sink.write(written_as(audio[:, dropped:], floating, result))
                result.samples += audio.shape[1] - dropped
            if progress:
                progress(result.seconds, total_s)
        if not result.samples:
            raise FileError(f"{source_name(source)} has no frame of {decoder.format.bits} bits")
    rest_bits = 8 * size_bytes % decoder.format.bits
    if not decoder.ended:
        result.damage.append(f"it ends without an end mark: it is cut off, or {ADVICE}")
    elif rest_bits >= 8:  # fewer fill up the last byte
        result.damage.append(f"{rest_bits} bits follow the end of the last over: {ADVICE}")
    if most_marks > END_FRAMES:
        result.damage.append(
            f"{most_marks} marks of an end follow each other, but a sender writes {END_FRAMES}: "
            f"{ADVICE}"
        )
    return result
