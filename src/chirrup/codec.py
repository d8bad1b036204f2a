"""The class `Codec`: a trained model that encodes and decodes signals and live streams."""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from chirrup.batches import each, rows
from chirrup.code_vectors import embed
from chirrup.codes import Codes, all_codebooks, checked, checked_codes, checked_piece
from chirrup.concealment import ConcealingDecoder
from chirrup.encoding import ChunkEncoder
from chirrup.loaded_model import LoadedModel
from chirrup.resampling import checked_rate, length_at, resample_blocks
from chirrup.stream import Decoder, Encoder


class Codec(LoadedModel):
    """A loaded model that encodes and decodes signals and live streams.

    A codec has no state of a signal: it is thread-safe, and it can be pickled and copied. Each
    stream that `encoder` or `decoder` returns has its state and belongs to one thread at a time.

    >>> codec = chirrup.load()
    >>> audio = codec.decode(codec.encode(audio, bitrate_bps=1000))

    `LoadedModel` documents the arguments, the errors and the attributes, such as ``sample_rate_hz``
    and ``bitrates_bps``.
    """

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

        Raises:
            ValueError: a piece has another shape, or samples that are not floating point or not
                finite, or the model does not support the number of codebooks or of channels.
            TypeError: a piece is not an array.
        """
        frames = self.block_frames if piece_frames is None else piece_frames
        encoder = ChunkEncoder(self.spec, self._encoder, channels, codebooks, frames)
        for piece in pieces:
            yield from encoder.push(checked_piece(piece, channels))
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
        data = checked_codes(codes)
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

        Raises:
            ValueError: a piece has another shape, or a code is out of range.
            TypeError: a piece is not an array.
        """
        streams, skip = self.spec.streams(channels), self.delay_samples
        decoder = ConcealingDecoder(self.spec, self._decoder, streams)
        whole = (all_codebooks(piece, self.spec, streams) for piece in pieces)
        blocks = (block for piece in whole for block in decoder.push(piece))
        for block in chain(blocks, decoder.finish()):
            audio = block.reshape(-1, block.shape[-1])
            if channels < len(audio):
                audio = audio.mean(axis=0, keepdims=True)
            yield audio[:, skip:]
            skip = max(0, skip - audio.shape[1])

    def embed(self, codes: Codes | np.ndarray) -> np.ndarray:
        """Return the input of the decoder's network: the sum of the vectors of the codes.

        Absent codes add nothing. A frame whose codes are all absent is zero.

        Args:
            codes: as in `decode`.

        Returns:
            ``float32 [dimension, frames]`` or ``[streams, dimension, frames]``.

        Raises:
            ValueError: the shape is wrong, or a code is out of range.
            TypeError: ``codes`` is not an array.
            ModelError: the model has no vectors of codes, see ``code_vectors``.
        """
        data = checked_codes(codes)
        total = embed(data[None] if data.ndim == 2 else data, self.code_vectors, self.spec)
        return total[0] if data.ndim == 2 else total

    # --- batches ---------------------------------------------------------------------------------

    def encode_batch(
        self,
        audio: Sequence[np.ndarray] | np.ndarray,
        bitrate_bps: float | None = None,
        *,
        lengths: Sequence[int] | np.ndarray | None = None,
        sample_rate_hz: int | None = None,
        workers: int = 1,
    ) -> list[Codes]:
        """Encode signals of any lengths, each to the codes that `encode` returns for it alone.

        Args:
            audio: a list of signals as `encode` takes them, or an array ``[batch, samples]`` or
                ``[batch, channels, samples]``.
            bitrate_bps: as in `encode`.
            lengths: samples of each signal, ``int [batch]``, if signals are padded to one length.
            sample_rate_hz: as in `encode`.
            workers: number of signals to encode at a time, on a core each.

        Raises:
            ValueError: as in `encode`, with the number of the signal.
            TypeError: an argument has the wrong type.
        """
        self.codebooks_at(bitrate_bps)
        rate_hz = self.input_rate_hz if sample_rate_hz is None else checked_rate(sample_rate_hz)

        def one(signal: np.ndarray) -> Codes:
            return self.encode(signal, bitrate_bps, sample_rate_hz=rate_hz)

        return each(one, rows(audio, lengths), workers)

    def decode_batch(
        self,
        codes: Sequence[Codes | np.ndarray] | np.ndarray,
        *,
        lengths: Sequence[int] | np.ndarray | None = None,
        workers: int = 1,
    ) -> list[np.ndarray]:
        """Decode codes of any lengths, each to the signal that `decode` returns for it alone.

        Args:
            codes: a list of codes as `decode` takes them, or an array ``[batch, codebooks,
                frames]`` or ``[batch, streams, codebooks, frames]``.
            lengths: frames of each signal, ``int [batch]``, if arrays are padded to one length.
            workers: number of signals to decode at a time, on a core each.

        Raises:
            ValueError: as in `decode`, with the number of the signal.
            TypeError: an argument has the wrong type.
        """
        return each(self.decode, rows(codes, lengths), workers)

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
