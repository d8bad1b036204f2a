"""What runs one part of a model: arrays in and out, and a state that only the engine can read."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

State = Any
"""The state of some streams at one moment. It is never changed in place, so keeping one is keeping
the moment."""


class Engine(Protocol):
    """The encoder or the decoder of a model.

    One frame or a block of frames at a time has the same result.
    """

    def initial_state(self, batch: int = 1) -> State:
        """Return the state before the first sample of ``batch`` streams."""
        ...

    def __call__(self, x: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Run the next piece of each stream, a whole number of chunks of frames.

        Args:
            x: audio ``float32 [batch, channels, samples]`` for an encoder, codes ``int32 [batch,
                codebooks, frames]`` for a decoder.

        Returns:
            Codes, or audio, and the state after them.

        Raises:
            ModelError: the model is damaged.
        """
        ...

    def save(self, state: State) -> dict[str, np.ndarray]:
        """Return a state as arrays."""
        ...

    def restore(self, saved: Mapping[str, np.ndarray]) -> State:
        """Return the state whose arrays `save` returned."""
        ...
