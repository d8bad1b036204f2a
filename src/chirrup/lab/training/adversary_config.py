"""The table ``[adversary]`` of a recipe: discriminators and their training."""

from typing import Any, Literal

from pydantic import Field

from chirrup.lab.training.fields import AtLeastOne, Rate, Strict, Weight


class DiscriminatorConfig(Strict):
    """One discriminator."""

    kind: Literal["multi_period", "multi_scale", "stft", "subband_stft", "mel", "spectrostream"]
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of its class."""


class AdversaryConfig(Strict):
    """The discriminators and their training."""

    discriminators: dict[str, DiscriminatorConfig] = Field(default_factory=dict)
    every: AtLeastOne = 1
    """Steps between updates of the discriminators, and between losses through them."""
    learning_rate: Rate = 3e-4
    """Rate after the warm-up, at the start of the recipe and of each stage with its own rate. Then
    it decays in proportion to the model's."""
    clip_norm: Weight = 10.0
    """Largest norm of the discriminators' gradient; 0 for no limit."""
    bf16: bool = True
    include_logits: bool = False
    """Whether feature matching includes the logits; `feature_matching_loss` has these options."""
    normalise: bool = True
    average_layers: bool = True
