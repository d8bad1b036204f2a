"""The codes of a signal: what a codec turns audio into and back."""

from dataclasses import dataclass

import numpy as np

ABSENT = -1
"""The code of a codebook left out for a lower bitrate, or of a lost frame."""


@dataclass(frozen=True)
class Codes:
    """Codes of one signal.

    Attributes:
        data: ``int16 [codebooks, frames]``, or ``[streams, codebooks, frames]``, a stream a channel
            or one for all that are coded jointly; -1 is absent.
        samples: length of the signal, at the codec's rate.
        channels: of the signal, where the codec codes several jointly; None is as many as it does.
    """

    data: np.ndarray
    samples: int
    channels: int | None = None

    @property
    def frames(self) -> int:
        return self.data.shape[-1]

    @property
    def codebooks(self) -> int:
        return self.data.shape[-2]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.data, dtype=dtype, copy=copy)
