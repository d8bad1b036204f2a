"""Codecs as packets for a lossy link: models, bare frames, Opus by libopus, Codec2.

A link codes a signal to packets, and decodes the packets that arrive. `loss.py` compares them.
"""

import ctypes
import ctypes.util
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from chirrup.bitstream import END_FRAMES
from chirrup.codec import Codec
from chirrup.concealment import FADE_SECONDS, HOLD_SECONDS
from chirrup.evaluate.peers.codec2 import Codec2
from chirrup.evaluate.peers.commands import run
from chirrup.evaluate.peers.peer import PeerError
from chirrup.radio import BareDecoder, BareEncoder

Arrived = Sequence[bytes | None]
"""Packets in the order of sending. None is a lost packet."""


class Link(ABC):
    """A codec at a bitrate, as packets.

    Attributes:
        name, label: for files, and for readers.
        ours: whether the codec is a model of this package.
        version: version of the weights.
        bitrate_bps: nominal bitrate, of the codes and the codes that are sent again.
        sample_rate_hz: rate of the signals.
        period_s: duration of a packet.
        delay_samples: delay of the decoded signal; None if it is to be estimated.
        prepares: whether the encoder prepares for the share of lost packets.
    """

    name: str
    label: str
    ours: bool = False
    version: str = ""
    bitrate_bps: int
    sample_rate_hz: int
    period_s: float = 0.02
    delay_samples: int | None = 0
    prepares: bool = False

    @abstractmethod
    def encode(self, audio: np.ndarray, loss: float) -> list[bytes]:
        """Encode ``float32 [samples]``.

        Args:
            loss: share of the packets that will be lost, for encoders that prepare for it.
        """

    @abstractmethod
    def decode(self, packets: Arrived) -> np.ndarray:
        """Decode the packets that arrived, as ``float32 [samples]``."""

    def bits(self, packets: Sequence[bytes]) -> int:
        """Return the bits that count: codes, for codecs with codes; else whole packets."""
        return 8 * sum(map(len, packets))


class ModelLink(Link):
    """A model's live packets, which repeat the first codebooks of the packet before.

    Args:
        bitrate_bps: bitrate of the codes and their copies.
        copies: number of codebooks that a packet repeats.
    """

    ours = True

    def __init__(self, codec: Codec, name: str, bitrate_bps: int, copies: int) -> None:
        self.codec, self.copies, self.bitrate_bps = codec, copies, bitrate_bps
        self.payload_bps = bitrate_bps - copies * codec.bitrates_bps[0]
        if copies > codec.codebooks_at(self.payload_bps):
            raise ValueError(
                f"{name} has fewer than {copies} codebooks at {self.payload_bps} bit/s"
            )
        self.name = f"{name}-r{copies}"
        self.label = f"{name} ({copies} repeated)"
        self.version = codec.weights_sha256[:12]
        self.sample_rate_hz, self.delay_samples = codec.sample_rate_hz, codec.delay_samples
        self.period_s = codec.spec.packet_frames / codec.frame_rate_hz

    def encode(self, audio: np.ndarray, loss: float) -> list[bytes]:
        encoder = self.codec.encoder(
            self.payload_bps, redundancy=self.copies, sample_rate_hz=self.sample_rate_hz
        )
        return encoder.push(audio) + encoder.flush()

    def decode(self, packets: Arrived) -> np.ndarray:
        decoder = self.codec.decoder()
        pieces = [decoder.push(*pair) for pair in pairwise([*packets, None])]
        return np.concatenate([*pieces, decoder.flush()])

    def bits(self, packets: Sequence[bytes]) -> int:
        return round(self.bitrate_bps * self.period_s * len(packets))


