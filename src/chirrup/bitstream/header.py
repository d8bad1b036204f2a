"""The header of a ``.chirrup`` file, which holds all that decoding needs except the codes.

It consists of a magic, the version, the length of the body, the body and a CRC-32. All integers are
little endian. See docs/reference/format.md.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from zlib import crc32

from chirrup.bitstream.bits import MAX_BITS
from chirrup.bitstream.source import SourceBuffer
from chirrup.errors import FormatError

MAGIC: Final = b"\x8fCHIRRUP"
MAJOR: Final = 1
MINOR: Final = 1
"""Minor version of a file in mid and side. All other files have minor version 0."""

MAX_CHANNELS: Final = 16
MAX_CODEBOOKS: Final = 128
MAX_METADATA: Final = 65_000
"""Largest size of the stored metadata in bytes; the body is limited to 65,535 bytes."""
UNKNOWN_COUNT: Final = 2**64 - 1
"""Stored number of samples while it is not known."""

ChannelMode = Literal["separate", "joint", "downmix", "mid-side"]
_CHANNEL_MODES: Final[tuple[ChannelMode, ...]] = ("separate", "joint", "downmix", "mid-side")

_PREFIX = struct.Struct("<8sBBH")  # magic, major, minor, body size
_FIXED = struct.Struct("<IIQIIHHBBBBB16s")
_CRC = struct.Struct("<I")
_SHORT = struct.Struct("<H")


@dataclass(frozen=True, kw_only=True)
class Header:
    """The header of a ``.chirrup`` file, whose codes are ``[channels, codebooks, frames]``.

    ``channel_mode`` is the relation between the ``original_channels`` of the audio and the
    ``channels`` of the codes:

    - "separate": each channel is coded on its own.
    - "joint": the model codes all channels together; ``channels`` is 1.
    - "downmix": the channels are averaged to mono before they are coded.
    - "mid-side": half the sum and half the difference of left and right are coded.

    Raises:
        ValueError: a value is out of range or contradicts another value.
    """

    model: str
    """Name of the model, 1 to 255 bytes of UTF-8."""
    weights_hash: str
    """First 16 bytes of the SHA-256 of the weights, in hexadecimal."""
    sample_rate_hz: int
    """Sample rate of the model, in Hz."""
    original_sample_rate_hz: int
    """Sample rate of the encoded audio, to which a decoder resamples, in Hz."""
    channels: int
    original_channels: int
    channel_mode: ChannelMode = "separate"
    codebooks: int
    bits_per_code: int
    """Smallest number of bits that holds every code of a codebook. A codebook of 1000 has 10."""
    frame_samples: int
    """Samples per frame at ``sample_rate_hz``."""
    delay_samples: int = 0
    """Samples at ``sample_rate_hz`` that a decoder removes from the start of the signal."""
    preroll_frames: int = 0
    """Frames that a decoder decodes and discards before a seek target, to settle its state."""
    bitrate_bps: int
    """Nominal bitrate of all channels together, in bit/s. It is only displayed."""
    sample_count: int | None = None
    """Samples per channel at ``original_sample_rate_hz``; None while it is not known."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Text by key."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights_hash", self.weights_hash[:32].lower())
        object.__setattr__(self, "metadata", dict(self.metadata))
        for name, low, high in (
            ("sample_rate_hz", 1, 10_000_000),
            ("original_sample_rate_hz", 1, 10_000_000),
            ("channels", 1, MAX_CHANNELS),
            ("original_channels", 1, MAX_CHANNELS),
            ("codebooks", 1, MAX_CODEBOOKS),
            ("bits_per_code", 1, MAX_BITS),
            ("frame_samples", 1, 0xFFFF),
            ("delay_samples", 0, 10_000_000),
            ("preroll_frames", 0, 0xFFFF),
            ("bitrate_bps", 0, 0xFFFFFFFF),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} is {value}, must be a whole number from {low} to {high}")
        if self.sample_count is not None and not 0 <= self.sample_count < 2**63:
            raise ValueError(f"sample_count is {self.sample_count}, must be 0 to 2**63 - 1 or None")
        if len(self.weights_hash) != 32 or set(self.weights_hash) - set("0123456789abcdef"):
            raise ValueError("weights_hash must be a SHA-256 in hex (32 digits or more)")
        if self.channel_mode not in _CHANNEL_MODES:
            raise ValueError(f"channel_mode is {self.channel_mode!r}, not one of {_CHANNEL_MODES}")
        if self.channel_mode == "mid-side" and self.original_channels != 2:
            raise ValueError(
                f"channel_mode 'mid-side' needs 2 original channels, not {self.original_channels}"
            )
        each = self.channel_mode in ("separate", "mid-side")
        expected = self.original_channels if each else 1
        if self.channels != expected:
            raise ValueError(
                f"channel_mode {self.channel_mode!r} with {self.original_channels} original "
                f"channels has {expected} coded channels, not {self.channels}"
            )
        if not 1 <= len(self.model.encode()) <= 255:
            raise ValueError("model must be 1 to 255 bytes of UTF-8")
        size = sum(2 + len(text.encode()) for pair in self.metadata.items() for text in pair)
        if size > MAX_METADATA:
            raise ValueError(f"metadata takes {size} bytes, must be at most {MAX_METADATA}")

    def frame_at(self, sample: int) -> int:
        """Return the frame that decodes to a sample, counted at ``original_sample_rate_hz``."""
        native = sample * self.sample_rate_hz // self.original_sample_rate_hz
        return (native + self.delay_samples) // self.frame_samples

    def time_of(self, frame: int) -> str:
        """Return the time at which a frame begins to decode, in seconds, rounded down to 0.01 s."""
        sample = max(0, frame * self.frame_samples - self.delay_samples)
        return f"{sample * 100 // self.sample_rate_hz / 100:.2f}"


