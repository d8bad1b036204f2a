"""A codec: a trained model that codes and decodes signals and live streams."""

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.codes import ABSENT, Codes
from chirrup.runtime.errors import ModelError
from chirrup.runtime.graph import Graph, Weights
from chirrup.stream import Decoder, Encoder, Fade

ZOO = Path(__file__).parent / "zoo"
BLOCK_FRAMES = 50
"""Frames coded at once in a signal or file: most of the speed of large blocks, little memory."""


def models() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(path.parent.name for path in ZOO.glob("*/model.json"))


def load(model: str | Path = "iris-t1", *, threads: int = 1) -> "Codec":
    """Load a model.

    Args:
        model: a name of `models`, or a folder that ``chirrup export`` wrote.
        threads: threads that one call may use. One is the fastest for live frames.

    Raises:
        ModelError: no such model, or the folder's files are damaged or of a newer format.
    """
    folder = ZOO / model if isinstance(model, str) and model in models() else Path(model)
    if not (folder / "model.json").is_file():
        raise ModelError(
            f"no model {str(model)!r}: it is neither a folder with a model.json nor one of "
            f"{', '.join(models()) or '(none installed)'}"
        )
    return Codec(folder, threads=threads)


class Codec:
    """A loaded model.

    Thread-safe: it holds no state of any signal, and calls may run at the same time. The streams
    that `encoder` and `decoder` give are independent; each belongs to one thread at a time.

    Attributes:
        name: the model's name.
        sample_rate_hz: rate of all audio in and out.
        channels: channels that the model codes jointly, as one stream of codes; mono is repeated to
            all of them, and averaged after decoding. If 1, any number are coded one by one.
        frame_samples: samples a frame.
        delay_samples: how late a decoder stream's output is, beside the encoder's input. `decode`
            removes it.
        latency_samples: algorithmic latency of a live stream: the frame and the delay.
        codebooks, codebook_size: most codes a frame, and how many values each can have.
        bits_per_code: bits of a code in files and packets.
        frame_rate_hz: frames a second.
        weights_sha256: hash of the weights, hexadecimal.
        description: everything in ``model.json``.
    """

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        try:
            about: dict[str, Any] = json.loads((folder / "model.json").read_text())
            if about["format"] != 1:
                raise ModelError(
                    f"{folder} is of model format {about['format']}, this version of chirrup reads "
                    "format 1: upgrade chirrup"
                )
            self.description = about
            self.name: str = about["name"]
            self.sample_rate_hz: int = about["sample_rate_hz"]
            self.channels: int = about["channels"]
            self.frame_samples: int = about["frame_samples"]
            self.delay_samples: int = about["delay_samples"]
            self.latency_samples: int = about["latency_samples"]
            self.codebooks: int = about["codebooks"]
            self.codebook_size: int = about["codebook_size"]
            self.weights_sha256: str = about["weights_sha256"]
            self.default_bitrate_bps: int = about["default_bitrate_bps"]
            self._states: dict[str, dict[str, list[int]]] = {
                part: about["states"][part] for part in ("encoder", "decoder")
            }
            content = (folder / "model.safetensors").read_bytes()
            for graph in ("encoder", "encoder-frame", "decoder", "decoder-frame"):
                (folder / f"{graph}.onnx").stat()
            self._places: dict[str, dict[str, Any]] = about["weights"]
        except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
            raise ModelError(f"{folder} is not a whole model folder: {error}") from error
        if hashlib.sha256(content).hexdigest() != self.weights_sha256:
            raise ModelError(f"{folder / 'model.safetensors'} is damaged: its hash is wrong")
        self.folder, self.threads = folder, threads
        self.bits_per_code = (self.codebook_size - 1).bit_length()
        self.frame_rate_hz = self.sample_rate_hz / self.frame_samples

    def __repr__(self) -> str:
        return (
            f"<Codec {self.name}: {self.sample_rate_hz} Hz, "
            f"{self.bitrates_bps[0]} to {self.bitrates_bps[-1]} bit/s>"
        )

    @property
    def bitrates_bps(self) -> list[int]:
        """Bitrates of a channel, or of all coded jointly, for each number of codebooks from 1."""
        step = self.bits_per_code * self.frame_rate_hz
        return [round(step * count) for count in range(1, self.codebooks + 1)]

    def codebooks_at(self, bitrate_bps: float | None) -> int:
        """Codebooks of a bitrate; None is the model's default bitrate.

        Raises:
            ValueError: the model has no such bitrate.
        """
        bitrate_bps = self.default_bitrate_bps if bitrate_bps is None else bitrate_bps
        if bitrate_bps not in self.bitrates_bps:
            raise self._no_bitrate(bitrate_bps)
        return self.bitrates_bps.index(int(bitrate_bps)) + 1

    def codebooks_within(self, bitrate_bps: float | None) -> int:
        """Codebooks of the highest bitrate not above the one asked for, such as 62016 for 64000.

        Raises:
            ValueError: it is below the lowest, or above the highest by a codebook or more.
        """
        if bitrate_bps is None:
            return self.codebooks_at(None)
        rates = self.bitrates_bps
        if not rates[0] <= bitrate_bps < rates[-1] + rates[0]:
            raise self._no_bitrate(bitrate_bps)
        return sum(rate <= bitrate_bps for rate in rates)

    def _no_bitrate(self, bitrate_bps: float) -> ValueError:
        choices = ", ".join(map(str, self.bitrates_bps))
        return ValueError(f"{self.name} has no bitrate of {bitrate_bps:g} bit/s; it has {choices}")

    # --- whole signals ---------------------------------------------------------------------------

    def encode(self, audio: np.ndarray, bitrate_bps: float | None = None) -> Codes:
        """Code a signal.

        Args:
            audio: ``float32 [samples]`` or ``[channels, samples]`` at ``sample_rate_hz``, full
                scale 1. Channels are coded as ``channels`` says.
            bitrate_bps: one of ``bitrates_bps``, for each stream.

        Raises:
            ValueError: wrong shape or type, samples that are not finite, more channels than are
                coded jointly, or no such bitrate.
        """
        count = self.codebooks_at(bitrate_bps)
        signal = checked(audio)
        samples = signal.shape[1]
        pieces = list(self.encode_blocks(iter([signal]), count, len(signal)))
        data = np.concatenate(pieces, axis=2)
        joint = len(signal) if self.channels > 1 else None
        return Codes(data[0] if np.ndim(audio) == 1 else data, samples, joint)

    def streams(self, channels: int) -> int:
        """How many streams of codes a signal of so many channels is.

        Raises:
            ValueError: neither one channel nor all that are coded jointly.
        """
        if self.channels > 1 and channels not in (1, self.channels):
            raise ValueError(
                f"{self.name} codes 1 or {self.channels} channels, not {channels}: mix them (--mix)"
            )
        return channels if self.channels == 1 else 1

    def encode_blocks(
        self, pieces: Iterator[np.ndarray], codebooks: int, channels: int = 1
    ) -> Iterator[np.ndarray]:
        """Code a signal that comes piece by piece, in constant memory.

        Args:
            pieces: each ``float32 [channels, any number of samples]``.
            codebooks: how many of the first codebooks to keep.

        Yields:
            ``int16 [streams, codebooks, frames]``, in all
            ceil((samples + delay_samples) / frame_samples) frames.
        """
        block, frame = BLOCK_FRAMES * self.frame_samples, self.frame_samples
        streams, joint = self.streams(channels), self.channels > 1
        state = self._encoder.initial_state(streams)
        waiting, samples = np.zeros((max(channels, self.channels), 0), np.float32), 0

        def code(signal: np.ndarray) -> np.ndarray:
            nonlocal state
            codes, state = self._encoder(signal[None] if joint else signal, state)
            return codes[:, :codebooks].astype(np.int16)

        for piece in pieces:
            if len(piece) < len(waiting):
                piece = np.broadcast_to(piece, (len(waiting), piece.shape[1]))
            samples += piece.shape[1]
            waiting = np.concatenate([waiting, piece], axis=1)
            while waiting.shape[1] >= block:
                yield code(waiting[:, :block])
                waiting = waiting[:, block:]
        if samples == 0:
            return
        missing = self.delay_samples + -(samples + self.delay_samples) % frame
        waiting = np.pad(waiting, ((0, 0), (0, missing)))
        for start in range(0, waiting.shape[1], block):
            yield code(waiting[:, start : start + block])

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
        data = np.asarray(codes.data if isinstance(codes, Codes) else codes)
        if data.ndim not in (2, 3) or not np.issubdtype(data.dtype, np.integer):
            raise ValueError(
                "codes must be integers [codebooks, frames] or [streams, codebooks, frames], got "
                f"{data.dtype} {list(data.shape)}"
            )
        streams = data[None] if data.ndim == 2 else data
        channels = len(streams) if self.channels == 1 else given or self.channels
        if len(streams) != self.streams(channels):
            raise ValueError(f"{self.name} has one stream of codes, got {len(streams)}")
        pieces = list(self.decode_blocks(iter([streams]), channels))
        empty = np.zeros((channels, 0), np.float32)
        audio = np.concatenate([empty, *pieces], axis=1)
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
        streams = self.streams(channels)
        state = self._decoder.initial_state(streams)
        skip, fades = self.delay_samples, [Fade() for _ in range(streams)]
        for piece in pieces:
            for start in range(0, piece.shape[2], BLOCK_FRAMES):
                codes = self.all_codebooks(piece[:, :, start : start + BLOCK_FRAMES])
                audio, state = self._decoder(codes, state)
                lost = codes[:, 0] == ABSENT
                if lost.any() or any(fade.level < 1 for fade in fades):
                    frames = audio.reshape(streams, -1, lost.shape[1], self.frame_samples)
                    for fade, signal, gaps in zip(fades, frames, lost, strict=True):
                        for index, gap in enumerate(gaps):
                            signal[:, index] = fade(signal[:, index], bool(gap))
                if self.channels > 1:
                    audio = audio[0] if channels > 1 else audio[0].mean(axis=0, keepdims=True)
                yield audio[:, skip:]
                skip = max(0, skip - audio.shape[1])

    def all_codebooks(self, codes: np.ndarray) -> np.ndarray:
        """``[..., codebooks, frames]`` with -1 for the codebooks left out, ``int32``.

        Raises:
            ValueError: more codebooks than the model has, or a code out of range.
        """
        missing = self.codebooks - codes.shape[-2]
        if missing < 0:
            raise ValueError(f"{self.name} has {self.codebooks} codebooks, got {codes.shape[-2]}")
        if codes.size and not ABSENT <= codes.min() <= codes.max() < self.codebook_size:
            raise ValueError(f"codes must be from 0 to {self.codebook_size - 1}, or -1 for absent")
        padding = [(0, 0)] * (codes.ndim - 2) + [(0, missing), (0, 0)]
        return np.pad(codes.astype(np.int32), padding, constant_values=ABSENT)

    # --- live streams ----------------------------------------------------------------------------

    def encoder(
        self, bitrate_bps: float | None = None, *, frames_per_packet: int = 1, redundancy: int = 0
    ) -> Encoder:
        """A live stream in: samples to packets.

        Args:
            bitrate_bps: one of ``bitrates_bps``, redundancy not counted.
            frames_per_packet: 1 to 4.
            redundancy: codebooks of the packet before that each packet carries again, so that a
                single lost packet can be heard, if coarsely. 0 carries nothing.
        """
        count = self.codebooks_at(bitrate_bps)
        return Encoder(self, count, frames_per_packet=frames_per_packet, redundancy=redundancy)

    def decoder(self, *, frames_per_packet: int = 1) -> Decoder:
        """A live stream out: packets, or None for a lost one, to samples."""
        return Decoder(self, frames_per_packet=frames_per_packet)

    def graphs(self) -> tuple[Graph, Graph]:
        """The encoder's and the decoder's graph, for those who keep the state themselves."""
        return self._encoder, self._decoder

    @cached_property
    def _weights(self) -> Weights:
        return Weights(self.folder / "model.safetensors", self._places)

    @cached_property
    def _encoder(self) -> Graph:
        several = (self.channels,) if self.channels > 1 else ()
        shape = (*several, self.frame_samples)
        return Graph(
            self.folder, "encoder", self._weights, self._states["encoder"], shape, self.threads
        )

    @cached_property
    def _decoder(self) -> Graph:
        shape = (self.codebooks, 1)
        return Graph(
            self.folder, "decoder", self._weights, self._states["decoder"], shape, self.threads
        )


def checked(audio: np.ndarray) -> np.ndarray:
    """``float32 [channels, samples]`` of what a caller gave, or ValueError with what to do."""
    signal = np.asarray(audio)
    if not np.issubdtype(signal.dtype, np.floating):
        raise ValueError(
            f"audio must be floating point with full scale 1, got {signal.dtype}: divide 16-bit "
            "integers by 32768"
        )
    if signal.ndim not in (1, 2) or signal.shape[-1] == 0 or signal.shape[0] == 0:
        raise ValueError(
            f"audio must be [samples] or [channels, samples], not empty; got {list(signal.shape)}"
        )
    if not np.isfinite(signal).all():
        raise ValueError("audio has samples that are not finite (NaN or infinity)")
    return np.atleast_2d(signal).astype(np.float32, copy=False)
