"""The class `Codec`: a trained model that encodes and decodes signals and live streams."""

from collections.abc import Iterator
from copy import copy
from functools import cached_property
from itertools import chain
from numbers import Real
from pathlib import Path
from typing import Self

import numpy as np

from chirrup.bitstream import code_dtype
from chirrup.codes import Codes, all_codebooks, as_array, checked
from chirrup.concealment import ConcealingDecoder
from chirrup.encoding import ChunkEncoder
from chirrup.engines import choose_engine, open_engines
from chirrup.errors import ModelError
from chirrup.model_json import check_files, read_spec
from chirrup.resampling import checked_rate, length_at, resample_blocks
from chirrup.runtime.engine import Engine
from chirrup.stream import Decoder, Encoder


class Codec:
    """A loaded model that encodes and decodes signals and live streams.

    A codec has no state of a signal: it is thread-safe, and it can be pickled and copied. Each
    stream that `encoder` or `decoder` returns has its state and belongs to one thread at a time.

    >>> codec = chirrup.load()
    >>> audio = codec.decode(codec.encode(audio, bitrate_bps=1000))

    Args:
        folder: a model folder, which ``chirrup export`` wrote.
        threads: number of threads that one call of ONNX Runtime may use. The native engine uses
            one.
        engine: "native" or "onnx"; see `engines.choose_engine`.

    Raises:
        ModelError: the folder does not exist, a file in it is missing, damaged or of a newer
            format, or the engine cannot run the model.
        UsageError: there is no such engine.

    Attributes:
        name: name of the model.
        sample_rate_hz: sample rate of the decoded audio, in Hz. All sample counts use it, except
            ``input_frame_samples``.
        input_rate_hz: sample rate of the encoder's input, in Hz. In most models it equals
            ``sample_rate_hz``.
        input_frame_samples: samples in a frame of the encoder's input.
        channels: number of channels that the model codes jointly, as one stream of codes. If it is
            1, the channels of a signal are coded one by one. If it is higher, mono input is
            repeated to all channels, and is decoded to the average of the channels.
        frame_samples: samples in a frame of the decoded audio.
        frame_rate_hz: frames per second.
        chunk_frames: frames that a live stream codes at once.
        block_frames: frames that `encode` and `decode` code at once.
        packet_frames: default number of frames in a packet of a live stream.
        delay_samples: delay of a live decoder's output after the encoder's input. `decode`
            removes it.
        latency_samples: algorithmic latency of a live stream: one chunk and the delay.
        codebooks: highest number of codes per frame.
        codebook_size: number of values of a code.
        bits_per_code: bits of a code in files and packets.
        code_dtype: int16, or int32 if codes have 16 bits.
        default_bitrate_bps: bitrate if none is given, in bit/s.
        lowest_bitrate_bps: lowest bitrate that the model was trained for, in bit/s. Lower bitrates
            sound bad.
        weights_sha256: SHA-256 of the stored weights, in hexadecimal.
        codes_sha256: SHA-256 of the weights that produced the codes. It differs from
            ``weights_sha256`` only in 8-bit exports.
        engine: engine that runs the model, "native" or "onnx".
        spec: the checked values of ``model.json``.
        description: the whole content of ``model.json``.
    """

    def __init__(self, folder: str | Path, *, threads: int = 1, engine: str | None = None) -> None:
        name, folder = str(folder), Path(folder).absolute()
        if not folder.is_dir():
            raise ModelError(f"no folder {name!r}; chirrup.load({name!r}) loads a model by name")
        self.spec, self.description = read_spec(folder)
        spec = self.spec
        self.engine = choose_engine(engine, folder, spec)
        check_files(folder, spec, self.engine)
        self.name, self.channels = spec.name, spec.channels
        self.sample_rate_hz, self.frame_samples = spec.sample_rate_hz, spec.frame_samples
        self.input_rate_hz, self.input_frame_samples = spec.input_rate_hz, spec.input_frame_samples
        self.chunk_frames, self.frame_rate_hz = spec.chunk_frames, spec.frame_rate_hz
        self.delay_samples, self.latency_samples = spec.delay_samples, spec.latency_samples
        self.codebooks, self.codebook_size = spec.codebooks, spec.codebook_size
        self.default_bitrate_bps = spec.default_bitrate_bps
        self.lowest_bitrate_bps = spec.lowest_bitrate_bps
        self.weights_sha256, self.codes_sha256 = spec.weights_sha256, spec.codes_sha256
        self.bits_per_code = spec.bits_per_code
        self.code_dtype = code_dtype(self.bits_per_code)
        self.block_frames, self.packet_frames = spec.block_frames, spec.packet_frames
        self.folder, self.threads = folder, threads

    def __repr__(self) -> str:
        return (
            f"<Codec {self.name}: {self.sample_rate_hz} Hz, "
            f"{self.bitrates_bps[0]} to {self.bitrates_bps[-1]} bit/s>"
        )

    @property
    def bitrates_bps(self) -> list[int]:
        """Bitrates in bit/s of one stream of codes, for 1, 2, ... codebooks."""
        return self.spec.bitrates_bps

    def codebooks_at(self, bitrate_bps: float | None) -> int:
        """Return the number of codebooks of a bitrate.

        Args:
            bitrate_bps: one of ``bitrates_bps``. None is ``default_bitrate_bps``.

        Raises:
            ValueError: the model does not have this bitrate.
            TypeError: the bitrate is not a number.
        """
        bitrate_bps = self.default_bitrate_bps if bitrate_bps is None else bitrate_bps
        if bitrate_bps not in self.bitrates_bps:
            raise self._no_bitrate(bitrate_bps)
        return self.bitrates_bps.index(int(bitrate_bps)) + 1

    def codebooks_within(self, bitrate_bps: float | None) -> int:
        """Return the number of codebooks of the highest bitrate that is not above a limit.

        A limit of 64000 bit/s selects, for example, a bitrate of 62016 bit/s.

        Args:
            bitrate_bps: the limit, in bit/s. None selects ``default_bitrate_bps``.

        Raises:
            ValueError: the limit is below the lowest bitrate, or above the highest one by at least
                the bitrate of a codebook.
            TypeError: the limit is not a number.
        """
        if bitrate_bps is None:
            return self.codebooks_at(None)
        rates = self.bitrates_bps
        if isinstance(bitrate_bps, Real) and rates[0] <= bitrate_bps < rates[-1] + rates[0]:
            return sum(rate <= bitrate_bps for rate in rates)
        raise self._no_bitrate(bitrate_bps)

    def _no_bitrate(self, bitrate_bps: object) -> ValueError | TypeError:
        if not isinstance(bitrate_bps, Real):
            return TypeError(f"bitrate_bps must be in bit/s, such as 6000; got {bitrate_bps!r}")
        choices = ", ".join(map(str, self.bitrates_bps))
        return ValueError(f"{self.name} has no bitrate of {bitrate_bps:g} bit/s; it has {choices}")

    # --- whole signals ---------------------------------------------------------------------------

    def encode(
        self,
        audio: np.ndarray,
        bitrate_bps: float | None = None,
        *,
        sample_rate_hz: int | None = None,
    ) -> Codes:
        """Encode a signal.

        Args:
            audio: ``float32 [samples]`` or ``[channels, samples]`` with a full scale of 1. Samples
                beyond full scale are limited to it. If the model codes several channels jointly,
                the audio must have 1 or ``channels`` channels.
            bitrate_bps: one of ``bitrates_bps``, for each stream of codes. None is
                ``default_bitrate_bps``.
            sample_rate_hz: sample rate of ``audio``, which is resampled to ``input_rate_hz``. None
                is ``input_rate_hz``.

        Returns:
            The codes. ``data`` is ``[codebooks, frames]`` if ``audio`` has one axis, else
            ``[streams, codebooks, frames]``.

        Raises:
            ValueError: the shape is wrong, the samples are not floating point or not finite, or the
                model does not support the bitrate, the sample rate or the number of channels.
            TypeError: an argument has the wrong type.
        """
        count = self.codebooks_at(bitrate_bps)
        rate_hz = self.input_rate_hz if sample_rate_hz is None else checked_rate(sample_rate_hz)
        signal = checked(audio)
        samples = length_at(signal.shape[1], rate_hz, self.sample_rate_hz)
        size = self.block_frames * self.input_frame_samples
        parts = (signal[:, start : start + size] for start in range(0, signal.shape[1], size))
        native = resample_blocks(parts, len(signal), rate_hz, self.input_rate_hz)
        data = np.concatenate([*self.encode_blocks(native, count, len(signal))], axis=2)
        joint = len(signal) if self.channels > 1 else None
        return Codes(data[0] if np.ndim(audio) == 1 else data, samples, joint)

    def encode_blocks(
        self,
        pieces: Iterator[np.ndarray],
        codebooks: int,
        channels: int = 1,
        piece_frames: int | None = None,
    ) -> Iterator[np.ndarray]:
        """Encode a signal piece by piece, in constant memory.

        Args:
            pieces: the signal in pieces ``float32 [channels, any number of samples]`` at
                ``input_rate_hz``.
            codebooks: number of codebooks to keep, from the first on.
            channels: number of channels of the signal.
            piece_frames: frames to code at once, in whole chunks. None is ``block_frames``.

        Yields:
            Codes ``[streams, codebooks, frames]`` of type ``code_dtype``. Together they are the
            whole chunks that cover the signal and ``delay_samples`` after it.
        """
        frames = self.block_frames if piece_frames is None else piece_frames
        encoder = ChunkEncoder(self.spec, self._encoder, channels, codebooks, frames)
        for piece in pieces:
            yield from encoder.push(piece)
        yield from encoder.finish()

    def decode(self, codes: Codes | np.ndarray) -> np.ndarray:
        """Decode a signal.

        Args:
            codes: the codes that `encode` returned, or an array ``int [codebooks, frames]`` or
                ``[streams, codebooks, frames]``. Higher codebooks may be left out. Frames of -1 are
                lost; they are concealed.

        Returns:
            ``float32 [samples]`` or ``[channels, samples]`` at ``sample_rate_hz``. `Codes` give the
            length of the encoded signal; an array gives ``frames * frame_samples`` samples less
            ``delay_samples``.

        Raises:
            ValueError: the shape is wrong, or a code is out of range.
            TypeError: ``codes`` is not an array.
        """
        given = codes.channels if isinstance(codes, Codes) else None
        form = "integers [codebooks, frames] or [streams, codebooks, frames]"
        data = as_array(codes.data if isinstance(codes, Codes) else codes, "codes", form)
        if data.ndim not in (2, 3) or not np.issubdtype(data.dtype, np.integer):
            raise ValueError(f"codes must be {form}; got {data.dtype} {list(data.shape)}")
        streams = data[None] if data.ndim == 2 else data
        channels = len(streams) if self.channels == 1 else given or self.channels
        if len(streams) != self.spec.streams(channels):
            raise ValueError(f"{self.name} has one stream of codes, got {len(streams)}")
        empty = np.zeros((channels, 0), np.float32)
        audio = np.concatenate([empty, *self.decode_blocks(iter([streams]), channels)], axis=1)
        if isinstance(codes, Codes):
            audio = audio[:, : codes.samples]
        return audio[0] if data.ndim == 2 and channels == 1 else audio

    def decode_blocks(
        self, pieces: Iterator[np.ndarray], channels: int = 1
    ) -> Iterator[np.ndarray]:
        """Decode codes piece by piece, in constant memory, and remove the delay.

        Lost frames are concealed, and a long gap fades to silence.

        Args:
            pieces: the codes in pieces ``int [streams, codebooks, any number of frames]``.
            channels: number of channels to return. If the model codes several channels jointly, 1
                returns their average.

        Yields:
            ``float32 [channels, samples]`` at ``sample_rate_hz``.
        """
        streams, skip = self.spec.streams(channels), self.delay_samples
        decoder = ConcealingDecoder(self.spec, self._decoder, streams)
        blocks = (
            block for piece in pieces for block in decoder.push(all_codebooks(piece, self.spec))
        )
        for block in chain(blocks, decoder.finish()):
            audio = block.reshape(-1, block.shape[-1])
            if channels < len(audio):
                audio = audio.mean(axis=0, keepdims=True)
            yield audio[:, skip:]
            skip = max(0, skip - audio.shape[1])

    # --- live streams ----------------------------------------------------------------------------

    def encoder(
        self,
        bitrate_bps: float | None = None,
        *,
        frames_per_packet: int | None = None,
        redundancy: int = 0,
        sample_rate_hz: int | None = None,
    ) -> Encoder:
        """Return the sender's end of a live stream, which encodes samples to packets.

        >>> enc, dec = codec.encoder(bitrate_bps=6000), codec.decoder()
        >>> audio = [dec.push(packet) for packet in enc.push(samples)]

        Args:
            bitrate_bps: one of ``bitrates_bps``, without the redundancy. None is
                ``default_bitrate_bps``.
            frames_per_packet: 1 to 4. None is ``packet_frames``.
            redundancy: number of codebooks of the previous packet that each packet repeats, at most
                16. If a single packet is lost, the decoder then decodes it at a lower bitrate.
            sample_rate_hz: sample rate of the samples. None is ``input_rate_hz``. Resampling adds
                40 ms of latency, or 80 ms from 8 kHz.

        Raises:
            ValueError: an argument is out of range.
            TypeError: an argument has the wrong type.
        """
        count = self.codebooks_at(bitrate_bps)
        frames = self.packet_frames if frames_per_packet is None else frames_per_packet
        return Encoder(
            self.spec,
            self._encoder,
            count,
            frames_per_packet=frames,
            redundancy=redundancy,
            sample_rate_hz=self.input_rate_hz if sample_rate_hz is None else sample_rate_hz,
        )

    def decoder(self, *, frames_per_packet: int | None = None) -> Decoder:
        """Return the receiver's end of a live stream, which decodes packets to samples.

        Args:
            frames_per_packet: number of frames, 1 to 4, of a packet that is lost before any packet
                has arrived. None is ``packet_frames``.

        Raises:
            ValueError: ``frames_per_packet`` is out of range.
        """
        frames = self.packet_frames if frames_per_packet is None else frames_per_packet
        return Decoder(self.spec, self._decoder, frames_per_packet=frames)

    def engines(self) -> tuple[Engine, Engine]:
        """Return the engines of the encoder and the decoder, for callers that manage the state."""
        return self._encoder, self._decoder

    def with_decoder(self, decoder: Engine) -> Self:
        """Return a copy of this codec that decodes with another engine."""
        changed = copy(self)
        changed._decoder = decoder
        return changed

    @cached_property
    def _both(self) -> tuple[Engine, Engine]:
        return open_engines(self.folder, self.spec, self.engine, self.threads)

    @cached_property
    def _encoder(self) -> Engine:
        return self._both[0]

    @cached_property
    def _decoder(self) -> Engine:
        return self._both[1]
