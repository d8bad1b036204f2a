"""Live streams: `Encoder` converts samples to packets, and `Decoder` packets to samples."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from chirrup.bitstream import (
    MAX_PACKET_FRAMES,
    MAX_REDUNDANT,
    Packet,
    code_dtype,
    pack_packet,
    unpack_packet,
)
from chirrup.codes import ABSENT, all_codebooks, checked_samples, reliable_codes
from chirrup.concealment import ConcealingDecoder
from chirrup.encoding import ChunkEncoder
from chirrup.resampling import Resampler, checked_rate
from chirrup.runtime.engine import Engine
from chirrup.spec import ModelSpec
from chirrup.words import counted


def _checked_frames(frames_per_packet: int) -> int:
    if frames_per_packet not in range(1, MAX_PACKET_FRAMES + 1):
        raise ValueError(
            f"a packet holds 1 to {MAX_PACKET_FRAMES} frames, not {frames_per_packet!r}"
        )
    return int(frames_per_packet)


def _checked_redundancy(redundancy: int, codebooks: int) -> int:
    most = min(codebooks, MAX_REDUNDANT)
    if redundancy not in range(most + 1):
        raise ValueError(f"redundancy must be from 0 to {most} codebooks, not {redundancy!r}")
    return int(redundancy)


def _label(kind: str, spec: ModelSpec) -> str:
    """Return the label of a saved state, which names the kind of stream and the model."""
    return f"{kind} {spec.name} {spec.codes_sha256[:16]}"


def _check_label(saved: object, kind: str, spec: ModelSpec) -> None:
    label = saved.get("of") if isinstance(saved, dict) else None
    if label != _label(kind, spec):
        raise ValueError(
            f"the state is not of {'an encoder' if kind == 'encoder' else 'a decoder'} of "
            f"{spec.name}: pass a state that its save() returned"
        )


class Encoder:
    """The sender's end of a live stream, which encodes samples to packets.

    `Codec.encoder` makes it. It belongs to one thread at a time.

    >>> encoder = codec.encoder(bitrate_bps=6000)
    >>> packets = encoder.push(samples) + encoder.flush()
    """

    def __init__(
        self,
        spec: ModelSpec,
        engine: Engine,
        codebooks: int,
        *,
        frames_per_packet: int,
        redundancy: int,
        sample_rate_hz: int,
    ) -> None:
        self.spec, self.engine = spec, engine
        self.codebooks, self.redundancy = codebooks, _checked_redundancy(redundancy, codebooks)
        self.frames_per_packet = _checked_frames(frames_per_packet)
        self.sample_rate_hz = checked_rate(sample_rate_hz)
        self._begin()

    def _begin(self) -> None:
        spec = self.spec
        # One call codes all frames of a packet: with short frames this takes a third of the time.
        chunks = -(-self.frames_per_packet // spec.chunk_frames)
        self.encoder = ChunkEncoder(
            spec, self.engine, spec.channels, spec.codebooks, chunks * spec.chunk_frames
        )
        rates_hz = self.sample_rate_hz, spec.input_rate_hz
        self.resampler = None if rates_hz[0] == rates_hz[1] else Resampler(spec.channels, *rates_hz)
        self.ready = np.zeros((spec.codebooks, 0), code_dtype(spec.bits_per_code))
        self.before = self.ready.copy()  # all codebooks, because the bitrate may change

    def change(self, bitrate_bps: float | None = None, redundancy: int | None = None) -> None:
        """Change the bitrate or the redundancy from the next packet on.

        Args:
            bitrate_bps: one of the bitrates of the model. None keeps the present one.
            redundancy: codebooks of the previous packet that each packet repeats. None keeps the
                present number.

        Raises:
            ValueError: an argument is out of range. Nothing has changed.
            TypeError: the bitrate is not a number.
        """
        codebooks = self.codebooks
        if bitrate_bps is not None:
            codebooks = self.spec.codebooks_at(bitrate_bps)
        kept = self.redundancy if redundancy is None else redundancy
        self.redundancy = _checked_redundancy(kept, codebooks)
        self.codebooks = codebooks

    def push(self, pcm: np.ndarray) -> list[bytes]:
        """Encode the next samples.

        Args:
            pcm: ``float32 [any number of samples]`` at the stream's ``sample_rate_hz`` with a full
                scale of 1, or ``[channels, any number of samples]`` if the codec codes several
                channels jointly. Samples beyond full scale are limited to it.

        Returns:
            The packets that are now complete: none, one or more.

        Raises:
            ValueError: the shape is wrong, or the samples are not floating point or not finite.
            TypeError: ``pcm`` is not an array.
        """
        pcm = checked_samples(pcm)
        channels = self.spec.channels
        if pcm.ndim != 1 and (channels == 1 or pcm.ndim != 2 or len(pcm) != channels):
            form = "mono, [samples]" + (f", or [{channels}, samples]" if channels > 1 else "")
            raise ValueError(f"audio of a live stream must be {form}; got {list(pcm.shape)}")
        signal = np.broadcast_to(pcm, (channels, pcm.shape[-1]))
        native = signal if self.resampler is None else self.resampler.push(signal)
        return self._packets(self.encoder.push(native), self.frames_per_packet)

    def flush(self) -> list[bytes]:
        """Return the last packets and reset the stream.

        The signal is padded with the silence that the decoder needs to return every sample.
        """
        packets = []
        if self.resampler is not None:
            rest = self.encoder.push(self.resampler.finish())
            packets += self._packets(rest, self.frames_per_packet)
        packets += self._packets(self.encoder.finish(), 1)
        self._begin()
        return packets

    def _packets(self, pieces: Iterator[np.ndarray], at_least: int) -> list[bytes]:
        """Build packets of new codes while at least ``at_least`` frames are ready."""
        self.ready = np.concatenate([self.ready, *(piece[0] for piece in pieces)], axis=1)
        packets = []
        while self.ready.shape[1] >= at_least:
            frames = self.ready[:, : self.frames_per_packet]
            self.ready = self.ready[:, self.frames_per_packet :]
            again = self.before[: self.redundancy] if self.redundancy else None
            if again is not None and again.shape[1] == 0:
                again = None
            codes = frames[: self.codebooks]
            packets.append(pack_packet(codes, again, self.spec.bits_per_code))
            self.before = frames
        return packets

    def save(self) -> dict[str, Any]:
        """Return the state of the stream as a dictionary of arrays, numbers and text.

        Another stream of the same settings can continue from it, also in another process.
        """
        return {
            "of": _label("encoder", self.spec),
            "codebooks": self.codebooks,
            "encoder": self.encoder.save(),
            "resampler": {} if self.resampler is None else self.resampler.save(),
            "ready": self.ready.copy(),
            "before": self.before.copy(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from a state that `save` returned, also of another stream of the same settings.

        The following packets are equal. If the stream resamples, its samples differ by rounding.

        Raises:
            ValueError: the state is of another model, bitrate or sample rate.
        """
        _check_label(saved, "encoder", self.spec)
        if saved["codebooks"] != self.codebooks:
            raise ValueError(
                f"the state is of {counted(saved['codebooks'], 'codebook')}, the stream of "
                f"{self.codebooks}: "
                "ask for an encoder of the same bitrate"
            )
        if saved["resampler"].get("rate_hz") != (self.resampler and self.resampler.rate_hz):
            raise ValueError(
                "the state is of a stream of another sample rate: ask for an encoder of the same "
                "sample_rate_hz"
            )
        self.encoder.restore(saved["encoder"])
        if self.resampler is not None:
            self.resampler.restore(saved["resampler"])
        self.ready, self.before = saved["ready"].copy(), saved["before"].copy()


