"""A part of a ``.chirrup`` file: where to begin reading for it, and which samples to keep; and the
end of the whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, gcd, lcm
from typing import Self

import numpy as np

from chirrup.bitstream import Header
from chirrup.errors import FileError

SETTLING_SECONDS = 0.1
"""After which a resampler no longer notices that it was started in the middle."""
LAST_SECOND = 2.0**32
"""No file goes on so long."""


@dataclass(frozen=True)
class Excerpt:
    """Samples of each channel, counted from the start of the file at the rate to write.

    Attributes:
        start, end: which are wanted; an end of None is the file's.
        first_frame: where decoding begins, so early that it is as if the whole file had been
            decoded.
        origin: the sample that is first heard of it.
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
        """The excerpt between two times.

        Raises:
            FileError: they are none, or the wrong way round.
        """
        end = float("inf") if end_seconds is None or end_seconds > LAST_SECOND else end_seconds
        if not 0 <= start_seconds < end or start_seconds > LAST_SECOND:
            raise FileError(
                f"from {start_seconds:g} s to {end:g} s is no part of a file: --from must not be "
                "negative, and before --to"
            )
        rate, frame = header.sample_rate_hz, header.frame_samples
        # of frames of whole chunks that begin at a whole sample of the rate to write
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
        """Its samples, of a file of so many; None where that is not known."""
        if total is None:
            return None
        return max(0, (total if self.end is None else min(self.end, total)) - self.start)

    def of_blocks(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Of audio ``[channels, any number of samples]`` from the origin on; reads no further than
        its end."""
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
    """The first ``length()`` samples of audio ``[channels, any number of samples]``.

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
