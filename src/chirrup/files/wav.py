"""WAV in a pipe: conversion of its samples, and a header that precedes an unknown length."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

UNKNOWN_SIZE = 0xFFFFFFFF
"""Size if it is unknown. sox, ffmpeg and libsndfile then read to the end of the file."""
PCM, FLOAT = 1, 3


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


def _mu_law(data: bytes) -> np.ndarray:
    code = ~np.frombuffer(data, np.uint8)
    steps = ((code & 15).astype(np.int32) << 3) + 132 << ((code >> 4) & 7)
    return _signed(steps - 132, code < 128)


def _a_law(data: bytes) -> np.ndarray:
    code = np.frombuffer(data, np.uint8) ^ 0x55
    segment, steps = (code >> 4) & 7, ((code & 15).astype(np.int32) << 4) + 8
    steps = np.where(segment > 0, steps + 256 << np.maximum(segment, 1) - 1, steps)
    return _signed(steps, code > 127)


def _signed(magnitudes: np.ndarray, positive: np.ndarray) -> np.ndarray:
    return (np.where(positive, magnitudes, -magnitudes) / 2.0**15).astype(np.float32)


SAMPLE_TYPES: dict[str, tuple[int, Callable[[bytes], np.ndarray]]] = {
    "u8": (1, _integers("u1", 2.0**7, 2.0**7)),
    "s16": (2, _integers("<i2", 2.0**15)),
    "s24": (3, _three_bytes),
    "s32": (4, _integers("<i4", 2.0**31)),
    "f32": (4, _floats("<f4")),
    "f64": (8, _floats("<f8")),
    "s16be": (2, _integers(">i2", 2.0**15)),
    "s32be": (4, _integers(">i4", 2.0**31)),
    "f32be": (4, _floats(">f4")),
    "ulaw": (1, _mu_law),
    "alaw": (1, _a_law),
}
"""Bytes of a sample, and a function that converts samples to ``float32``."""
KINDS = {
    (PCM, 8): "u8",
    (PCM, 16): "s16",
    (PCM, 24): "s24",
    (PCM, 32): "s32",
    (FLOAT, 32): "f32",
    (FLOAT, 64): "f64",
}
"""Keys of `SAMPLE_TYPES`, by the format tag and the bits of a WAV file."""


@dataclass(frozen=True)
class Format:
    """The format of interleaved samples.

    Attributes:
        kind: a key of `SAMPLE_TYPES`.
        sample_rate_hz: sample rate.
        channels: number of channels.
    """

    kind: str
    sample_rate_hz: int
    channels: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return SAMPLE_TYPES[self.kind][0] * self.channels


def wav_header(form: Format, samples: int | None) -> bytes:
    """Return the header of a WAV file.

    Args:
        form: format of the samples, of kind s16 or f32.
        samples: samples of each channel, or None if not known.
    """
    size, floating = SAMPLE_TYPES[form.kind][0], form.kind == "f32"
    values = (
        FLOAT if floating else PCM,
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
