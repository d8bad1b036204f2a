"""What a model is trained against: the recipe's discriminators and how they learn."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from chirrup.lab import fast
from chirrup.lab.training.adversarial import adversarial
from chirrup.lab.training.adversarial.discriminators import Discriminators
from chirrup.lab.training.checkpoints import restore_members, restore_optimiser
from chirrup.lab.training.config import AdversaryConfig
from chirrup.lab.training.distributed import average_gradients

LARGEST_GRADIENT = 10.0


class Adversary:
    """Discriminators and their optimiser.

    Args:
        channels: of the audio, which are told apart one by one.
        optimise: makes an optimiser of parameters.
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
        built = {name: adversarial.build_discriminator(member) for name, member in members}
        self.discriminators = Discriminators(built, channels).to(device)
        self.parameters = list(self.discriminators.parameters())
        self.optimiser = optimise(self.parameters) if self.parameters else None
        self.bf16, self.fast = config.bf16, False

    def use_fast_forms(self) -> None:
        """On a CPU: fast forms, and bfloat16 only where the processor gains by it."""
        fast.enable(self.discriminators)
        self.fast = fast.available()
        self.bf16 = self.config.bf16 and fast.products_in_bf16()

    def set_learning_rate(self, learning_rate: float) -> None:
        if self.optimiser is not None:
            self.optimiser.param_groups[0]["lr"] = learning_rate

    def discriminate(self, audio: Tensor) -> list[list[Tensor]]:
        """Features and logits of ``audio [batch * channels, samples]``."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.discriminators(audio.unflatten(0, (-1, self.channels)))

    def turn(
        self, estimate: Tensor, target: Tensor, weights: Mapping[str, float]
    ) -> tuple[dict[str, float], Tensor]:
        """Update the discriminators, and give the model's losses through them as they were before.

        Both sides use the features of one pass, so that neither real nor decoded audio is judged
        twice.

        Args:
            estimate: ``[batch * channels, samples]``, of unit level; likewise ``target``.
            weights: of the model's losses ``adversarial`` and ``features``.

        Returns:
            The losses by name, with the discriminators' own as ``discriminator``; and the gradient
            of the weighted sum of the model's losses with respect to ``estimate``.
        """
        assert self.optimiser is not None, "the recipe names no discriminator"
        estimate = estimate.detach().requires_grad_()
        with parametrize.cached():  # weight normalisation, once for both
            real, fake = self.discriminate(target), self.discriminate(estimate)
        own = adversarial.hinge_discriminator_loss(real, fake)
        gradients = torch.autograd.grad(own, self.parameters, retain_graph=True, allow_unused=True)
        losses = {
            "adversarial": adversarial.hinge_generator_loss(fake),
            "features": adversarial.feature_matching_loss(
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
        norm = nn.utils.clip_grad_norm_(self.parameters, LARGEST_GRADIENT)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.optimiser.zero_grad()
        figures = {name: float(value.detach()) for name, value in losses.items()}
        return figures | {"discriminator": float(own.detach())}, gradient

    def state(self) -> dict[str, Any]:
        return {
            "adversary": self.discriminators.state_dict(),
            "adversary_optimiser": self.optimiser and self.optimiser.state_dict(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `state` gave; those that were not in it start afresh."""
        if self.optimiser is None or not saved["adversary_optimiser"]:
            return
        if restore_members(self.discriminators, saved["adversary"]):
            names = [name for name, _ in self.discriminators.named_parameters()]
            moments = saved["adversary_optimiser"], saved["adversary"]
            restore_optimiser(self.optimiser, *moments, [names])
