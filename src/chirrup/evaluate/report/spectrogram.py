"""Spectrograms as small PNG images, which numpy and zlib write without another package."""

import struct
import zlib

import numpy as np

WIDTH, HEIGHT = 320, 96
RANGE_DB = 80.0
LEVELS = 40
"""Number of shades, 2 dB each. Fewer shades make smaller files."""

FFT_S = 0.032
ANCHORS = np.array(
    [
        (0, 0, 4),
        (28, 16, 68),
        (79, 18, 123),
        (129, 37, 129),
        (181, 54, 122),
        (229, 80, 100),
        (251, 135, 97),
        (254, 194, 135),
        (252, 253, 191),
    ]
)
"""Colours (RGB) of evenly spaced levels, from silent (dark violet) to loud (yellow)."""


def power_db(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    """Compute the power of the bands of a clip over time.

    Args:
        audio: ``[samples, channels]``.

    Returns:
        dB ``[HEIGHT, WIDTH]``, the highest band first. The bands have equal widths from 0 to half
        the rate; the columns cover the whole clip.
    """
    size = 2 ** round(np.log2(FFT_S * rate_hz))
    window = np.hanning(size + 1)[:-1]
    starts = np.linspace(0, max(0, len(audio) - 1), 2 * WIDTH).astype(int)
    padded = np.pad(audio, ((size // 2, size), (0, 0)))
    frames = padded[starts[:, None] + np.arange(size)]  # [2 * WIDTH, size, channels]
    power = np.square(np.abs(np.fft.rfft(frames * window[:, None], axis=1))).mean(axis=2)[:, :-1]
    edges = np.linspace(0, power.shape[1], HEIGHT + 1).astype(int)[:-1]
    bands = np.add.reduceat(power, edges, axis=1) / np.diff(np.append(edges, power.shape[1]))
    pairs = bands.reshape(WIDTH, 2, HEIGHT).mean(axis=1)
    return 10 * np.log10(pairs.T[::-1] / np.square(window.sum()) + 1e-20)


def image(level_db: np.ndarray, top_db: float) -> bytes:
    """Return a PNG of the levels from ``top_db - RANGE_DB`` to ``top_db``."""
    shade = np.clip((level_db - top_db) / RANGE_DB + 1, 0, 1) * (LEVELS - 1)
    return png(np.round(shade).astype(np.uint8), palette(LEVELS))


def palette(colours: int) -> np.ndarray:
    """Interpolate `ANCHORS`: ``uint8 [colours, 3]``."""
    place = np.linspace(0, len(ANCHORS) - 1, colours)
    channels = [np.interp(place, np.arange(len(ANCHORS)), channel) for channel in ANCHORS.T]
    return np.round(np.stack(channels, axis=1)).astype(np.uint8)


def png(pixels: np.ndarray, colours: np.ndarray) -> bytes:
    """Return a PNG of ``pixels uint8 [height, width]``, indices into ``colours uint8 [n, 3]``."""
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, palette
    lines = np.pad(pixels, ((0, 0), (1, 0)))  # each line starts with its filter: 0, none
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", colours.tobytes()),
            _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
