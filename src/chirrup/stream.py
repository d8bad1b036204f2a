"""Live streams of a codec: samples to packets, packets to samples, each with its own state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chirrup.bitstream import pack_packet, unpack_packet
from chirrup.codes import ABSENT

if TYPE_CHECKING:
    from chirrup.codec import Codec

HOLD_FRAMES = 5
"""Lost frames in a row that are concealed at full level; after them the sound fades."""
FADE_FRAMES = 10
"""Frames from full level to silence, and back."""


class Fade:
    """Towards silence in a long gap, and back to full level after it, frame by frame."""

    def __init__(self) -> None:
        self.lost_frames, self.level = 0, 1.0

    def __call__(self, audio: np.ndarray, lost: bool) -> np.ndarray:
        """The next frame, ``float32 [..., samples]``, at the level it is to be heard."""
        self.lost_frames = self.lost_frames + 1 if lost else 0
        step = -1 / FADE_FRAMES if self.lost_frames > HOLD_FRAMES else 1 / FADE_FRAMES
        level = min(1.0, max(0.0, self.level + step))
        if level == self.level == 1.0:
            return audio
        ramp = np.linspace(self.level, level, audio.shape[-1], endpoint=False, dtype=np.float32)
        self.level = level
        return audio * ramp


class Encoder:
    """Samples in, packets out. Belongs to one thread at a time."""

    def __init__(
        self, codec: Codec, codebooks: int, *, frames_per_packet: int, redundancy: int
    ) -> None:
        if not 1 <= frames_per_packet <= 4:
            raise ValueError(f"a packet holds 1 to 4 frames, not {frames_per_packet}")
        if not 0 <= redundancy <= codebooks:
            raise ValueError(f"redundancy is from 0 to {codebooks} codebooks, not {redundancy}")
        self.codec, self.codebooks = codec, codebooks
        self.frames_per_packet, self.redundancy = frames_per_packet, redundancy
        # A packet's frames are coded in one call, those of short frames in a third of the time.
        chunks = -(-frames_per_packet // codec.chunk_frames)
        self.piece_samples = chunks * codec.chunk_frames * codec.input_frame_samples
        self.graph, _ = codec.graphs()
        self.state = self.graph.initial_state()
        self.waiting = np.zeros((codec.channels, 0), np.float32)
        self.samples = 0
        self.ready = np.zeros((codebooks, 0), codec.code_dtype)
        self.before = np.zeros((codebooks, 0), codec.code_dtype)

    def push(self, pcm: np.ndarray) -> list[bytes]:
        """Take in samples.

        Args:
            pcm: ``float32 [any number of samples]``, full scale 1, at the codec's
                ``input_rate_hz``; or ``[channels, any number]`` of a codec that codes several
                jointly, which repeats mono.

        Returns:
            The packets that are complete: none, one or more.
        """
        pcm = np.asarray(pcm)
        if not np.issubdtype(pcm.dtype, np.floating):
            raise ValueError(
                f"audio must be floating point with full scale 1, got {pcm.dtype}: divide 16-bit "
                "integers by 32768"
            )
        channels = self.codec.channels
        if pcm.ndim != 1 and (channels == 1 or pcm.ndim != 2 or len(pcm) != channels):
            form = "mono, [samples]" + (f", or [{channels}, samples]" if channels > 1 else "")
            raise ValueError(f"a live stream is {form}; got {list(pcm.shape)}")
        if not np.isfinite(pcm).all():
            raise ValueError("audio has samples that are not finite (NaN or infinity)")
        self.samples += pcm.shape[-1]
        signal = np.broadcast_to(pcm, self.waiting.shape[:1] + pcm.shape[-1:])
        self.waiting = np.concatenate([self.waiting, signal], axis=1, dtype=np.float32)
        while self.waiting.shape[1] >= self.piece_samples:
            self._code(self.piece_samples)
        return self._packets(self.frames_per_packet)

    def _code(self, samples: int) -> None:
        """The first of those that wait, a whole number of chunks."""
        first, self.waiting = self.waiting[:, :samples], self.waiting[:, samples:]
        signal = first if self.codec.channels == 1 else first[None]
        codes, self.state = self.graph(signal, self.state)
        codes = codes[0, : self.codebooks].astype(self.codec.code_dtype)
        self.ready = np.concatenate([self.ready, codes], axis=1)

    def flush(self) -> list[bytes]:
        """The last packets, padded with silence until the decoder has given every sample.

        Afterwards the stream begins anew.
        """
        packets = []
        if self.samples:
            missing = self.codec.padding_samples(self.samples)
            packets = self.push(np.zeros(missing, np.float32))
            if rest := self.waiting.shape[1]:
                self._code(rest)
            packets += self._packets(1)
        self.__init__(
            self.codec,
            self.codebooks,
            frames_per_packet=self.frames_per_packet,
            redundancy=self.redundancy,
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
            "waiting": self.waiting.copy(),
            "samples": self.samples,
            "ready": self.ready.copy(),
            "before": self.before.copy(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `save` gave, also that of another stream of the same settings."""
        self.state = self.graph.restore(saved["graph"])
        self.waiting, self.samples = saved["waiting"].copy(), saved["samples"]
        self.ready, self.before = saved["ready"].copy(), saved["before"].copy()


class Decoder:
    """Packets in, samples out, ``delay_samples`` late. Belongs to one thread at a time."""

    def __init__(self, codec: Codec, *, frames_per_packet: int) -> None:
        self.codec, self.frames_per_packet = codec, frames_per_packet
        _, self.graph = codec.graphs()
        self.state = self.graph.initial_state()
        self.waiting = np.zeros((codec.codebooks, 0), np.int32)
        self.fade = Fade()

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
        """
        if packet is not None:
            codes = unpack_packet(packet, self.codec.bits_per_code, self.codec.codebooks).codes
            self.frames_per_packet = codes.shape[1]
        else:
            codes = np.full((1, self.frames_per_packet), ABSENT, np.int16)
            if following is not None:
                later = unpack_packet(following, self.codec.bits_per_code, self.codec.codebooks)
                if later.redundant is not None:
                    codes = later.redundant[:, -self.frames_per_packet :]
        return self._decoded(self.codec.all_codebooks(codes))

    def _decoded(self, codes: np.ndarray) -> np.ndarray:
        """``int32 [codebooks, frames]`` to the samples of all chunks that are whole with them."""
        channels = self.codec.channels
        waiting = np.concatenate([self.waiting, codes], axis=1)
        whole = waiting.shape[1] // self.codec.chunk_frames * self.codec.chunk_frames
        frames, self.waiting = waiting[:, :whole], waiting[:, whole:]
        if not whole:
            return np.zeros(0 if channels == 1 else (channels, 0), np.float32)
        audio, self.state = self.graph(frames[None], self.state)
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
