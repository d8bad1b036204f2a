"""Audio files to ``.chirrup`` files, and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chirrup.bitstream import Header, Writer
from chirrup.codec import Codec
from chirrup.codes import ABSENT
from chirrup.errors import FileError
from chirrup.files.decoders import check_model, installed
from chirrup.files.excerpt import Excerpt, cut
from chirrup.files.inputs import (
    Source,
    open_audio,
    open_reader,
    open_source,
    source_name,
)
from chirrup.files.limits import check_length, most_samples, output_rate, up_to
from chirrup.files.meter import Meter, Progress
from chirrup.files.outputs import (
    Target,
    Writable,
    audio_format,
    check_target,
    open_sink,
    open_target,
)
from chirrup.files.stereo import Stereo, channel_mode, left_right, mid_side
from chirrup.files.tags import with_tags
from chirrup.resampling import length_at, resampled


@dataclass(frozen=True)
class Encoded:
    """What `encode_file` did.

    Attributes:
        samples, sample_rate_hz, channels: of the source, samples of each channel.
        size_bytes: of the file.
        codes_bps: bitrate of the codes, of each channel that was coded.
        notes: what is wrong with the source, in words.
    """

    samples: int
    sample_rate_hz: int
    channels: int
    size_bytes: int
    codes_bps: int
    notes: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate_hz

    @property
    def bitrate_bps(self) -> float:
        """Of the whole file, all channels together."""
        return self.size_bytes * 8 / self.seconds if self.samples else 0.0


@dataclass
class Decoded:
    """What `decode_file` did.

    Attributes:
        samples, sample_rate_hz, channels: of the audio that was written.
        clipped_samples: samples beyond full scale, cut to it.
        damage: what was lost of a damaged file, and tags that the format cannot hold, in words.
    """

    sample_rate_hz: int
    channels: int
    samples: int = 0
    clipped_samples: int = 0
    damage: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate_hz


# --- encode ------------------------------------------------------------------------------------


def encode_file(
    codec: Codec,
    source: Source,
    target: Target,
    *,
    bitrate_bps: float | None = None,
    mix: bool = False,
    stereo: Stereo = "separate",
    raw: str | None = None,
    metadata: Mapping[str, str] | None = None,
    tags: bool = True,
    force: bool = False,
    to_end: bool = False,
    progress: Progress | None = None,
) -> Encoded:
    """Code audio of any format, rate and number of channels.

    Args:
        source: path, or binary file object such as a pipe.
        target: path, or binary file object; the latter gets each chunk as soon as it is whole.
        bitrate_bps: of each channel, or of all that the model codes jointly; the model's next lower
            one is taken if it is none of the model's. None is the model's default.
        mix: average all channels to one; else they are coded as the model does, each on its own or
            all jointly.
        stereo: what is coded of two channels: themselves, or half their sum and half their
            difference ("mid-side", which other numbers of channels and models of joint channels
            refuse).
        raw: format of a source without header, as ``s16@24000x1``.
        metadata: text to keep in the file.
        tags: keep title, artist, album, date, comment and some more tags of the source as metadata,
            unless ``metadata`` has entries of the same names.
        force: overwrite a ``.chirrup`` file; no other file is ever overwritten.
        to_end: of a source that is a file object, also read what follows the samples, so that its
            writer can end, and note what it is. A path is always read so.

    Raises:
        FileError: whatever a person can put right. A target given by path is then as before.
        OSError: reading or writing failed on the way, for example since the disk is full. Likewise.
    """
    try:
        codebooks = codec.codebooks_within(bitrate_bps)
    except ValueError as error:
        raise FileError(str(error)) from error
    codes_bps = codec.bitrates_bps[codebooks - 1]
    check_target(target, force, source, coded=True)
    with open_audio(source, raw) as audio:
        mode = channel_mode(codec, audio.channels, mix, stereo, source)
        channels = 1 if mode == "downmix" else audio.channels
        try:
            streams = codec.spec.streams(channels)
        except ValueError as error:
            raise FileError(f"{source_name(source)}: {error}") from error
        kept, too_long = with_tags(metadata or {}, audio.tags if tags else {})
        try:
            header = Header(
                model=codec.name,
                weights_hash=codec.codes_sha256,
                sample_rate_hz=codec.sample_rate_hz,
                original_sample_rate_hz=audio.sample_rate_hz,
                channels=streams,
                original_channels=audio.channels,
                channel_mode=mode,
                codebooks=codebooks,
                bits_per_code=codec.bits_per_code,
                frame_samples=codec.frame_samples,
                delay_samples=codec.delay_samples,
                preroll_frames=codec.spec.preroll_frames,
                bitrate_bps=codes_bps * streams,
                sample_count=audio.samples,
                metadata=kept,
            )
        except ValueError as error:  # the metadata is all that can be wrong
            raise FileError(str(error)) from error
        meter = Meter(audio, progress)
        with open_target(target, force) as file:
            counted = _Counted(file)
            writer = Writer(counted, header)
            blocks = meter.watch(audio.blocks)
            if mode == "downmix":
                blocks = (block.mean(axis=0, keepdims=True) for block in blocks)
            elif mode == "mid-side":
                blocks = map(mid_side, blocks)
            native = resampled(blocks, channels, audio.sample_rate_hz, codec.input_rate_hz)
            for codes in codec.encode_blocks(native, codebooks, channels):
                writer.write(codes)
            writer.finish(meter.samples)
        if to_end or isinstance(source, (str, Path)):
            audio.finish()
    shape = (meter.samples, audio.sample_rate_hz, audio.channels)
    notes = [*audio.notes, *too_long, *meter.notes()]
    return Encoded(*shape, counted.size, codes_bps, notes)


class _Counted:
    """Counts the bytes that are written."""

    def __init__(self, file: Writable) -> None:
        self.file, self.size = file, 0

    def write(self, data: bytes) -> int:
        written = self.file.write(data)
        written = len(data) if written is None else written
        self.size += written
        return written

    def flush(self) -> None:
        getattr(self.file, "flush", lambda: None)()


# --- decode ------------------------------------------------------------------------------------


def decode_file(
    codec: Codec | None,
    source: Source,
    target: Target,
    *,
    rate_hz: int | None = None,
    floating: bool = False,
    raw: bool = False,
    force: bool = False,
    force_model: bool = False,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    to_end: bool = False,
    max_seconds: float | None = None,
    tags: bool = True,
    progress: Progress | None = None,
) -> Decoded:
    """Turn a ``.chirrup`` file into audio of the length that was encoded, or a part of it.

    Args:
        codec: the model; None is the installed one that the file names.
        source: path, or binary file object such as a pipe.
        target: path, whose ending says the format; or binary file object, which gets WAV.
        rate_hz: sample rate to write; None is that of what was encoded.
        floating: write floating point; else 16 bits (or what the format has), which may clip.
        raw: write the samples only, without a header.
        force: overwrite.
        force_model: decode although the file was coded with other weights.
        start_seconds, end_seconds: the part to decode. It is what it would be in the whole; of a
            file that seeks, no more is read than it takes.
        to_end: as in `encode_file`, but where the part ends before the file does.
        max_seconds: longest output; None is 24 hours to a file, no limit elsewhere. If the source
            is known to be longer, it is refused before anything is written. If that shows on the
            way, decoding ends there, with a note.
        tags: write those of the metadata that are tags, as far as the format can hold them.

    Raises:
        FileError: whatever a person can put right. A target given by path is then as before.
        FormatError: the source is no ``.chirrup`` file, or its header is damaged. Damage after
            the header raises nothing: it is silence, or what the model makes of it, and a note.
        OSError: reading or writing failed on the way, for example since the disk is full.
    """
    with open_source(source) as file:
        reader = open_reader(file, source)
        check_target(target, force, source)
        if isinstance(target, (str, Path)) and not raw:
            audio_format(Path(target), floating)
        header = reader.header
        codec = codec or installed(header.model, source)
        check_model(codec, header, source, force_model)
        rate_hz = output_rate(header, rate_hz, source)
        excerpt = Excerpt.of(header, codec.chunk_frames, rate_hz, start_seconds, end_seconds)

        def length() -> int | None:
            count = reader.sample_count
            if count is None or rate_hz == header.original_sample_rate_hz:
                return count
            return length_at(count, header.original_sample_rate_hz, rate_hz)

        def length_from_origin() -> int | None:
            count = length()
            return None if count is None else max(0, count - excerpt.origin)

        surplus = (1 + codec.chunk_frames) * header.frame_samples  # the last chunk is filled up
        reserve = 2 + length_at(surplus, header.sample_rate_hz, rate_hz)
        samples = excerpt.length(length())
        most = most_samples(target, rate_hz, max_seconds)
        if reader.frames is not None:
            native = reader.frames * header.frame_samples
            decoded = length_at(native, header.sample_rate_hz, rate_hz)
            decoded = excerpt.length(min(decoded, length() or decoded))
            check_length(decoded, most, rate_hz, source)
        total = None if samples is None else samples / rate_hz
        joint = header.channel_mode == "joint"
        channels = header.original_channels if joint else header.channels
        result = Decoded(rate_hz, channels)
        frames = (_known(codes, codec, source) for _, codes in reader.chunks(excerpt.first_frame))
        native = codec.decode_blocks(frames, channels)
        if header.channel_mode == "mid-side":
            native = map(left_right, native)
        audio = resampled(native, channels, header.sample_rate_hz, rate_hz)
        with open_sink(
            target,
            rate_hz,
            channels,
            samples,
            floating=floating,
            raw=raw,
            force=force,
            metadata=header.metadata if tags else None,
            notes=result.damage,
        ) as sink:
            part = excerpt.of_blocks(cut(audio, length_from_origin, reserve))
            for block in up_to(part, most, rate_hz, result.damage):
                sink.write(_written_as(block, floating, result))
                result.samples += block.shape[1]
                if progress:
                    progress(result.seconds, total)
            if start_seconds and not result.samples:
                raise FileError(f"{source_name(source)} ends before {start_seconds:g} s")
        if to_end or reader.seekable or isinstance(source, (str, Path)):
            reader.finish()
        result.damage.extend(reader.damage)
    return result


def _known(codes: np.ndarray, codec: Codec, source: Source) -> np.ndarray:
    """Codes of a file as they are, or FileError: the bits of a code can count beyond a codebook
    whose size is no power of two."""
    largest = codes.max(initial=ABSENT)
    if largest >= codec.codebook_size:
        raise FileError(
            f"{source_name(source)} has code {largest}, which is not in the codebooks of "
            f"{codec.name}, of {codec.codebook_size} entries: the file is damaged"
        )
    return codes


def _written_as(block: np.ndarray, floating: bool, result: Decoded) -> np.ndarray:
    """``[samples, channels]`` in the type to write; counts what clips."""
    if floating:
        return np.ascontiguousarray(block.T)
    result.clipped_samples += int(np.count_nonzero(np.abs(block) > 1))
    whole = np.rint(block.T * 32768.0).clip(-32768, 32767)
    return np.ascontiguousarray(whole, np.int16)
