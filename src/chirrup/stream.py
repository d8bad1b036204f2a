"""Live streams of a codec: samples to packets, packets to samples, each with its own state."""

from __future__ import annotations

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
from chirrup.conditioning import Conditioner
from chirrup.resampling import Resampler, checked_rate

if TYPE_CHECKING:
    from chirrup.codec import Codec


HOLD_SECONDS = 0.1
"""How much of a gap is concealed at full level; after it the sound fades."""
FADE_SECONDS = 0.2
"""From full level to silence, and back."""


class Fade:
    """Towards silence in a long gap, and back to full level after it, frame by frame."""

    def __init__(self, frame_rate_hz: float) -> None:
        self.hold_frames = round(HOLD_SECONDS * frame_rate_hz)
        self.step = 1 / (FADE_SECONDS * frame_rate_hz)
        self.lost_frames, self.level = 0, 1.0

    @property
    def idle(self) -> bool:
        """Whether frames that are there pass as they are."""
        return self.lost_frames == 0 and self.level == 1.0

    def __call__(self, audio: np.ndarray, lost: bool) -> np.ndarray:
        """The next frame, ``float32 [..., samples]``, at the level it is to be heard."""
        self.lost_frames = self.lost_frames + 1 if lost else 0
        step = -self.step if self.lost_frames > self.hold_frames else self.step
        level = min(1.0, max(0.0, self.level + step))
        if level == self.level == 1.0:
            return audio
        ramp = np.linspace(self.level, level, audio.shape[-1], endpoint=False, dtype=np.float32)
        self.level = level
        return audio * ramp


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
        _, self.graph = codec.graphs()
        self.state = self.graph.initial_state()
        self.waiting = np.zeros((codec.codebooks, 0), np.int32)
        self.fade = Fade(codec.frame_rate_hz)

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
        audio = self._decoded(self.codec.all_codebooks(codes))
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

    def _decoded(self, codes: np.ndarray) -> np.ndarray:
        """``int32 [codebooks, frames]`` to the samples of all chunks that are whole with them."""
        channels = self.codec.channels
        waiting = np.concatenate([self.waiting, codes], axis=1)
        whole = waiting.shape[1] // self.codec.chunk_frames * self.codec.chunk_frames
        frames, rest = waiting[:, :whole], waiting[:, whole:]
        if not whole:
            self.waiting = rest
            return np.zeros(0 if channels == 1 else (channels, 0), np.float32)
        audio, self.state = self.graph(frames[None], self.state)
        self.waiting = rest
        sounds, lost = np.split(audio[0], whole, axis=-1), frames[0] == ABSENT
        pieces = [self.fade(*pair) for pair in zip(sounds, lost.tolist(), strict=True)]
        return np.concatenate(pieces, axis=-1)

    def flush(self) -> np.ndarray:
        """The rest of the stream, shaped as by `push`: frames that wait for their chunk to be
        whole. Mostly nothing, since the encoder's own `flush` sends whole chunks until every sample
        is out. Afterwards the stream begins anew."""
        waiting = self.waiting.shape[1]
        missing = -waiting % self.codec.chunk_frames
        lost = np.full((self.codec.codebooks, missing), ABSENT, np.int32)
        rest = self._decoded(lost)[..., : waiting * self.codec.frame_samples]
        self.__init__(self.codec, frames_per_packet=self.frames_per_packet)
        return rest

    def save(self) -> dict[str, Any]:
        """The state of the stream as arrays and numbers, to go on from later or elsewhere."""
        return {
            "graph": self.graph.save(self.state),
            "frames_per_packet": self.frames_per_packet,
            "waiting": self.waiting.copy(),
            "lost_frames": self.fade.lost_frames,
            "level": self.fade.level,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `save` gave."""
        self.state = self.graph.restore(saved["graph"])
        self.frames_per_packet = saved["frames_per_packet"]
        self.waiting = saved["waiting"].copy()
        self.fade.lost_frames, self.fade.level = saved["lost_frames"], saved["level"]
