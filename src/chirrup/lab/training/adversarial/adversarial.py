"""The discriminators that a recipe may name, and the losses over what they say.

An output is a list, one entry per sub-discriminator, of that sub-discriminator's feature maps, the
last of them its logits. Every loss is a mean over logits and over the K sub-discriminators, so that
its weight does not depend on how many there are. Papers that sum instead (HiFi-GAN, DAC) want their
weights times K here. Everything is reduced in float32, also when the features are bfloat16.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from chirrup.errors import ModelError
from chirrup.lab.fast.discriminators import feature_distance
from chirrup.lab.training.adversarial import discriminators
from chirrup.lab.training.adversarial.residual_discriminator import MultiScaleResidualDiscriminator
from chirrup.lab.training.config import DiscriminatorConfig

Outputs = Sequence[Sequence[Tensor]]

DISCRIMINATORS = {
    "multi_period": discriminators.MultiPeriodDiscriminator,
    "stft": discriminators.MultiScaleSTFTDiscriminator,
    "subband_stft": discriminators.MultiScaleSubbandSTFTDiscriminator,
    "mel": discriminators.MultiLengthMelDiscriminator,
    "spectrostream": MultiScaleResidualDiscriminator,
}


def build_discriminator(config: DiscriminatorConfig) -> nn.Module:
    """A discriminator as a recipe names it.

    Raises:
        ModelError: its class has no such options.
    """
    try:
        return DISCRIMINATORS[config.kind](**config.options)
    except TypeError as error:
        raise ModelError(f"a discriminator of kind {config.kind} cannot be: {error}") from error


def hinge_discriminator_loss(real_outputs: Outputs, fake_outputs: Outputs) -> Tensor:
    """`mean max(0, 1 - D(x)) + max(0, 1 + D(G(x)))`: 0 once a margin of 1 separates the two.

    SoundStream (arXiv 2107.03312), equation 1; EnCodec (arXiv 2210.13438), section 3.4.
    """
    return _mean_over_logits(lambda real: (1 - real).relu(), real_outputs) + _mean_over_logits(
        lambda fake: (1 + fake).relu(), fake_outputs
    )


def hinge_generator_loss(fake_outputs: Outputs) -> Tensor:
    """`mean -D(G(x))`, unbounded, as in LRAC's baselines and AudioCraft.

    The papers of SoundStream (equation 2) and EnCodec (section 3.4) write `max(0, 1 - D(G(x)))`:
    the same gradient plus a stop beyond the margin.
    """
    return _mean_over_logits(lambda fake: -fake, fake_outputs)


def least_squares_discriminator_loss(real_outputs: Outputs, fake_outputs: Outputs) -> Tensor:
    """`mean (D(x) - 1)^2 + D(G(x))^2`: HiFi-GAN (arXiv 2010.05646), equation 1; DAC's code."""
    return _mean_over_logits(lambda real: (1 - real).square(), real_outputs) + _mean_over_logits(
        torch.square, fake_outputs
    )


def least_squares_generator_loss(fake_outputs: Outputs) -> Tensor:
    """`mean (D(G(x)) - 1)^2`: HiFi-GAN (arXiv 2010.05646), equation 2; DAC's code."""
    return _mean_over_logits(lambda fake: (1 - fake).square(), fake_outputs)


def feature_matching_loss(
    real_outputs: Outputs,
    fake_outputs: Outputs,
    *,
    include_logits: bool = False,
    normalise: bool = False,
    average_layers: bool = False,
    fast: bool = False,
) -> Tensor:
    """Mean absolute difference of features, summed over layers; no gradient reaches the real side.

    `fast` computes each layer's distance in one pass, on a CPU.

    `normalise` divides each layer's difference by the mean absolute real feature of that layer.

    | | include_logits | normalise | average_layers |
    |---|---|---|---|
    | HiFi-GAN equation 4 (arXiv 2010.05646), DAC's code | no | no | no |
    | LRAC baselines | yes | no | no |
    | SoundStream equation 3 (arXiv 2107.03312), SpectroStream | no | no | yes |
    | EnCodec section 3.4 (arXiv 2210.13438) | no | yes | yes |
    """
    losses: list[Tensor] = []
    for real_features, fake_features in zip(real_outputs, fake_outputs, strict=True):
        layers = list(zip(real_features, fake_features, strict=True))
        if not include_logits:
            layers.pop()
        distances = torch.stack([_distance(real, fake, normalise, fast) for real, fake in layers])
        losses.append(distances.mean() if average_layers else distances.sum())
    return torch.stack(losses).mean()


def _distance(real: Tensor, fake: Tensor, normalise: bool, fast: bool) -> Tensor:
    if fast and real.stride() == fake.stride():
        return feature_distance(real, fake, normalise)
    real = real.detach().float()
    distance = (real - fake.float()).abs().mean()
    return distance / real.abs().mean().clamp_min(1e-8) if normalise else distance


def _mean_over_logits(loss: Callable[[Tensor], Tensor], outputs: Outputs) -> Tensor:
    return torch.stack([loss(features[-1].float()).mean() for features in outputs]).mean()
