"""Live streams of a codec: samples to packets, packets to samples, each with its own state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from chirrup.bitstream import (
    MAX_PACKET_FRAMES,
    MAX_REDUNDANT,
    Packet,
    pack_packet,
    unpack_packet,
)
from chirrup.codes import ABSENT, checked_samples
from chirrup.concealment import ConcealingDecoder
from chirrup.conditioning import Conditioner
from chirrup.resampling import Resampler, checked_rate

if TYPE_CHECKING:
    from chirrup.codec import Codec


def _checked_frames(frames_per_packet: int) -> int:
    if frames_per_packet not in range(1, MAX_PACKET_FRAMES + 1):
        raise ValueError(
            f"a packet holds 1 to {MAX_PACKET_FRAMES} frames, not {frames_per_packet!r}"
        )
    return int(frames_per_packet)


class Encoder:
    """Samples in, packets out. Belongs to one thread at a time."""

    def __init__(
        self,
        codec: Codec,
        codebooks: int,
        *,
        frames_per_packet: int,
        redundancy: int,
        sample_rate_hz: int,
    ) -> None:
        most = min(codebooks, MAX_REDUNDANT)
        if redundancy not in range(most + 1):
            raise ValueError(f"redundancy is from 0 to {most} codebooks, not {redundancy!r}")
        self.codec, self.codebooks = codec, codebooks
        self.frames_per_packet, self.redundancy = _checked_frames(frames_per_packet), redundancy
        self.sample_rate_hz = sample_rate_hz
        # A packet's frames are coded in one call, those of short frames in a third of the time.
        chunks = -(-frames_per_packet // codec.chunk_frames)
        self.piece_samples = chunks * codec.chunk_frames * codec.input_frame_samples
        self.graph, _ = codec.graphs()
        self.state = self.graph.initial_state()
        rates_hz = checked_rate(sample_rate_hz), codec.input_rate_hz
        self.resampler = (
            None if rates_hz[0] == rates_hz[1] else Resampler(codec.channels, *rates_hz)
        )
        self.conditioner = Conditioner(
            codec.channels, codec.input_frame_samples, codec.input_rate_hz
        )
        self.waiting = np.zeros((codec.channels, 0), np.float32)
        self.samples = 0
        self.ready = np.zeros((codebooks, 0), codec.code_dtype)
        self.before = np.zeros((codebooks, 0), codec.code_dtype)

    def push(self, pcm: np.ndarray) -> list[bytes]:
        """Take in samples.

        Args:
            pcm: ``float32 [any number of samples]`` at the stream's ``sample_rate_hz``, full scale
                1; or ``[channels, any number]`` of a codec that codes several jointly, which
                repeats mono. Samples beyond full scale are limited to it.

        Returns:
            The packets that are complete: none, one or more.
        """
        pcm = checked_samples(pcm)
        channels = self.codec.channels
        if pcm.ndim != 1 and (channels == 1 or pcm.ndim != 2 or len(pcm) != channels):
            form = "mono, [samples]" + (f", or [{channels}, samples]" if channels > 1 else "")
            raise ValueError(f"a live stream is {form}; got {list(pcm.shape)}")
        signal = np.broadcast_to(pcm, (channels, pcm.shape[-1]))
        return self._native(signal if self.resampler is None else self.resampler.push(signal))

    def _native(self, signal: np.ndarray) -> list[bytes]:
        """Packets of samples at the codec's own rate."""
        self.samples += signal.shape[1]
        return self._conditioned(self.conditioner.push(signal))

    def _conditioned(self, signal: np.ndarray) -> list[bytes]:
        """Packets of whole frames."""
        signal = np.concatenate([self.waiting, signal], axis=1)
        whole = signal.shape[1] - signal.shape[1] % self.piece_samples
        self.waiting = signal[:, whole:].copy()
        packets = []
        for start in range(0, whole, self.piece_samples):
            self._code(signal[:, start : start + self.piece_samples])
            packets += self._packets(self.frames_per_packet)
        return packets

    def _code(self, signal: np.ndarray) -> None:
        """``float32 [channels, samples]``, a whole number of chunks."""
        signal = signal if self.codec.channels == 1 else signal[None]
        codes, self.state = self.graph(signal, self.state)
        codes = codes[0, : self.codebooks].astype(self.codec.code_dtype)
        self.ready = np.concatenate([self.ready, codes], axis=1)

    def flush(self) -> list[bytes]:
        """The last packets, padded with silence until the decoder has given every sample.

        Afterwards the stream begins anew.
        """
        packets = [] if self.resampler is None else self._native(self.resampler.finish())
        if self.samples:
            missing = self.codec.padding_samples(self.samples)
            packets += self._conditioned(self.conditioner.finish(missing))
            if self.waiting.shape[1]:
                self._code(self.waiting)
            packets += self._packets(1)
        self.__init__(
            self.codec,
            self.codebooks,
            frames_per_packet=self.frames_per_packet,
            redundancy=self.redundancy,
            sample_rate_hz=self.sample_rate_hz,
        )
        return packets

    def _packets(self, at_least: int) -> list[bytes]:
        """Packets of the frames that are ready, as long as there are ``at_least`` so many."""
        packets = []
        while self.ready.shape[1] >= at_least:
            codes = self.ready[:, : self.frames_per_packet]
            self.ready = self.ready[:, self.frames_per_packet :]
            again = self.before[: self.redundancy] if self.redundancy else None
            if again is not None and again.shape[1] == 0:
                again = None
            packets.append(pack_packet(codes, again, self.codec.bits_per_code))
            self.before = codes
        return packets

    def save(self) -> dict[str, Any]:
        """The state of the stream as arrays and numbers, to go on from later or elsewhere."""
        return {
            "graph": self.graph.save(self.state),
            "resampler": {} if self.resampler is None else self.resampler.save(),
            "conditioner": self.conditioner.save(),
            "waiting": self.waiting.copy(),
            "samples": self.samples,
            "ready": self.ready.copy(),
            "before": self.before.copy(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `save` gave, also that of another stream of the same settings.

        The packets are the same. Only if the stream resamples, they are of samples that differ by
        rounding.

        Raises:
            ValueError: it was of another bitrate or sample rate.
        """
        if len(saved["ready"]) != self.codebooks:
            raise ValueError(
                f"the state is of {len(saved['ready'])} codebooks, the stream of {self.codebooks}: "
                "ask for an encoder of the same bitrate"
            )
        if saved["resampler"].get("rate_hz") != (self.resampler and self.resampler.rate_hz):
            raise ValueError(
                "the state is of a stream of another sample rate: ask for an encoder of the same "
                "sample_rate_hz"
            )
        self.state = self.graph.restore(saved["graph"])
        if self.resampler is not None:
            self.resampler.restore(saved["resampler"])
        self.conditioner.restore(saved["conditioner"])
        self.waiting, self.samples = saved["waiting"].copy(), saved["samples"]
        self.ready, self.before = saved["ready"].copy(), saved["before"].copy()


class Decoder:
    """Packets in, samples out, ``delay_samples`` late. Belongs to one thread at a time."""

    def __init__(self, codec: Codec, *, frames_per_packet: int) -> None:
        self.codec, self.frames_per_packet = codec, _checked_frames(frames_per_packet)
        self.decoder = ConcealingDecoder(codec)

    def push(self, packet: bytes | None, following: bytes | None = None) -> np.ndarray:
        """Take in the next packet.

        Args:
            packet: the packet, or None for a lost one, which is concealed: by what ``following``
                repeats of it, else by the model, fading to silence over long gaps.
            following: the packet after a lost one, where it is already at hand. It is not
                consumed: push it next.

        Returns:
            ``float32 [frames * frame_samples]``, or ``[channels, frames * frame_samples]`` of a
            codec that codes several jointly: a packet does not say whether mono was sent. Of a
            model that decodes a chunk of frames at once, as many frames as whole chunks have become
            of those that came so far.

        Raises:
            FormatError: the packet is malformed. The stream is as before: push None instead.
            ModelError: the model is damaged. The stream is as before.
        """
        codes = self._lost(following) if packet is None else self._unpacked(packet).codes
        audio = self._joined(self.decoder.push(self.codec.all_codebooks(codes)[None]))
        if packet is not None:
            self.frames_per_packet = codes.shape[1]
        return audio

    def _unpacked(self, packet: bytes) -> Packet:
        if not isinstance(packet, (bytes, bytearray, memoryview)):
            kind = type(packet).__name__
            raise TypeError(f"a packet is bytes, or None for a lost one; got {kind}")
        codec = self.codec
        return unpack_packet(packet, codec.bits_per_code, codec.codebooks, codec.codebook_size)

    def _lost(self, following: bytes | None) -> np.ndarray:
        """Codes of a lost packet ``[codebooks, frames]``: absent, but for what the next repeats."""
        frames, again = self.frames_per_packet, None
        if following is not None:
            later = self._unpacked(following)
            frames = max(frames, later.codes.shape[1])  # the last packet may be shorter
            again = later.redundant
        codes = np.full((1 if again is None else len(again), frames), ABSENT, np.int32)
        if again is not None:
            repeated = again[:, -frames:]
            codes[:, frames - repeated.shape[1] :] = repeated
        return codes

    def _joined(self, pieces: Iterator[np.ndarray]) -> np.ndarray:
        channels = self.codec.channels
        empty = np.zeros(0 if channels == 1 else (channels, 0), np.float32)
        return np.concatenate([empty, *(piece[0] for piece in pieces)], axis=-1)

    def flush(self) -> np.ndarray:
        """The rest of the stream, shaped as by `push`: frames that wait for their chunk to be
        whole. Mostly nothing, since the encoder's own `flush` sends whole chunks until every sample
        is out. Afterwards the stream begins anew."""
        rest = self._joined(self.decoder.finish())
        self.__init__(self.codec, frames_per_packet=self.frames_per_packet)
        return rest

    def save(self) -> dict[str, Any]:
        """The state of the stream as arrays and numbers, to go on from later or elsewhere."""
        return {"decoder": self.decoder.save(), "frames_per_packet": self.frames_per_packet}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `save` gave."""
        self.decoder.restore(saved["decoder"])
        self.frames_per_packet = saved["frames_per_packet"]
