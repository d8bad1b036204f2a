"""The discriminators of a recipe and their training."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from chirrup.lab import fast
from chirrup.lab.training.adversarial.discriminators import Discriminators
from chirrup.lab.training.adversarial.losses import (
    build_discriminator,
    feature_matching_loss,
    hinge_discriminator_loss,
    hinge_generator_loss,
)
from chirrup.lab.training.adversary_config import AdversaryConfig
from chirrup.lab.training.checkpoints import restore_members, restore_optimiser
from chirrup.lab.training.distributed import average_gradients


class DiscriminatorTrainer:
    """Discriminators and their optimiser.

    Args:
        channels: channels of the audio; a batch has one row for each.
        optimise: builds an optimiser of parameters.

    Raises:
        UsageError: a discriminator does not fit the number of channels.
        ModelError: a discriminator has no such options.
    """

    def __init__(
        self,
        config: AdversaryConfig,
        channels: int,
        device: torch.device,
        optimise: Callable[[list[nn.Parameter]], Optimizer],
    ) -> None:
        self.config, self.channels, self.device = config, channels, device
        members = config.discriminators.items()
        built = {name: build_discriminator(member) for name, member in members}
        self.discriminators = Discriminators(built, channels).to(device)
        self.parameters = list(self.discriminators.parameters())
        self.optimiser = optimise(self.parameters) if self.parameters else None
        self.bf16, self.fast = config.bf16, False

    def use_fast_forms(self) -> None:
        """Use fast forms, and bfloat16 only if the CPU has fast products in it."""
        fast.enable(self.discriminators)
        self.fast = fast.available()
        self.bf16 = self.config.bf16 and fast.products_in_bf16()

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the discriminators."""
        if self.optimiser is not None:
            self.optimiser.param_groups[0]["lr"] = learning_rate

    def __call__(self, audio: Tensor) -> list[list[Tensor]]:
        """Compute features and logits of ``audio [batch * channels, samples]``."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.discriminators(audio.unflatten(0, (-1, self.channels)))

    def step(
        self, estimate: Tensor, target: Tensor, weights: Mapping[str, float]
    ) -> tuple[dict[str, float], Tensor]:
        """Update the discriminators, and compute the model's losses through them before the update.

        Both use the features of one pass.

        Args:
            estimate: decoded audio of unit power, ``[batch * channels, samples]``.
            target: original audio in the same form.
            weights: weights of the model's losses ``adversarial`` and ``features``.

        Returns:
            Losses by name, including the discriminators' loss ``discriminator``, and the gradient
            of the weighted sum of the model's losses with respect to ``estimate``.
        """
        assert self.optimiser is not None, "the recipe names no discriminator"
        estimate = estimate.detach().requires_grad_()
        with parametrize.cached():  # normalises weights once for both
            real, fake = self(target), self(estimate)
        own = hinge_discriminator_loss(real, fake)
        gradients = torch.autograd.grad(own, self.parameters, retain_graph=True, allow_unused=True)
        losses = {
            "adversarial": hinge_generator_loss(fake),
            "features": feature_matching_loss(
                real,
                fake,
                include_logits=self.config.include_logits,
                normalise=self.config.normalise,
                average_layers=self.config.average_layers,
                fast=self.fast,
            ),
        }
        weighted = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
        (gradient,) = torch.autograd.grad(weighted, estimate)
        for parameter, value in zip(self.parameters, gradients, strict=True):
            parameter.grad = value
        average_gradients(self.parameters)
        limit = self.config.clip_norm or torch.inf
        norm = nn.utils.clip_grad_norm_(self.parameters, limit)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.optimiser.zero_grad()
        figures = {name: float(value.detach()) for name, value in losses.items()}
        return figures | {"discriminator": float(own.detach())}, gradient

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {
            "adversary": self.discriminators.state_dict(),
            "adversary_optimiser": self.optimiser and self.optimiser.state_dict(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from the result of `state`. Discriminators that it lacks start untrained."""
        if self.optimiser is None or not saved["adversary_optimiser"]:
            return
        if restore_members(self.discriminators, saved["adversary"]):
            names = [name for name, _ in self.discriminators.named_parameters()]
            moments = saved["adversary_optimiser"], saved["adversary"]
            restore_optimiser(self.optimiser, *moments, [names])