class BareLink(Link):
    """A model's bare frames, which have no header and no copies."""

    ours = True

    def __init__(self, codec: Codec, name: str, bitrate_bps: int) -> None:
        self.codec, self.bitrate_bps = codec, bitrate_bps
        self.name = self.label = name
        self.version = codec.weights_sha256[:12]
        self.sample_rate_hz, self.delay_samples = codec.sample_rate_hz, codec.delay_samples
        self.period_s = 1 / codec.frame_rate_hz

    def encode(self, audio: np.ndarray, loss: float) -> list[bytes]:
        encoder = BareEncoder(self.codec, self.bitrate_bps, sample_rate_hz=self.sample_rate_hz)
        frames = encoder.push(audio) + encoder.flush()
        return [np.packbits(frame).tobytes() for frame in frames[:-END_FRAMES]]

    def decode(self, packets: Arrived) -> np.ndarray:
        decoder = BareDecoder(self.codec, self.bitrate_bps)
        size = decoder.format.bits
        frames = [
            None if data is None else np.unpackbits(np.frombuffer(data, np.uint8), count=size)
            for data in packets
        ]
        return np.concatenate([decoder.push(frame) for frame in frames])

    def bits(self, packets: Sequence[bytes]) -> int:
        return round(self.bitrate_bps * self.period_s * len(packets))


class OpusLink(Link):
    """Opus by libopus: speech mode, variable bitrate, complexity 10, packets of 20 ms.

    The encoder gets the true share of lost packets. With in-band FEC (LBRR) a lost packet is
    decoded from the packet after it, if that arrived; else libopus conceals. libopus 1.3.1 sends
    copies only at high bitrates, at 10 % loss from 18 kbit/s on: `has_copies` shows it.
    """

    label, sample_rate_hz, frame_samples, prepares = "Opus", 48_000, 960, True

    def __init__(self, bitrate_bps: int, fec: bool = True) -> None:
        self.bitrate_bps, self.fec = bitrate_bps, fec
        self.name = "opus-fec" if fec else "opus-plc"
        encoder = _Opus(bitrate_bps, 0, fec)
        self.delay_samples = encoder.lookahead_samples

    def encode(self, audio: np.ndarray, loss: float) -> list[bytes]:
        encoder, size = _Opus(self.bitrate_bps, round(100 * loss), self.fec), self.frame_samples
        end = encoder.lookahead_samples + -(len(audio) + encoder.lookahead_samples) % size
        return [encoder.encode(frame) for frame in np.pad(audio, (0, end)).reshape(-1, size)]

    def decode(self, packets: Arrived) -> np.ndarray:
        decoder = _OpusDecoder(self.frame_samples)
        return np.concatenate(
            [
                decoder.decode(following if packet is None and self.fec else packet, packet is None)
                for packet, following in pairwise([*packets, None])
            ]
        )


def has_copies(packet: bytes) -> bool:
    """Return whether an Opus packet has a copy of the frame before (RFC 6716, 4.2.3 and 4.2.4).

    For mono packets of one 20 ms frame. The first bit after the byte of the mode is the voice
    activity, the second one is the flag of the copy. The range coder has probability 1/2 for both,
    so that they are the first two bits.
    """
    hybrid_or_silk = packet[0] < 0x80
    return len(packet) > 1 and hybrid_or_silk and bool(packet[1] & 0x40)


