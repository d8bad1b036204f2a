"""`encode_file` and `decode_file`: audio files to ``.chirrup`` files, and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chirrup.bitstream import Header, Writer, max_chunk_frames
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
from chirrup.files.meter import Meter, Progress, levelled
from chirrup.files.outputs import (
    Counted,
    Player,
    Target,
    audio_format,
    check_target,
    open_sink,
    open_target,
)
from chirrup.files.stereo import Stereo, channel_mode, left_right, mid_side
from chirrup.files.tags import with_tags
from chirrup.resampling import length_at, resample_blocks


@dataclass(frozen=True)
class Encoded:
    """The result of `encode_file`.

    Attributes:
        samples: samples of each channel of the source.
        sample_rate_hz: sample rate of the source.
        channels: number of channels of the source.
        size_bytes: size of the ``.chirrup`` file.
        codes_bps: bitrate of each stream of codes, in bit/s.
        notes: descriptions of faults of the source, such as clipping.
    """

    samples: int
    sample_rate_hz: int
    channels: int
    size_bytes: int
    codes_bps: int
    notes: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Duration of the source."""
        return self.samples / self.sample_rate_hz

    @property
    def bitrate_bps(self) -> float:
        """Bitrate of the ``.chirrup`` file, all channels together, in bit/s."""
        return self.size_bytes * 8 / self.seconds if self.samples else 0.0


