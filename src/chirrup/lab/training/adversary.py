"""What a model is trained against: the recipe's discriminators and how they learn."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from chirrup.lab.training import adversarial
from chirrup.lab.training.checkpoints import restore_members, restore_optimiser
from chirrup.lab.training.config import AdversaryConfig
from chirrup.lab.training.discriminators import Discriminators
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

    def learn_at(self, learning_rate: float) -> None:
        if self.optimiser is not None:
            self.optimiser.param_groups[0]["lr"] = learning_rate

    def judge(self, audio: Tensor) -> list[list[Tensor]]:
        """Features and logits of ``audio [batch * channels, samples]``."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            return self.discriminators(audio.unflatten(0, (-1, self.channels)))

    def step(self, estimate: Tensor, target: Tensor) -> float:
        """Update the discriminators; both ``[batch * channels, samples]``, of unit level."""
        assert self.optimiser is not None, "the recipe names no discriminator"
        loss = adversarial.hinge_discriminator_loss(self.judge(target), self.judge(estimate))
        self.optimiser.zero_grad()
        loss.backward()
        average_gradients(self.parameters)
        norm = nn.utils.clip_grad_norm_(self.parameters, LARGEST_GRADIENT)
        if torch.isfinite(norm):
            self.optimiser.step()
        return float(loss.detach())

    def terms(self, estimate: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Losses of the model through the discriminators, which take no gradient from them."""
        self.discriminators.requires_grad_(False)
        with torch.no_grad():
            real = self.judge(target)
        fake = self.judge(estimate)
        self.discriminators.requires_grad_(True)
        return {
            "adversarial": adversarial.hinge_generator_loss(fake),
            "features": adversarial.feature_matching_loss(
                real,
                fake,
                include_logits=self.config.include_logits,
                normalise=self.config.normalise,
                average_layers=self.config.average_layers,
            ),
        }

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
