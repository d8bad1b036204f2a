"""WAV through a pipe, where nothing seeks: reading its head, and writing one before the length is
known."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

UNKNOWN_SIZE = 0xFFFFFFFF
"""Size of what has no known size: sox, ffmpeg and libsndfile read on to the end of the file."""
_UNTIL_THE_END = {UNKNOWN_SIZE, 0x7FFFF000}  # the latter is what sox writes
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


class NotPlainWavError(Exception):
    """Not WAV, or with samples that need a decoder."""


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _integers(kind: str, scale: float, offset: float = 0) -> Callable[[bytes], np.ndarray]:
    def convert(data: bytes) -> np.ndarray:
        return ((np.frombuffer(data, kind).astype(np.float32) - offset) / scale).astype(np.float32)

    return convert


def _three_bytes(data: bytes) -> np.ndarray:
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)


def _floats(kind: str) -> Callable[[bytes], np.ndarray]:
    return lambda data: np.frombuffer(data, kind).astype(np.float32)


SAMPLE_TYPES: dict[str, tuple[int, Callable[[bytes], np.ndarray]]] = {
    "u8": (1, _integers("u1", 2.0**7, 2.0**7)),
    "s16": (2, _integers("<i2", 2.0**15)),
    "s24": (3, _three_bytes),
    "s32": (4, _integers("<i4", 2.0**31)),
    "f32": (4, _floats("<f4")),
    "f64": (8, _floats("<f8")),
}
"""Bytes of a sample, and how to make ``float32`` of many."""
_TYPES = {
    (_PCM, 8): "u8",
    (_PCM, 16): "s16",
    (_PCM, 24): "s24",
    (_PCM, 32): "s32",
    (_FLOAT, 32): "f32",
    (_FLOAT, 64): "f64",
}


@dataclass(frozen=True)
class Format:
    """What samples are like: a key of `SAMPLE_TYPES`, the rate, and interleaved channels."""

    kind: str
    sample_rate_hz: int
    channels: int

    @property
    def frame_bytes(self) -> int:
        return SAMPLE_TYPES[self.kind][0] * self.channels


@dataclass(frozen=True)
class Head:
    """What comes before the samples of a WAV file. Unknown bytes are None."""

    format: Format
    data_bytes: int | None


def read_wav_head(file: Readable, seen: bytearray) -> Head:
    """Read up to the first sample, keeping all that was read in ``seen``.

    Raises:
        NotPlainWavError: hand ``seen`` and the rest to somebody else.
    """

    def take(size: int) -> bytes:
        start = len(seen)
        while len(seen) < start + size:
            data = file.read(min(start + size - len(seen), 1 << 16))
            if not data:
                raise NotPlainWavError("it ends in its head")
            seen.extend(data)
        return bytes(seen[start:])

    magic, riff_bytes, kind = struct.unpack("<4sI4s", take(12))
    if magic not in (b"RIFF", b"RF64") or kind != b"WAVE":
        raise NotPlainWavError("no RIFF")
    form, long_bytes = None, None
    while True:
        name, size = struct.unpack("<4sI", take(8))
        if name == b"data":
            break
        if size > 1 << 24:
            raise NotPlainWavError("a chunk too large to be kept")
        content = take(size + size % 2)
        if name == b"fmt ":
            form = _format(content)
        elif name == b"ds64" and size >= 16:
            long_bytes = struct.unpack_from("<8xQ", content)[0]
    if form is None:
        raise NotPlainWavError("no format before the samples")
    if magic == b"RF64" and size == UNKNOWN_SIZE:
        return Head(form, long_bytes or None)
    streamed = size in _UNTIL_THE_END or (size == 0 and riff_bytes in (0, UNKNOWN_SIZE))
    return Head(form, None if streamed else size)


def _format(content: bytes) -> Format:
    if len(content) < 16:
        raise NotPlainWavError("a short format chunk")
    tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", content)
    if tag == _EXTENSIBLE and len(content) >= 26:
        tag = struct.unpack_from("<H", content, 24)[0]
    kind = _TYPES.get((tag, bits))
    if kind is None or channels == 0 or align != channels * bits // 8:
        raise NotPlainWavError("samples that need a decoder")
    return Format(kind, rate, channels)


def wav_head(form: Format, samples: int | None) -> bytes:
    """The bytes before the samples; ``form`` is of s16 or f32, ``samples`` None if not known."""
    size, floating = SAMPLE_TYPES[form.kind][0], form.kind == "f32"
    values = (
        _FLOAT if floating else _PCM,
        form.channels,
        form.sample_rate_hz,
        form.sample_rate_hz * form.frame_bytes,
        form.frame_bytes,
        8 * size,
    )
    count = UNKNOWN_SIZE if samples is None else samples
    body = b"WAVEfmt " + struct.pack("<I", 18 if floating else 16) + struct.pack("<HHIIHH", *values)
    if floating:
        body += struct.pack("<H4sII", 0, b"fact", 4, min(count, UNKNOWN_SIZE))
    data_bytes = UNKNOWN_SIZE if samples is None else samples * form.frame_bytes
    riff_bytes = len(body) + 8 + data_bytes
    if riff_bytes > UNKNOWN_SIZE:
        riff_bytes = data_bytes = UNKNOWN_SIZE
    return b"RIFF" + struct.pack("<I", riff_bytes) + body + b"data" + struct.pack("<I", data_bytes)
