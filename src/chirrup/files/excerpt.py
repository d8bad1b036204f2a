"""Excerpts: the frames to decode and the samples to keep for a part of a ``.chirrup`` file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, gcd, lcm
from typing import Self

import numpy as np

from chirrup.bitstream import Header
from chirrup.errors import FileError

SETTLING_SECONDS = 0.1
"""Time after which the output of a resampler does not depend on where it was started."""
LAST_SECOND = 2.0**32
"""Longest time that an excerpt may name, in s. No file is longer."""


@dataclass(frozen=True)
class Excerpt:
    """A range of samples, counted from the start of the file at the output's sample rate.

    Attributes:
        start: first sample of the excerpt.
        end: end of the excerpt; None is the end of the file.
        first_frame: first frame to decode. It is early enough that the excerpt equals a part of the
            whole decoded file.
        origin: sample at which the decoded audio starts.
    """

    start: int
    end: int | None
    first_frame: int
    origin: int

    @classmethod
    def of(
        cls,
        header: Header,
        chunk_frames: int,
        rate_hz: int,
        start_seconds: float,
        end_seconds: float | None,
    ) -> Self:
        """Return the excerpt between two times.

        Args:
            header: header of the file.
            chunk_frames: frames that the model codes at once.
            rate_hz: sample rate of the output.
            start_seconds: start of the excerpt.
            end_seconds: end of the excerpt; None is the end of the file.

        Raises:
            FileError: a time is negative, or the start is not before the end.
        """
        end = float("inf") if end_seconds is None or end_seconds > LAST_SECOND else end_seconds
        if not 0 <= start_seconds < end or start_seconds > LAST_SECOND:
            raise FileError(
                f"from {start_seconds:g} s to {end:g} s is not a part of a file: --from must be 0 "
                "or more, and before --to"
            )
        rate, frame = header.sample_rate_hz, header.frame_samples
        # First frames are multiples of this step: they begin a chunk, at a whole output sample.
        step = lcm(chunk_frames, rate // gcd(rate, frame * rate_hz))
        needed = header.preroll_frames + ceil(SETTLING_SECONDS * rate / frame)
        first = max(0, int(start_seconds * rate / frame) - needed) // step * step
        return cls(
            start=round(start_seconds * rate_hz),
            end=None if end == float("inf") else round(end * rate_hz),
            first_frame=first,
            origin=first * frame * rate_hz // rate,
        )

    def length(self, total: int | None) -> int | None:
        """Return the samples of the excerpt in a file of ``total`` samples, or None if unknown."""
        if total is None:
            return None
        return max(0, (total if self.end is None else min(self.end, total)) - self.start)

    def of_blocks(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Cut audio that starts at the origin.

        Args:
            blocks: ``[channels, any number of samples]``. They are read only up to the end.

        Yields:
            The blocks of the excerpt.
        """
        at = self.origin
        for block in blocks:
            kept = block[:, max(0, self.start - at) :]
            if self.end is not None:
                kept = kept[:, : max(0, self.end - max(at, self.start))]
            yield kept
            at += block.shape[1]
            if self.end is not None and at >= self.end:
                return


def cut(
    blocks: Iterator[np.ndarray], length: Callable[[], int | None], reserve: int
) -> Iterator[np.ndarray]:
    """Cut audio to its first ``length()`` samples.

    Args:
        blocks: ``[channels, any number of samples]``.
        length: called after each block. It returns None while the length is not known.
        reserve: number of samples that are held back until the length is known.
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
        if limit is not None and done >= limit:  # the rest is read only for its notes
            held = held[:, :0]
    limit = length()
    if held is not None:
        yield held if limit is None else held[:, : max(0, limit - done)]
