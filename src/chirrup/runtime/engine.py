"""The interface `Engine`, which runs the encoder or the decoder of a model."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

EngineState = Any
"""The state of streams at one moment, in a form that only its engine reads. It is never changed in
place, so a reference to it is a snapshot."""


class Engine(Protocol):
    """The encoder or the decoder of a model.

    The result does not depend on how many frames are run at once.
    """

    def initial_state(self, batch: int = 1) -> EngineState:
        """Return the state before the first sample of ``batch`` streams."""
        ...

    def __call__(self, x: np.ndarray, state: EngineState) -> tuple[np.ndarray, EngineState]:
        """Run the next piece of each stream, a whole number of chunks of frames.

        Args:
            x: audio ``float32 [batch, channels, samples]`` for an encoder, or codes ``int32
                [batch, codebooks, frames]`` for a decoder.
            state: the state before ``x``.

        Returns:
            Codes or audio, and the state after ``x``.

        Raises:
            ValueError: the shape of ``x`` is wrong, or ``state`` is of another batch size.
            ModelError: the model is damaged.
        """
        ...

    def save(self, state: EngineState) -> dict[str, np.ndarray]:
        """Return a state as arrays."""
        ...

    def restore(self, saved: Mapping[str, np.ndarray]) -> EngineState:
        """Return the state that `save` converted to arrays."""
        ...
