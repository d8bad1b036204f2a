"""Rates and lengths: audio that comes block by block, resampled and cut to the sample."""

from collections.abc import Callable, Iterator

import numpy as np
import soxr

Blocks = Iterator[np.ndarray]
"""Each ``float32 [channels, any number of samples]``."""


def length_at(samples: int, rate_hz: int, new_rate_hz: int) -> int:
    """Samples that cover at least the same time at another rate."""
    return -(-samples * new_rate_hz // rate_hz)


def resampled(blocks: Blocks, channels: int, rate_hz: int, new_rate_hz: int) -> Blocks:
    """The same audio at another rate, neither early nor late.

    It has `length_at` samples in all: soxr rounds to the nearest, which can be one less, so that
    going to another rate and back would lose a sample. Zeros make up for it.
    """
    if rate_hz == new_rate_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate_hz, new_rate_hz, channels, dtype="float32")
    taken = given = 0
    for block in blocks:
        taken += block.shape[1]
        piece = stream.resample_chunk(np.ascontiguousarray(block.T)).T
        given += piece.shape[1]
        yield piece
    end = stream.resample_chunk(np.zeros((0, channels), np.float32), last=True).T
    missing = length_at(taken, rate_hz, new_rate_hz) - given - end.shape[1]
    yield end if missing <= 0 else np.pad(end, ((0, 0), (0, missing)))


def cut(blocks: Blocks, length: Callable[[], int | None], reserve: int) -> Blocks:
    """The first ``length()`` samples.

    Args:
        length: asked again and again; None as long as it is not known.
        reserve: samples at the end that are held back until then, since they may be too many.
    """
    held: np.ndarray | None = None
    done = 0
    for block in blocks:
        held = block if held is None else np.concatenate([held, block], axis=1)
        limit = length()
        ready = held.shape[1] - reserve
        if limit is not None:
            ready = min(ready, limit - done)
        if ready > 0:
            yield held[:, :ready]
            done += ready
            held = held[:, ready:]
        if limit is not None and done >= limit:  # the rest is only read, for what it may tell
            held = held[:, :0]
    limit = length()
    if held is not None:
        yield held if limit is None else held[:, : max(0, limit - done)]
