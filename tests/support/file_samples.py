"""Audio and pipes for tests of files."""

import io

import numpy as np

RATES = (8000, 11025, 16000, 22050, 24000, 44100, 48000, 96000)


class Pipe(io.RawIOBase):
    """A pipe that returns bytes in pieces of odd sizes and cannot seek."""

    def __init__(self, data: bytes, piece: int = 1001) -> None:
        self.data, self.piece = data, piece

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size = min(self.piece, len(self.data) if size < 0 else size)
        taken, self.data = self.data[:size], self.data[size:]
        return taken


def noise(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (0.1 * random.standard_normal((samples, channels))).astype(np.float32)