@dataclass
class Decoded:
    """The result of `decode_file`.

    Attributes:
        sample_rate_hz: sample rate of the output.
        channels: number of channels of the output.
        samples: samples of each channel of the output.
        clipped_samples: number of samples beyond full scale, which were limited to it.
        damage: descriptions of the damage of the file, and of tags that the format cannot hold.
    """

    sample_rate_hz: int
    channels: int
    samples: int = 0
    clipped_samples: int = 0
    damage: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Duration of the output."""
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
    chunk_ms: float | None = None,
    level: bool = False,
    metadata: Mapping[str, str] | None = None,
    tags: bool = True,
    force: bool = False,
    to_end: bool = False,
    progress: Progress | None = None,
) -> Encoded:
    """Encode audio of any format, sample rate and number of channels to a ``.chirrup`` file.

    >>> encode_file(chirrup.load(), "talk.wav", "talk.chirrup", bitrate_bps=1000)

    Args:
        codec: the model.
        source: path, or a binary file object such as a pipe.
        target: path, or a binary file object, which gets each chunk as soon as it is complete.
        bitrate_bps: highest bitrate of each stream of codes, in bit/s. None is the model's default.
        mix: average all channels to one. Otherwise the model codes each channel on its own, or all
            jointly.
        stereo: "separate" codes two channels as they are. "mid-side" codes half their sum and half
            their difference, and requires a model of one channel.
        raw: format of a source without a header, such as ``s16@24000x1``.
        chunk_ms: longest duration of a chunk in ms, but at least one frame of the model, or all
            frames that it codes at once. None is two seconds. A pipe is delayed by one chunk.
        level: raise quiet speech with `LevelControl`.
        metadata: text to store in the file, by key.
        tags: store title, artist, album, date, comment and further tags of the source as metadata,
            unless ``metadata`` has entries of the same names.
        force: overwrite a ``.chirrup`` file. Other files are never overwritten.
        to_end: read a file object also after the samples, so that its writer does not fail. A path
            is always read to its end.
        progress: called with the seconds done and the total, or None if it is not known.

    Raises:
        FileError: a file cannot be read or written, or an argument is not supported. A target given
            by path is then unchanged.
        OSError: reading or writing failed, for example because the disk is full. A target given by
            path is then unchanged.
    """
    try:
        codebooks = codec.codebooks_within(bitrate_bps)
        chunk_frames = None if chunk_ms is None else codec.spec.frames_within(chunk_ms)
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
        except ValueError as error:  # only the metadata can be wrong
            raise FileError(str(error)) from error
        pieces = None
        if chunk_frames is not None:
            pieces, chunk_frames = codec.chunk_frames, min(chunk_frames, max_chunk_frames(header))
        meter = Meter(audio, progress)
        with open_target(target, force) as file:
            counted = Counted(file)
            writer = Writer(counted, header, chunk_frames)
            blocks = meter.watch(levelled(audio) if level else audio.blocks)
            if mode == "downmix":
                blocks = (block.mean(axis=0, keepdims=True) for block in blocks)
            elif mode == "mid-side":
                blocks = map(mid_side, blocks)
            native = resample_blocks(blocks, channels, audio.sample_rate_hz, codec.input_rate_hz)
            for codes in codec.encode_blocks(native, codebooks, channels, pieces):
                writer.write(codes)
            writer.finish(meter.samples)
        if to_end or isinstance(source, (str, Path)):
            audio.finish()
    shape = (meter.samples, audio.sample_rate_hz, audio.channels)
    notes = [*audio.notes, *too_long, *meter.notes()]
    return Encoded(*shape, counted.size, codes_bps, notes)


# --- decode ------------------------------------------------------------------------------------


def decode_file(
    codec: Codec | None,
    source: Source,
    target: Target | Player,
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
    """Decode a ``.chirrup`` file, or a part of it, to audio.

    >>> decode_file(None, "talk.chirrup", "part.wav", start_seconds=90, end_seconds=105)

    Args:
        codec: the model. None is the installed model that the file names.
        source: path, or a binary file object such as a pipe.
        target: path, whose ending selects the format, or a binary file object, which gets WAV,
            or a player, which gets the samples.
        rate_hz: sample rate of the output. None is the rate of the encoded audio.
        floating: write floating-point samples. Otherwise the samples have 16 bits, or a type of the
            format, and may clip.
        raw: write only the samples, without a header.
        force: overwrite an existing file.
        force_model: decode although the file was coded with other weights.
        start_seconds: start of the part. Only the chunks that the part needs are read, if the
            source is seekable.
        end_seconds: end of the part. None is the end of the file.
        to_end: as in `encode_file`, unless the part ends before the file.
        max_seconds: longest output. None is 24 hours for a file, and no limit otherwise. If the
            length is known to be greater, FileError is raised before anything is written.
            Otherwise decoding ends at the limit, with a note in ``damage``.
        tags: write the metadata that are tags, if the format can hold them.
        progress: called with the seconds done and the total, or None if it is not known.

    Raises:
        FileError: a file cannot be read or written, or an argument is not supported. A target given
            by path is then unchanged.
        FormatError: the source is not a ``.chirrup`` file, or its header is damaged. Later damage
            does not raise an error: lost frames are concealed, and ``damage`` has notes.
        OSError: reading or writing failed, for example because the disk is full.
    """
    with open_source(source) as file:
        reader = open_reader(file, source)
        check_target(target, force, source)
        if isinstance(target, (str, Path)) and not raw:
            audio_format(Path(target), floating)
        header = reader.header
        codec = codec or installed(header.model, header.weights_hash, source)
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

        # The encoder fills up the last chunk. Resampling of its input can add a sample to it.
        surplus = codec.chunk_frames * header.frame_samples
        surplus += length_at(1, codec.input_rate_hz, header.sample_rate_hz)
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
        audio = resample_blocks(native, channels, header.sample_rate_hz, rate_hz)
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
                sink.write(written_as(block, floating, result))
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
    """Return the codes, or raise FileError if one is out of range.

    The bits of a code can hold values beyond a codebook whose size is not a power of two.
    """
    largest = codes.max(initial=ABSENT)
    if largest >= codec.codebook_size:
        raise FileError(
            f"{source_name(source)} has code {largest}, which is not in the codebooks of "
            f"{codec.name} with {codec.codebook_size} entries: the file is damaged"
        )
    return codes


def written_as(block: np.ndarray, floating: bool, result: Decoded) -> np.ndarray:
    """Convert a block to ``[samples, channels]`` of the output's type; count clipped samples."""
    if floating:
        return np.ascontiguousarray(block.T)
    result.clipped_samples += int(np.count_nonzero(np.abs(block) > 1))
    whole = np.rint(block.T * 32768.0).clip(-32768, 32767)
    return np.ascontiguousarray(whole, np.int16)
