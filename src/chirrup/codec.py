"""A codec: a trained model that codes and decodes signals and live streams."""

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
from chirrup.errors import ModelError
from chirrup.model_json import read_spec
from chirrup.resampling import checked_rate, length_at, resampled
from chirrup.runtime.engine import Engine
from chirrup.runtime.graph import Graph, Sessions, Weights
from chirrup.runtime.graph_file import WEIGHTS
from chirrup.stream import Decoder, Encoder


class Codec:
    """A loaded model.

    Thread-safe: it holds no state of any signal, and calls may run at the same time. The streams
    that `encoder` and `decoder` give are independent; each belongs to one thread at a time.

    Attributes:
        name: the model's name.
        sample_rate_hz: sample rate of the decoded audio. All sample counts use it, except
            ``input_frame_samples``.
        input_rate_hz, input_frame_samples: sample rate of the audio that an encoder takes, and its
            samples a frame. Most models have one rate.
        channels: channels that the model codes jointly, as one stream of codes; mono is repeated to
            all of them, and averaged after decoding. If 1, any number are coded one by one.
        frame_samples: samples a frame.
        chunk_frames, block_frames: frames coded at once in a live stream, and in a signal.
        packet_frames: frames in a packet of a live stream by default.
        delay_samples: how late a decoder stream's output is, beside the encoder's input. `decode`
            removes it.
        latency_samples: algorithmic latency of a live stream: a chunk of frames and the delay.
        codebooks, codebook_size: most codes a frame, and how many values each can have.
        lowest_bitrate_bps: the lowest that the model was trained for; lower ones sound bad.
        bits_per_code: bits of a code in files and packets.
        frame_rate_hz: frames a second.
        weights_sha256, codes_sha256: hexadecimal hashes of the weights, and of those that files are
            coded with, which are others only where `chirrup export` gave weights of 8 bits.
        spec, description: the checked values of ``model.json``, and everything in it.
    """

    def __init__(self, folder: str | Path, *, threads: int = 1) -> None:
        name, folder = str(folder), Path(folder).absolute()
        if not folder.is_dir():
            raise ModelError(f"no folder {name!r}: chirrup.load({name!r}) loads a model by name")
        self.spec, self.description = read_spec(folder)
        spec = self.spec
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
        """Bitrates of a channel, or of all coded jointly, for each number of codebooks from 1."""
        return self.spec.bitrates_bps

    def codebooks_at(self, bitrate_bps: float | None) -> int:
        """Codebooks of a bitrate; None is the model's default bitrate.

        Raises:
            ValueError: the model has no such bitrate.
            TypeError: the bitrate is no number.
        """
        bitrate_bps = self.default_bitrate_bps if bitrate_bps is None else bitrate_bps
        if bitrate_bps not in self.bitrates_bps:
            raise self._no_bitrate(bitrate_bps)
        return self.bitrates_bps.index(int(bitrate_bps)) + 1

    def codebooks_within(self, bitrate_bps: float | None) -> int:
        """Codebooks of the highest bitrate not above the one asked for, such as 62016 for 64000.

        Raises:
            ValueError: it is below the lowest, or above the highest by a codebook or more.
            TypeError: it is no number.
        """
        if bitrate_bps is None:
            return self.codebooks_at(None)
        rates = self.bitrates_bps
        if isinstance(bitrate_bps, Real) and rates[0] <= bitrate_bps < rates[-1] + rates[0]:
            return sum(rate <= bitrate_bps for rate in rates)
        raise self._no_bitrate(bitrate_bps)

    def _no_bitrate(self, bitrate_bps: object) -> ValueError | TypeError:
        if not isinstance(bitrate_bps, Real):
            return TypeError(f"bitrate_bps is a number of bit/s, such as 6000; got {bitrate_bps!r}")
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
        """Code a signal.

        Args:
            audio: ``float32 [samples]`` or ``[channels, samples]``, full scale 1. Samples beyond
                full scale are limited to it. Channels are coded as ``channels`` says.
            bitrate_bps: one of ``bitrates_bps``, for each stream.
            sample_rate_hz: sample rate of ``audio``, which is resampled if the model takes
                another. None is ``input_rate_hz``.

        Raises:
            ValueError: wrong shape, samples that are not finite or no floating point, more
                channels than are coded jointly, no such bitrate or sample rate.
            TypeError: an argument of another type.
        """
        count = self.codebooks_at(bitrate_bps)
        rate_hz = self.input_rate_hz if sample_rate_hz is None else checked_rate(sample_rate_hz)
        signal = checked(audio)
        samples = length_at(signal.shape[1], rate_hz, self.sample_rate_hz)
        size = self.block_frames * self.input_frame_samples
        parts = (signal[:, start : start + size] for start in range(0, signal.shape[1], size))
        native = resampled(parts, len(signal), rate_hz, self.input_rate_hz)
        data = np.concatenate([*self.encode_blocks(native, count, len(signal))], axis=2)
        joint = len(signal) if self.channels > 1 else None
        return Codes(data[0] if np.ndim(audio) == 1 else data, samples, joint)

    def encode_blocks(
        self, pieces: Iterator[np.ndarray], codebooks: int, channels: int = 1
    ) -> Iterator[np.ndarray]:
        """Code a signal that comes piece by piece, in constant memory.

        Args:
            pieces: each ``float32 [channels, any number of samples]`` at ``input_rate_hz``.
            codebooks: how many of the first codebooks to keep.

        Yields:
            ``int16 [streams, codebooks, frames]`` (int32 for codes of 16 bits), in all as many
            whole chunks of frames as samples and ``delay_samples`` reach into.
        """
        encoder = ChunkEncoder(self.spec, self._encoder, channels, codebooks, self.block_frames)
        for piece in pieces:
            yield from encoder.push(piece)
        yield from encoder.finish()

    def decode(self, codes: Codes | np.ndarray) -> np.ndarray:
        """Turn codes back into a signal of the length it had.

        Args:
            codes: what `encode` gave, or ``int [codebooks, frames]`` or
                ``[streams, codebooks, frames]``, whose length is then as long as the frames reach.

        Returns:
            ``float32 [samples]`` or ``[channels, samples]``.

        Raises:
            ValueError: wrong shape, or a code that the codebooks do not have.
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
        """Decode codes that come piece by piece, in constant memory; the delay is removed.

        Lost frames are concealed, and a long gap fades to silence.

        Args:
            pieces: each ``int [streams, codebooks, any number of frames]``.
            channels: to give. Of those coded jointly, 1 is their average.

        Yields:
            ``float32 [channels, samples]``.
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
        """A live stream in: samples to packets.

        Args:
            bitrate_bps: one of ``bitrates_bps``, redundancy not counted.
            frames_per_packet: 1 to 4; by default ``packet_frames``.
            redundancy: codebooks of the packet before that each packet carries again, so that a
                single lost packet can be heard, if coarsely; at most 16. 0 carries nothing.
            sample_rate_hz: sample rate of the samples, as in `encode`. Resampling adds 40 ms of
                latency, from 8 kHz 80 ms.
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
        """A live stream out: packets, or None for a lost one, to samples."""
        frames = self.packet_frames if frames_per_packet is None else frames_per_packet
        return Decoder(self.spec, self._decoder, frames_per_packet=frames)

    def graphs(self) -> tuple[Engine, Engine]:
        """The encoder's and the decoder's engine, for those who keep the state themselves."""
        return self._encoder, self._decoder

    def with_decoder(self, decoder: Engine) -> Self:
        """A codec like this one that decodes with another engine."""
        changed = copy(self)
        changed._decoder = decoder
        return changed

    @cached_property
    def _sessions(self) -> Sessions:
        weights = Weights(self.folder / WEIGHTS, self.spec.weights)
        return Sessions(self.folder, weights, self.spec.graphs_sha256, self.threads)

    @cached_property
    def _encoder(self) -> Engine:
        return self.graph("encoder")

    @cached_property
    def _decoder(self) -> Engine:
        return self.graph("decoder")

    def graph(self, part: str) -> Graph:
        """The "encoder" or the "decoder" in ONNX Runtime."""
        spec, chunk = self.spec, self.chunk_frames
        codes = (self.codebooks, chunk)
        if part == "encoder":
            audio, states = (self.channels, chunk * self.input_frame_samples), spec.encoder_states
            return Graph(self._sessions, part, states, audio, codes, self.codebook_size)
        audio = (self.channels, chunk * self.frame_samples)
        return Graph(self._sessions, part, spec.decoder_states, codes, audio)
