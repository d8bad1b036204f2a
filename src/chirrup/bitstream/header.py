"""The header of a `.chirrup` file: everything that decoding needs to know beside the codes.

Layout in docs/reference/format.md: magic, version, body length, body, CRC-32. All integers are
little endian.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from zlib import crc32

from chirrup.errors import FormatError

from .bits import MAX_BITS
from .source import Source

MAGIC: Final = b"\x8fCHIRRUP"
MAJOR: Final = 1
MINOR: Final = 1
"""Of a file in mid and side, which came with it; any other says 0."""

MAX_CHANNELS: Final = 16
MAX_CODEBOOKS: Final = 128
MAX_METADATA: Final = 65_000  # bytes as stored; the rest of the body has room beside it
UNKNOWN_COUNT: Final = 2**64 - 1  # stands for "not known yet" in the file

ChannelMode = Literal["separate", "joint", "downmix", "mid-side"]
_CHANNEL_MODES: Final[tuple[ChannelMode, ...]] = ("separate", "joint", "downmix", "mid-side")

_PREFIX = struct.Struct("<8sBBH")  # magic, major, minor, body size
_FIXED = struct.Struct("<IIQIIHHBBBBB16s")
_CRC = struct.Struct("<I")
_SHORT = struct.Struct("<H")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a `.chirrup` file says about its codes. ValueError when a value makes no sense.

    Codes are `[channels, codebooks, frames]`. `channel_mode` says how these channels came from
    the `original_channels` of the audio: "separate" (each coded on its own; mono is one of one),
    "joint" (the model codes them together: `channels` is 1), "downmix" (averaged to mono first) or
    "mid-side" (of left and right, half their sum and half their difference are coded).
    """

    model: str
    """Name of the model, at most 255 bytes of UTF-8."""
    weights_hash: str
    """Hex SHA-256 of the weights. The file keeps the first 16 bytes, and so does this field."""
    sample_rate_hz: int
    """Rate of the model."""
    original_sample_rate_hz: int
    """Rate of the audio that was encoded, and that a decoder should give back."""
    channels: int
    original_channels: int
    channel_mode: ChannelMode = "separate"
    codebooks: int
    bits_per_code: int
    """Smallest number of bits that holds every code of a codebook: 10 for 1024 (or 1000)."""
    frame_samples: int
    """Samples per frame at `sample_rate_hz`."""
    delay_samples: int = 0
    """Samples at `sample_rate_hz` to cut from the start of the decoded signal."""
    preroll_frames: int = 0
    """Frames to decode and throw away before a seek target, so that the decoder has settled."""
    bitrate_bps: int
    """Nominal bitrate over all channels, for people and players to see."""
    sample_count: int | None = None
    """Samples per channel at `original_sample_rate_hz`; None while it is not known."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Free text by key."""

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
        """The frame whose decoding gives sample number `sample` (at `original_sample_rate_hz`)."""
        native = sample * self.sample_rate_hz // self.original_sample_rate_hz
        return (native + self.delay_samples) // self.frame_samples


def encode_header(header: Header) -> bytes:
    """The bytes that a file starts with."""
    body = _body(header)
    minor = MINOR if header.channel_mode == "mid-side" else 0
    data = _PREFIX.pack(MAGIC, MAJOR, minor, len(body)) + body
    return data + _CRC.pack(crc32(data))


def read_header(source: Source) -> Header:
    """Takes the header from the start of a file. FormatError when there is no sound header."""
    if not source.fill(_PREFIX.size):
        raise FormatError("too short for a .chirrup file", source.available)
    magic, major, _, body_size = _PREFIX.unpack(source.peek(_PREFIX.size))
    if magic != MAGIC:
        raise FormatError("not a .chirrup file", 0)
    if major != MAJOR:
        raise FormatError(
            f"format version {major} is not known here, only {MAJOR}: use another Chirrup release",
            len(MAGIC),
        )
    size = _PREFIX.size + body_size
    if not source.fill(size + _CRC.size):
        raise FormatError("the file ends inside its header", source.available)
    data = source.peek(size + _CRC.size)
    if crc32(data[:size]) != _CRC.unpack_from(data, size)[0]:
        raise FormatError("the header is damaged: its CRC-32 is wrong, get a fresh copy", size)
    try:
        header = _parse_body(data[:size], _PREFIX.size)
    except (struct.error, ValueError) as error:
        raise FormatError(f"the header makes no sense: {error}", _PREFIX.size) from error
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
    """Reads the body at `position`; struct.error or ValueError when it does not hold together.

    What follows the metadata was added by a newer minor version and is left unread.
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
