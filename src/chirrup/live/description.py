"""The description of a stream: model, weights and bitrate, as text for datagrams and SDP files."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from chirrup.bitstream import MAX_PACKET_FRAMES
from chirrup.errors import FormatError
from chirrup.live.rtp import VOICE_TYPE
from chirrup.spec import ModelSpec

ENCODING: Final = "x-chirrup"
"""Name of the encoding in SDP."""
HASH_DIGITS: Final = 32
_NUMBERS: Final = {
    "rate": (1_000, 1_000_000),
    "channels": (1, 16),
    "bitrate": (1, 10_000_000),
    "codebooks": (1, 128),
    "frames": (1, MAX_PACKET_FRAMES),
    "redundancy": (0, 16),
}


@dataclass(frozen=True)
class Description:
    """What a receiver must know of a stream.

    Attributes:
        model: name of the model.
        weights: first 32 hexadecimal digits of ``codes_sha256``.
        rate: sample rate of the decoded audio in Hz, and rate of the timestamps.
        channels: channels of the model.
        bitrate: bitrate of the codes in bit/s, without redundancy.
        codebooks: codebooks of a frame.
        frames: frames of a packet.
        redundancy: codebooks of the previous packet that a packet repeats.
    """

    model: str
    weights: str
    rate: int
    channels: int
    bitrate: int
    codebooks: int
    frames: int
    redundancy: int

    @classmethod
    def of(cls, spec: ModelSpec, codebooks: int, frames: int, redundancy: int) -> "Description":
        """Return the description of an encoder's stream."""
        bitrate = spec.bitrates_bps[codebooks - 1]
        weights = spec.codes_sha256[:HASH_DIGITS]
        return cls(
            spec.name,
            weights,
            spec.sample_rate_hz,
            spec.channels,
            bitrate,
            codebooks,
            frames,
            redundancy,
        )

    @property
    def text(self) -> str:
        """The parameters, as in a=fmtp: ``model=demo;weights=...;rate=24000;...``."""
        return ";".join(f"{name}={quote(str(value))}" for name, value in vars(self).items())


def parse_description(data: bytes) -> Description:
    """Parse the text of a description. Parameters that are not known are ignored.

    Raises:
        FormatError: a parameter is missing or out of range.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise FormatError("the description of a stream is not text", error.start) from error
    given = {
        name: value for name, _, value in (part.strip().partition("=") for part in text.split(";"))
    }
    model, weights = unquote(given.get("model", "")), given.get("weights", "")
    if not (model.isprintable() and 1 <= len(model.encode()) <= 255):
        raise FormatError("the description of a stream has no name of a model", 0)
    if not re.fullmatch(rf"[0-9a-f]{{{HASH_DIGITS}}}", weights):
        raise FormatError("the description of a stream has no hash of the weights", 0)
    numbers = {}
    for name, (low, high) in _NUMBERS.items():
        word = given.get(name, "")
        if not (re.fullmatch("[0-9]{1,8}", word) and low <= int(word) <= high):
            raise FormatError(f"the description of a stream has {name}={word[:20]!r}", 0)
        numbers[name] = int(word)
    return Description(model, weights, **numbers)


def session_description(description: Description, host: str, port: int) -> str:
    """Return the text of an SDP file (RFC 8866) of a stream to a host and port."""
    family = "IP6" if ":" in host else "IP4"
    channels = f"/{description.channels}" if description.channels > 1 else ""
    lines = [
        "v=0",
        f"o=- 0 0 IN {family} {host}",
        "s=chirrup",
        f"c=IN {family} {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {VOICE_TYPE}",
        f"a=rtpmap:{VOICE_TYPE} {ENCODING}/{description.rate}{channels}",
        f"a=fmtp:{VOICE_TYPE} {description.text}",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=sendonly",
    ]
    return "".join(f"{line}\r\n" for line in lines)
