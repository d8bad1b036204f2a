"""Measurement of the length and the level of audio while it is encoded."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from chirrup.conditioning import LOUDEST
from chirrup.files.inputs import Audio
from chirrup.level import LevelControl
from chirrup.words import counted

FULL_SCALE = 0.9999
"""Samples of at least this magnitude are at full scale, which 16 bits do not exceed."""
CLIPPED_SHARE = 1e-3
"""Share of clipped samples above which a recording counts as clipped. Mastered music has some."""
QUIET_DB = -30
"""Peak below which codecs lose quality. The default model loses 0.2 of PESQ, and 0.7 at -40 dB."""

Progress = Callable[[float, float | None], None]
"""A function that is called with the seconds done and the total, or None if it is not known."""


def levelled(audio: Audio) -> Iterator[np.ndarray]:
    """Yield the blocks of a source after a `LevelControl`."""
    return map(LevelControl(audio.sample_rate_hz, audio.channels).push, audio.blocks)


class Meter:
    """Counter of samples, which also measures their level and reports the progress.

    Attributes:
        samples: samples of each channel so far.
        peak: largest magnitude of a sample, with a full scale of 1.
        limited: samples of all channels beyond full scale, which an encoder limits to it.
        clipped: samples of all channels that are at or beyond full scale together with the next.
    """

    def __init__(self, audio: Audio, progress: Progress | None) -> None:
        self.audio, self.progress, self.samples = audio, progress, 0
        self.peak, self.limited, self.clipped = 0.0, 0, 0

    def watch(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the blocks, and measure each of them."""
        rate, total = self.audio.sample_rate_hz, self.audio.samples
        for block in blocks:
            self.samples += block.shape[1]
            self._measure(np.abs(block))
            yield block
            if self.progress:
                self.progress(self.samples / rate, None if total is None else total / rate)

    def _measure(self, magnitudes: np.ndarray) -> None:
        self.peak = max(self.peak, float(magnitudes.max(initial=0)))
        if self.peak >= FULL_SCALE:
            full = magnitudes >= FULL_SCALE
            self.clipped += int(np.count_nonzero(full[:, 1:] & full[:, :-1]))
            self.limited += int(np.count_nonzero(magnitudes > LOUDEST))

    def notes(self) -> list[str]:
        """Return descriptions of faults of the level."""
        peak_db = 20 * math.log10(self.peak) if self.peak else 0.0
        if self.limited:
            return [
                f"limited {counted(self.limited, 'sample')} to full scale: lower the level by "
                f"{math.ceil(10 * peak_db) / 10:.1f} dB to keep them"
            ]
        if self.clipped > CLIPPED_SHARE * self.samples * self.audio.channels:
            clipped = counted(self.clipped, "sample")
            return [f"it has {clipped} clipped at full scale: record at a lower level"]
        if peak_db < QUIET_DB:
            return [
                f"its loudest sample is {-peak_db:.0f} dB below full scale, too quiet to be coded "
                f"well: raise the level by {-peak_db - 3:.0f} dB"
            ]
        return []
