"""RTP and RTCP packets (RFC 3550), written and parsed with checks.

Voice is RTP. Reports, descriptions, comfort noise and the end of a stream are RTCP, on the same
port (RFC 5761) and without the packets that RFC 5506 lets a sender leave out.
docs/reference/format.md documents the datagrams.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from chirrup.errors import FormatError

VERSION: Final = 2
VOICE_TYPE: Final = 96
"""Payload type of voice, the first dynamic one."""
SENDER_REPORT, RECEIVER_REPORT, BYE, APPLICATION = 200, 201, 203, 204
APPLICATION_NAME: Final = b"CHRP"
DESCRIPTION, COMFORT_NOISE, SEALED = 0, 1, 2
"""Subtypes of the application packets."""
MAX_DATAGRAM: Final = 1400
"""Most bytes of a datagram, which fits in one packet of Ethernet and of most tunnels."""

_HEADER = struct.Struct(">BBHII")
HEADER_BYTES: Final = _HEADER.size
"""Bytes of an RTP packet before the payload."""
SEAL_BYTES: Final = 20
"""Bytes that encryption (`live.seal`) adds to an RTP packet: counter and tag."""
_CONTROL = struct.Struct(">BBHI")
_SENDER = struct.Struct(">QIII")
_BLOCK = struct.Struct(">IIIIII")


@dataclass(frozen=True)
class Voice:
    """An RTP packet.

    Attributes:
        sequence: sequence number, modulo 2**16.
        timestamp: position of the payload in the stream in samples, modulo 2**32.
        source: SSRC.
        payload: a packet of `Encoder.push`.
        starts: marker bit: first packet of a talk spurt.
        kind: payload type.
    """

    sequence: int
    timestamp: int
    source: int
    payload: bytes
    starts: bool = False
    kind: int = VOICE_TYPE

    def pack(self) -> bytes:
        """Return the datagram."""
        return self.header() + self.payload

    def header(self) -> bytes:
        """Return the 12 bytes before the payload."""
        return _HEADER.pack(
            VERSION << 6,
            self.starts << 7 | self.kind,
            self.sequence & 0xFFFF,
            self.timestamp & 0xFFFFFFFF,
            self.source,
        )


@dataclass(frozen=True)
class Report:
    """What a receiver reports of a stream (RFC 3550, section 6.4.1).

    Attributes:
        source: SSRC of the stream.
        lost_share: share of the packets since the last report that were lost, 0 to 1.
        lost: packets lost since the beginning.
        highest: highest sequence number that was received, with its overflows in the upper 16 bits.
        jitter: interarrival jitter in units of the timestamp.
        last_report: middle 32 bits of the NTP time of the last sender report, or 0.
        since_last_report: time since the arrival of that report in 1/65536 s.
    """

    source: int
    lost_share: float
    lost: int
    highest: int
    jitter: int
    last_report: int = 0
    since_last_report: int = 0


@dataclass(frozen=True)
class Sent:
    """What a sender reports of its stream.

    Attributes:
        ntp: time in 1/2**32 s since 1900, modulo 2**64.
        timestamp: RTP timestamp of that time.
        packets: packets sent.
        payload_bytes: bytes of their payloads.
    """

    ntp: int
    timestamp: int
    packets: int
    payload_bytes: int


@dataclass(frozen=True)
class Application:
    """An application packet of Chirrup; `DESCRIPTION` and `COMFORT_NOISE` are its kinds."""

    kind: int
    data: bytes


@dataclass(frozen=True)
class Bye:
    """The end of a stream."""


Message = Report | Sent | Application | Bye


@dataclass(frozen=True)
class Control:
    """An RTCP datagram.

    Attributes:
        source: SSRC of the program that sent it.
        messages: the reports and other packets in it.
    """

    source: int
    messages: tuple[Message, ...]

    def pack(self) -> bytes:
        """Return the datagram."""
        return b"".join(_packed(self.source, message) for message in self.messages)


def is_control(data: bytes) -> bool:
    """Return whether a datagram is RTCP if it is one of the two (RFC 5761, section 4)."""
    return len(data) > 1 and 192 <= data[1] <= 223


def parse(data: bytes) -> Voice | Control:
    """Parse a datagram.

    Raises:
        FormatError: it is neither RTP nor RTCP.
    """
    if len(data) > MAX_DATAGRAM:
        raise FormatError(f"a datagram has {len(data)} bytes, more than {MAX_DATAGRAM}", 0)
    return _parse_control(data) if is_control(data) else _parse_voice(data)


def _parse_voice(data: bytes) -> Voice:
    if len(data) < _HEADER.size:
        raise FormatError(f"an RTP packet has {len(data)} bytes, fewer than 12", len(data))
    first, second, sequence, timestamp, source = _HEADER.unpack_from(data)
    if first >> 6 != VERSION:
        raise FormatError(f"the RTP version is {first >> 6}, not {VERSION}", 0)
    start, end = _HEADER.size + 4 * (first & 15), len(data)
    if first & 0x10:  # a header extension
        if end < start + 4:
            raise FormatError("an RTP packet ends before its header extension", end)
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4])
    if first & 0x20:
        end -= _padding(data, start)
    if end < start:
        raise FormatError("an RTP packet ends within its header", len(data))
    return Voice(sequence, timestamp, source, data[start:end], bool(second & 0x80), second & 0x7F)


def _padding(data: bytes, start: int) -> int:
    """Return the number of bytes of padding, which the last byte states."""
    count = data[-1]
    if not 1 <= count <= len(data) - start:
        raise FormatError(f"a packet states {count} bytes of padding", len(data) - 1)
    return count


def _parse_control(data: bytes) -> Control:
    messages: list[Message] = []
    sources: set[int] = set()
    place = 0
    while place < len(data):
        if len(data) - place < _CONTROL.size:
            raise FormatError("an RTCP packet ends within its header", len(data))
        first, kind, words, source = _CONTROL.unpack_from(data, place)
        end = place + 4 * (words + 1)
        if first >> 6 != VERSION:
            raise FormatError(f"the RTCP version is {first >> 6}, not {VERSION}", place)
        if not place + _CONTROL.size <= end <= len(data):
            raise FormatError(f"an RTCP packet states {4 * (words + 1)} bytes", place + 2)
        start, stop = place + _CONTROL.size, end
        if first & 0x20:
            stop -= _padding(data[:end], start)
        messages += _messages(kind, first & 31, data[start:stop], start)
        sources.add(source)
        place = end
    if len(sources) != 1:
        raise FormatError("the RTCP packets of a datagram have several sources", 4)
    return Control(sources.pop(), tuple(messages))


def _messages(kind: int, count: int, body: bytes, place: int) -> Iterable[Message]:
    """Yield the messages of one RTCP packet. Kinds that Chirrup does not use are left out."""
    start = 0
    if kind == SENDER_REPORT:
        if len(body) < _SENDER.size:
            raise FormatError("a sender report is too short", place)
        yield Sent(*_SENDER.unpack_from(body))
        start = _SENDER.size
    if kind in (SENDER_REPORT, RECEIVER_REPORT):
        if len(body) - start < count * _BLOCK.size:
            raise FormatError(f"an RTCP packet is too short for its {count} reports", place)
        for block in range(count):
            about, loss, highest, jitter, last, since = _BLOCK.unpack_from(
                body, start + block * _BLOCK.size
            )
            lost = (loss & 0xFFFFFF ^ 0x800000) - 0x800000  # 24 bits with a sign
            yield Report(about, (loss >> 24) / 256, lost, highest, jitter, last, since)
    elif kind == APPLICATION:
        if len(body) < 4:
            raise FormatError("an application packet has no name", place)
        if body[:4] == APPLICATION_NAME:
            yield Application(count, body[4:])
    elif kind == BYE:
        yield Bye()


def _packed(source: int, message: Message) -> bytes:
    match message:
        case Report():
            share = min(255, max(0, int(message.lost_share * 256)))
            lost = min(0x7FFFFF, max(-0x800000, message.lost)) & 0xFFFFFF
            body = _BLOCK.pack(
                message.source,
                share << 24 | lost,
                message.highest & 0xFFFFFFFF,
                min(message.jitter, 0xFFFFFFFF),
                message.last_report,
                min(message.since_last_report, 0xFFFFFFFF),
            )
            return _framed(RECEIVER_REPORT, 1, source, body)
        case Sent():
            body = _SENDER.pack(
                message.ntp & (1 << 64) - 1,
                message.timestamp & 0xFFFFFFFF,
                message.packets & 0xFFFFFFFF,
                message.payload_bytes & 0xFFFFFFFF,
            )
            return _framed(SENDER_REPORT, 0, source, body)
        case Application():
            return _framed(APPLICATION, message.kind, source, APPLICATION_NAME + message.data)
        case Bye():
            return _framed(BYE, 1, source, b"")


def _framed(kind: int, count: int, source: int, body: bytes) -> bytes:
    """Return an RTCP packet, padded to a multiple of 4 bytes."""
    padding = -len(body) % 4
    if padding:
        body += bytes(padding - 1) + bytes([padding])
    words = (_CONTROL.size + len(body)) // 4 - 1
    flags = VERSION << 6 | bool(padding) << 5 | count
    return _CONTROL.pack(flags, kind, words, source) + body
