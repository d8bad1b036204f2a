"""The forward pass of a training step."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from chirrup.lab.models import Model
from chirrup.lab.quantizers.bit_errors import BitErrors
from chirrup.lab.quantizers.quantizer import Quantized
from chirrup.lab.training.batches.code_dropout import CodeDropout
from chirrup.lab.training.config import CodesConfig, Stage


@dataclass(frozen=True)
class StepOutput:
    """The result of a forward pass.

    Attributes:
        audio: ``[batch, channels, samples]``, or None if no audio was decoded.
        quantized: the quantizer's result, or None if it did not run.
        losses: losses that do not depend on ``audio``, by the names of their weights.
    """

    audio: Tensor | None = None
    quantized: Quantized | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)


class Forward:
    """Codes and decodes a batch with the whole model.

    A subclass can compute only a part of the model, as a stage of the recipe needs it.
    """

    def __init__(self, codes: CodesConfig, model: Model) -> None:
        self.codes, self.model = codes, model
        self._bit_errors: BitErrors | None = None

    def __call__(self, audio: Tensor, stage: Stage, dropout: CodeDropout) -> StepOutput:
        """Run the model on ``audio [batch, channels, samples]`` at the rate of its input."""
        used = dropout.used if stage.quantize else None
        committed = None if self.codes.commit_bypassed else ~dropout.bypass
        decoded, quantized = self.model(
            audio, used, dropout.bypass, dropout.present, committed, self.error(dropout)
        )
        return StepOutput(decoded, quantized)

    def error(self, dropout: CodeDropout) -> Callable[[Quantized], Tensor] | None:
        """Return the function that computes what wrong bits add to a quantized latent, if any."""
        if dropout.flips is None:
            return None
        if self._bit_errors is None:
            self._bit_errors = BitErrors(self.model.quantizer)
        return partial(self._bit_errors.error, used=dropout.used, flips=dropout.flips)

    def initialise(self, audio: Tensor) -> None:
        """Prepare a new training from ``audio [batch, channels, samples]``."""
        self.model.start(audio)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs beside the model."""
        return {} if self._bit_errors is None else {"order": self._bit_errors.entries}

    def restore(self, state: dict[str, Any]) -> None:
        """Load the result of `state`.

        Raises:
            ModelError: the checkpoint lacks a part of the state, or is of other codebooks.
        """
        if "order" in state:
            self._bit_errors = BitErrors(self.model.quantizer, state["order"])
