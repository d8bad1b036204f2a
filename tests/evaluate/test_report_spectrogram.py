"""Spectrograms: place and shade of tones, and the pixels of the PNG."""

import struct
import zlib

import numpy as np
import pytest

from chirrup.evaluate.report.spectrogram import (
    ANCHORS,
    HEIGHT,
    LEVELS,
    RANGE_DB,
    WIDTH,
    image,
    palette,
    png,
    power_db,
)


def decoded(content: bytes) -> np.ndarray:
    """Return the pixels ``uint8 [height, width, 3]`` of a PNG with a palette and no filters."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(content):
        size, kind = struct.unpack(">I4s", content[at : at + 8])
        chunks[kind] = content[at + 8 : at + 8 + size]
        (checksum,) = struct.unpack(">I", content[at + 8 + size : at + 12 + size])
        assert checksum == zlib.crc32(kind + chunks[kind])
        at += 12 + size
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    width, height, bits, colour, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (bits, colour) == (8, 3)
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not lines[:, 0].any()
    return np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)[lines[:, 1:]]


def tone(pitch_hz: float, rate_hz: int, seconds: float = 2.0) -> np.ndarray:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.sin(2 * np.pi * pitch_hz * time_s)[:, None].astype(np.float32)


def test_a_png_decodes_to_its_pixels() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 40, (7, 5)).astype(np.uint8)
    colours = random.integers(0, 256, (40, 3)).astype(np.uint8)
    np.testing.assert_array_equal(decoded(png(pixels, colours)), colours[pixels])


@pytest.mark.parametrize("rate_hz", [8000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_tone_is_a_line_at_its_height(rate_hz: int, share: float) -> None:
    levels = power_db(tone(share * rate_hz / 2, rate_hz), rate_hz)
    assert levels.shape == (HEIGHT, WIDTH)
    rows = levels[:, 5:-5].argmax(axis=0)
    np.testing.assert_allclose(rows, (1 - share) * HEIGHT, atol=1.5)


def test_time_goes_from_left_to_right() -> None:
    audio = tone(1000, 16_000)
    audio[: len(audio) // 4] = 0
    loud = power_db(audio, 16_000).max(axis=0) > -40
    assert np.flatnonzero(loud)[0] == pytest.approx(WIDTH / 4, abs=3)
    assert loud[WIDTH // 3 :].all()


def test_channels_are_averaged_and_levels_kept() -> None:
    mono = tone(1000, 16_000)
    both, half = np.repeat(mono, 2, axis=1), np.hstack([mono, 0 * mono])
    top = power_db(mono, 16_000).max()
    assert power_db(both, 16_000).max() == pytest.approx(top, abs=0.01)
    assert power_db(half, 16_000).max() == pytest.approx(top - 3.01, abs=0.01)
    assert power_db(mono / 10, 16_000).max() == pytest.approx(top - 20, abs=0.01)


@pytest.mark.parametrize("samples", [1, 40, 700])
def test_short_and_silent_clips_have_a_picture(samples: int) -> None:
    levels = power_db(np.zeros((samples, 2), np.float32), 48_000)
    pixels = decoded(image(levels, 0.0))
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert (pixels == ANCHORS[0]).all()


def test_shades_run_from_the_range_to_the_top() -> None:
    levels = np.array([[-RANGE_DB - 60, -RANGE_DB - 10, -RANGE_DB / 2 - 10, -10, 30]])
    found = decoded(image(levels, top_db=-10))[0]
    colours = palette(LEVELS)
    np.testing.assert_array_equal(found[[0, 1]], colours[[0, 0]])
    np.testing.assert_array_equal(found[[3, 4]], colours[[-1, -1]])
    assert tuple(found[2]) in {tuple(colour) for colour in colours[18:22]}
