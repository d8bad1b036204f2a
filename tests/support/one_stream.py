"""A part of a model, run piece by piece with its state."""

from collections.abc import Iterable

import torch
from torch import Tensor

from chirrup.lab.nn import State, Streaming


def streamed(part: Streaming, pieces: Iterable[Tensor], forget: str | None = None) -> Tensor:
    """What ``part`` makes of pieces of a signal.

    Args:
        forget: states with this in their name begin anew at each piece; of "" all of them.
    """
    state: State = {}
    done = []
    for piece in pieces:
        fresh = part.initial_state(len(piece))
        state = {
            name: state[name] if state and (forget is None or forget not in name) else fresh[name]
            for name in fresh
        }
        y, state = part(piece, state)
        assert set(state) == set(fresh)
        done.append(y)
    return torch.cat(done, dim=2)
