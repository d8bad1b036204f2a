"""A codec for LXST, the voice calls of Reticulum, without a dependency on LXST.

LXST (0.5.4) accepts codecs that are subclasses of ``LXST.Codecs.Codec``, so `lxst_codec`
takes that class. LXST's table of codecs in packets is fixed: both ends have to add an entry to it.
"""

from fractions import Fraction
from typing import Any, Final

import numpy as np

from chirrup.bitstream import pack, unpack, unpack_packet
from chirrup.codec import Codec
from chirrup.codes import ABSENT
from chirrup.errors import FormatError
from chirrup.resampling import Resampler

MAX_FRAME_MS: Final = 1000
"""Longest frame, unless a chunk of the model is longer."""


class LxstCodec:
    """The methods and attributes that LXST uses; `lxst_codec` makes it.

    The bytes of a frame are u8 codebooks - 1, then the codes by frame and codebook, filled up with
    zero bits.

    Attributes:
        preferred_samplerate: sample rate that sources should have, in Hz.
        frame_quanta_ms: frames are a multiple of this duration.
        frame_max_ms: longest duration of a frame.
        valid_frame_ms: None, so that the durations are limited only by the two above.
        damaged: frames that `decode` has concealed.
        source, sink: set by LXST. Their ``samplerate`` is the rate of frames, or the model's rate
            if there is none.
    """

    codec: Codec
    codebooks: int

    def begin(self, codec: Codec, bitrate_bps: float | None) -> None:
        """Begin both directions.

        Raises:
            ValueError: the model does not have the bitrate, or a frame has less than 8 bits.
        """
        self.codec, self.codebooks = codec, codec.codebooks_at(bitrate_bps)
        self.bitrate_bps = bitrate_bps
        if (bits := self.codebooks * codec.bits_per_code) < 8:
            raise ValueError(f"frames of {bits} bits are too short for LXST: use a higher bitrate")
        self.preferred_samplerate = codec.input_rate_hz
        samples, rate_hz = codec.chunk_frames * codec.frame_samples, codec.sample_rate_hz
        duration_ms = Fraction(1000 * samples, rate_hz)
        whole = duration_ms.denominator == 1
        self.frame_quanta_ms = int(duration_ms) if whole else float(duration_ms)
        chunks = max(1, int(MAX_FRAME_MS / duration_ms))
        self.frame_max_ms = chunks * self.frame_quanta_ms
        self.most_frames = (chunks + 1) * codec.chunk_frames  # the encoder may release one more
        self.valid_frame_ms = self.source = self.sink = None
        self.channels, self.bitdepth = 1, 16
        self.last_frames, self.damaged = codec.chunk_frames, 0
        self.encoder, self.decoder = None, codec.decoder()
        self.resampler: Resampler | None = None

    def encode(self, frame: np.ndarray) -> bytes:
        """Encode ``float32 [samples, channels]``, whose channels are averaged."""
        if self.encoder is None:
            rate_hz = int(getattr(self.source, "samplerate", None) or self.codec.input_rate_hz)
            self.encoder = self.codec.encoder(self.bitrate_bps, sample_rate_hz=rate_hz)
        width, most = self.codec.bits_per_code, self.codec.codebooks
        mono = np.asarray(frame, np.float32).mean(axis=1)
        packets = [unpack_packet(packet, width, most) for packet in self.encoder.push(mono)]
        empty = np.zeros((0, self.codebooks), np.int32)
        codes = np.concatenate([empty, *(packet.codes.T for packet in packets)])
        return bytes([self.codebooks - 1]) + pack(codes, width)

    def decode(self, frame_bytes: bytes) -> np.ndarray:
        """Decode the bytes of a frame to ``float32 [samples, 1]`` at the rate of the sink.

        A damaged frame is concealed with the duration of the frame before, because an exception
        could end the call. A frame is damaged if it does not fit the model, or is longer than
        ``frame_max_ms`` by more than one chunk of the model.
        """
        codec = self.codec
        try:
            codes = self._codes(frame_bytes)
        except FormatError:
            self.damaged += 1
            codes = np.full((1, self.last_frames), ABSENT, np.int32)
        self.last_frames = codes.shape[1] or self.last_frames
        audio = self.decoder.push_codes(codes)
        audio = np.atleast_2d(audio).mean(axis=0, keepdims=True)
        rate_hz = int(getattr(self.sink, "samplerate", None) or codec.sample_rate_hz)
        if rate_hz != codec.sample_rate_hz:
            if self.resampler is None:
                self.resampler = Resampler(1, codec.sample_rate_hz, rate_hz)
            audio = self.resampler.push(audio)
        return np.ascontiguousarray(audio.T, np.float32)

    def _codes(self, frame_bytes: bytes) -> np.ndarray:
        """Return the codes ``int32 [codebooks, frames]`` of a frame; FormatError if damaged."""
        codec = self.codec
        if not frame_bytes or frame_bytes[0] >= codec.codebooks:
            raise FormatError(f"a frame of LXST does not fit {codec.name}", 0)
        codebooks, width = frame_bytes[0] + 1, codec.bits_per_code
        if (bits := codebooks * width) < 8:
            raise FormatError(f"a frame of LXST has {bits} bits of codes", 0)
        frames = 8 * (len(frame_bytes) - 1) // bits
        if frames > self.most_frames or len(frame_bytes) - 1 > -(-frames * bits // 8):
            raise FormatError(f"a frame of LXST has {len(frame_bytes)} bytes", 1)
        codes = unpack(frame_bytes, width, frames * codebooks, 1)
        if codes.max(initial=0) >= codec.codebook_size:
            raise FormatError(f"a frame of LXST does not fit {codec.name}", 1)
        return codes.astype(np.int32).reshape(frames, codebooks).T


def lxst_codec(base: type, codec: Codec, bitrate_bps: float | None = None) -> Any:
    """Return a codec for LXST.

    >>> from LXST.Codecs import Codec
    >>> telephone_codec = lxst_codec(Codec, chirrup.load("my-model"), 1000)

    Args:
        base: LXST's class ``Codec``, which LXST checks.
        codec: the model.
        bitrate_bps: one of the model's bitrates; None is its default.

    Raises:
        ValueError: the model does not have the bitrate, or a frame has less than 8 bits.
    """
    made = type("LxstCodec", (LxstCodec, base), {})()
    made.begin(codec, bitrate_bps)
    return made