def encode_header(header: Header) -> bytes:
    """Return the header as bytes."""
    body = _body(header)
    minor = MINOR if header.channel_mode == "mid-side" else 0
    data = _PREFIX.pack(MAGIC, MAJOR, minor, len(body)) + body
    return data + _CRC.pack(crc32(data))


def read_header(source: SourceBuffer) -> Header:
    """Read the header at the start of a file.

    Raises:
        FormatError: there is no header, or it is damaged or of another major version.
    """
    if not source.fill(_PREFIX.size):
        if source.available == 0:
            raise FormatError("the file is empty", 0, "get a fresh copy")
        raise FormatError("too short for a .chirrup file", source.available, "get a fresh copy")
    magic, major, _, body_size = _PREFIX.unpack(source.peek(_PREFIX.size))
    if magic != MAGIC:
        raise FormatError("not a .chirrup file", 0, "chirrup encode makes one of audio")
    if major != MAJOR:
        raise FormatError(
            f"format version {major} is not supported, only {MAJOR}",
            len(MAGIC),
            "use another chirrup release",
        )
    size = _PREFIX.size + body_size
    if not source.fill(size + _CRC.size):
        raise FormatError("the file ends inside its header", source.available, "get a fresh copy")
    data = source.peek(size + _CRC.size)
    if crc32(data[:size]) != _CRC.unpack_from(data, size)[0]:
        raise FormatError("the header is damaged: its CRC-32 is wrong", size, "get a fresh copy")
    try:
        header = _parse_body(data[:size], _PREFIX.size)
    except (struct.error, ValueError) as error:
        raise FormatError(f"the header is not valid: {error}", _PREFIX.size) from error
    source.drop(size + _CRC.size)
    return header


def _body(header: Header) -> bytes:
    name = header.model.encode()
    fixed = _FIXED.pack(
        header.sample_rate_hz,
        header.original_sample_rate_hz,
        UNKNOWN_COUNT if header.sample_count is None else header.sample_count,
        header.bitrate_bps,
        header.delay_samples,
        header.frame_samples,
        header.preroll_frames,
        header.channels,
        header.original_channels,
        _CHANNEL_MODES.index(header.channel_mode),
        header.codebooks,
        header.bits_per_code,
        bytes.fromhex(header.weights_hash),
    )
    texts = [text.encode() for pair in header.metadata.items() for text in pair]
    parts = [fixed, bytes([len(name)]), name, _SHORT.pack(len(header.metadata))]
    for text in texts:
        parts += [_SHORT.pack(len(text)), text]
    return b"".join(parts)


def _parse_body(data: bytes, position: int) -> Header:
    """Parse the body at ``position``, and ignore bytes after the metadata.

    A newer minor version may add such bytes.

    Raises:
        struct.error: the body is too short.
        ValueError: the body is too short, or a value is not valid.
    """

    def take(size: int) -> bytes:
        nonlocal position
        position += size
        if position > len(data):
            raise ValueError("it ends too early")
        return data[position - size : position]

    def take_short() -> int:
        return _SHORT.unpack(take(_SHORT.size))[0]

    values = _FIXED.unpack(take(_FIXED.size))
    rate, original_rate, count, bitrate, delay, frame, preroll, *small, weights = values
    channels, original_channels, mode, codebooks, bits = small
    if mode >= len(_CHANNEL_MODES):
        raise ValueError(f"channel mode {mode} is not known")
    model = take(take(1)[0]).decode()
    texts = [take(take_short()).decode() for _ in range(2 * take_short())]
    return Header(
        model=model,
        weights_hash=weights.hex(),
        sample_rate_hz=rate,
        original_sample_rate_hz=original_rate,
        channels=channels,
        original_channels=original_channels,
        channel_mode=_CHANNEL_MODES[mode],
        codebooks=codebooks,
        bits_per_code=bits,
        frame_samples=frame,
        delay_samples=delay,
        preroll_frames=preroll,
        bitrate_bps=bitrate,
        sample_count=None if count == UNKNOWN_COUNT else count,
        metadata=dict(zip(texts[::2], texts[1::2], strict=True)),
    )
