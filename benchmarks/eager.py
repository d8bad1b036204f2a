"""PyTorch's rows in the table of `speed.py`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from chirrup.lab.export.folding import fold, for_export, for_one_frame
from chirrup.lab.models import build

Row = tuple[Callable[[np.ndarray], Any], Callable[[Any], Any]]


def torch_rows(name: str) -> dict[str, Row]:
    """Return the modules that the graphs of a model are exported from, run eagerly.

    Their weights are random, which makes no difference to the speed.
    """
    torch.set_num_threads(1)
    model = fold(build(name))

    def row(encoder: torch.nn.Module, decoder: torch.nn.Module) -> Row:
        state = {
            "encoder": tuple(model.encoder.initial_state(1).values()),
            "decoder": tuple(model.decoder.initial_state(1).values()),
        }

        @torch.inference_mode()
        def encode(pcm: np.ndarray) -> torch.Tensor:
            codes, *after = encoder(torch.from_numpy(pcm)[None], *state["encoder"])
            state["encoder"] = tuple(after)
            return codes

        @torch.inference_mode()
        def decode(codes: torch.Tensor) -> np.ndarray:
            audio, *after = decoder(codes, *state["decoder"])
            state["decoder"] = tuple(after)
            return audio.numpy()

        return encode, decode

    encoder, decoder = for_export(model)
    return {
        "torch eager, one frame": row(encoder, for_one_frame(decoder)),
        "torch eager, any length": row(encoder, decoder),
    }