class Codec2Link(Link):
    """Codec2 by c2enc and c2dec. A packet is a frame.

    c2dec has no input for lost frames. The last frame that arrived is decoded again in place of a
    lost one, and a long gap fades to silence as in the decoders of this package.
    """

    name, label, sample_rate_hz, delay_samples = "codec2", "Codec2", 8000, None

    def __init__(self, bitrate_bps: int) -> None:
        self.bitrate_bps, self.codec = bitrate_bps, Codec2()
        if (lack := self.codec.missing()) is not None:
            raise PeerError(f"Codec2 is not installed: {lack}")
        self.period_s = {3200: 0.02, 2400: 0.02}.get(bitrate_bps, 0.04)
        self.frame_bytes = round(bitrate_bps * self.period_s / 8)

    def encode(self, audio: np.ndarray, loss: float) -> list[bytes]:
        with tempfile.TemporaryDirectory() as name:
            source, coded = Path(name) / "source.raw", Path(name) / "coded.bit"
            self.codec.write(source, np.pad(audio, (0, self.codec.flush_samples))[None])
            run(self.codec.encode_command(source, coded, self.bitrate_bps))
            data = coded.read_bytes()
        return [data[i : i + self.frame_bytes] for i in range(0, len(data), self.frame_bytes)]

    def decode(self, packets: Arrived) -> np.ndarray:
        last = next((packet for packet in packets if packet is not None), bytes(self.frame_bytes))
        filled: list[bytes] = []
        gains: list[float] = []
        gap_s = HOLD_SECONDS + FADE_SECONDS
        for packet in packets:
            gap_s = gap_s + self.period_s if packet is None else 0.0
            last = last if packet is None else packet
            filled.append(last)
            gains.append(float(np.clip(1 - (gap_s - HOLD_SECONDS) / FADE_SECONDS, 0, 1)))
        with tempfile.TemporaryDirectory() as name:
            coded, decoded = Path(name) / "coded.bit", Path(name) / "decoded.raw"
            coded.write_bytes(b"".join(filled))
            run(self.codec.decode_command(coded, decoded, self.bitrate_bps))
            audio = self.codec.read(decoded)[0]
        return audio * np.repeat(np.array(gains, np.float32), len(audio) // len(gains))


# --- libopus -------------------------------------------------------------------------------------

VOIP, OK = 2048, 0
SET_BITRATE, SET_COMPLEXITY, SET_FEC, SET_LOSS, LOOKAHEAD = 4002, 4010, 4012, 4014, 4027
LARGEST_PACKET = 1500


@cache
def opus_library() -> ctypes.CDLL:
    """Load libopus.

    Raises:
        PeerError: it is not installed.
    """
    path = ctypes.util.find_library("opus")
    if path is None:
        raise PeerError("libopus is not installed: apt-get install libopus0")
    library = ctypes.CDLL(path)
    for name in ("opus_encoder_create", "opus_decoder_create"):
        getattr(library, name).restype = ctypes.c_void_p
    return library


def opus_version() -> str:
    function = opus_library().opus_get_version_string
    function.restype = ctypes.c_char_p
    return function().decode()


def _checked(status: int) -> int:
    if status < 0:
        raise PeerError(f"libopus failed with status {status}")
    return status


class _Opus:
    """An encoder of libopus, mono, 48 kHz."""

    def __init__(self, bitrate_bps: int, loss_percent: int, fec: bool) -> None:
        self.library = opus_library()
        status = ctypes.c_int()
        self.state = ctypes.c_void_p(
            self.library.opus_encoder_create(48_000, 1, VOIP, ctypes.byref(status))
        )
        _checked(status.value)
        settings = {SET_BITRATE: bitrate_bps, SET_COMPLEXITY: 10, SET_LOSS: loss_percent}
        for request, value in (settings | {SET_FEC: int(fec)}).items():
            _checked(self.library.opus_encoder_ctl(self.state, request, ctypes.c_int(value)))
        value = ctypes.c_int()
        _checked(self.library.opus_encoder_ctl(self.state, LOOKAHEAD, ctypes.byref(value)))
        self.lookahead_samples = value.value

    def encode(self, samples: np.ndarray) -> bytes:
        samples = np.ascontiguousarray(samples, np.float32)
        out = ctypes.create_string_buffer(LARGEST_PACKET)
        size = self.library.opus_encode_float(
            self.state, ctypes.c_void_p(samples.ctypes.data), len(samples), out, LARGEST_PACKET
        )
        return out.raw[: _checked(size)]

    def __del__(self) -> None:
        self.library.opus_encoder_destroy(self.state)


class _OpusDecoder:
    """A decoder of libopus, mono, 48 kHz."""

    def __init__(self, frame_samples: int) -> None:
        self.library, self.frame_samples = opus_library(), frame_samples
        status = ctypes.c_int()
        self.state = ctypes.c_void_p(
            self.library.opus_decoder_create(48_000, 1, ctypes.byref(status))
        )
        _checked(status.value)

    def decode(self, packet: bytes | None, before: bool) -> np.ndarray:
        """Decode a frame. None is concealed.

        Args:
            before: whether the frame is the one before the packet, from its in-band FEC.
        """
        out = np.zeros(self.frame_samples, np.float32)
        _checked(
            self.library.opus_decode_float(
                self.state,
                packet,
                0 if packet is None else len(packet),
                ctypes.c_void_p(out.ctypes.data),
                self.frame_samples,
                int(before and packet is not None),
            )
        )
        return out

    def __del__(self) -> None:
        self.library.opus_decoder_destroy(self.state)