class Decoder:
    """The receiver's end of a live stream, which decodes packets to samples.

    `Codec.decoder` makes it. Its output is ``delay_samples`` late. It belongs to one thread at a
    time.

    >>> decoder = codec.decoder()
    >>> audio = [decoder.push(packet) for packet in packets]
    """

    def __init__(self, spec: ModelSpec, engine: Engine, *, frames_per_packet: int) -> None:
        self.spec, self.engine = spec, engine
        self.frames_per_packet = _checked_frames(frames_per_packet)
        self.decoder = ConcealingDecoder(spec, engine)

    def push(
        self,
        packet: bytes | None,
        following: bytes | None = None,
        *,
        reliable: int | np.ndarray | None = None,
    ) -> np.ndarray:
        """Decode the next packet.

        Args:
            packet: the packet, or None if it is lost. A lost packet is decoded from the codes that
                ``following`` repeats. Without them, the model conceals it, and a long gap fades to
                silence.
            following: the packet after a lost one, if it has already arrived. It is not consumed:
                push it next.
            reliable: which codes of the packet are right, ``bool [codebooks, frames]``, or the
                number of first codebooks whose codes are right. Other codes are treated as absent.
                If the code of the first codebook is wrong, the frame is treated as lost. None is
                all codes.

        Returns:
            ``float32 [frames * frame_samples]``, or ``[channels, frames * frame_samples]`` if the
            codec codes several channels jointly, also if the encoder's input was mono. A model with
            ``chunk_frames > 1`` returns audio only for complete chunks.

        Raises:
            FormatError: the packet is malformed. The stream has not changed: push None instead.
            ModelError: the model is damaged. The stream has not changed.
            ValueError: ``reliable`` does not fit the codes of the packet.
            TypeError: the packet is neither bytes nor None.
        """
        codes = self._lost(following) if packet is None else self._unpacked(packet).codes
        if packet is not None and reliable is not None:
            codes = reliable_codes(codes, reliable)
        audio = self.push_codes(codes)
        if packet is not None:
            self.frames_per_packet = codes.shape[1]
        return audio

    def push_codes(self, codes: np.ndarray) -> np.ndarray:
        """Decode codes that arrived without a packet.

        Args:
            codes: ``int [codebooks, any number of frames]``. -1 is a code that is absent; a frame
                whose first code is absent is lost.

        Returns:
            Audio of the shape that `push` returns.

        Raises:
            ValueError: the shape is wrong, there are more codebooks than the model has, or a code
                is out of range.
            TypeError: ``codes`` is not an array.
        """
        return self._joined(self.decoder.push(all_codebooks(codes, self.spec)[None]))

    def _unpacked(self, packet: bytes) -> Packet:
        if not isinstance(packet, (bytes, bytearray, memoryview)):
            kind = type(packet).__name__
            raise TypeError(f"a packet must be bytes, or None if it is lost; got {kind}")
        spec = self.spec
        return unpack_packet(packet, spec.bits_per_code, spec.codebooks, spec.codebook_size)

    def _lost(self, following: bytes | None) -> np.ndarray:
        """Return the codes ``[codebooks, frames]`` of a lost packet that the next one repeats.

        All other codes are `ABSENT`.
        """
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
        channels = self.spec.channels
        empty = np.zeros((channels, 0), np.float32)
        audio = np.concatenate([empty, *(piece[0] for piece in pieces)], axis=1)
        return audio[0] if channels == 1 else audio

    def flush(self) -> np.ndarray:
        """Decode the frames of an incomplete chunk and reset the stream.

        After the packets of `Encoder.flush` no frames are left, because it completes the chunk.

        Returns:
            Audio of the shape that `push` returns, with no samples if no frames are left.
        """
        rest = self._joined(self.decoder.finish())
        self.decoder = ConcealingDecoder(self.spec, self.engine)
        return rest

    def save(self) -> dict[str, Any]:
        """Return the state of the stream as a dictionary of arrays, numbers and text.

        Another stream of the model can continue from it, also in another process.
        """
        return {
            "of": _label("decoder", self.spec),
            "decoder": self.decoder.save(),
            "frames_per_packet": self.frames_per_packet,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from a state that `save` returned.

        Raises:
            ValueError: the state is of another model.
        """
        _check_label(saved, "decoder", self.spec)
        self.decoder.restore(saved["decoder"])
        self.frames_per_packet = saved["frames_per_packet"]
