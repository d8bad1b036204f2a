"""Adversarial losses, and the discriminators that a recipe can name.

The output of a discriminator is a list with an entry for each sub-discriminator: its feature maps,
of which the last is its logits. Every loss is a mean over the logits and over the K
sub-discriminators, so its weight does not depend on their number. For papers that add the losses
of sub-discriminators (HiFi-GAN, DAC), multiply the paper's weights by K. Means are computed in
float32, even of features in bfloat16.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from chirrup.errors import ModelError
from chirrup.lab.fast.discriminators import feature_distance
from chirrup.lab.training.adversarial import discriminators
from chirrup.lab.training.adversarial.residual_discriminator import MultiScaleResidualDiscriminator
from chirrup.lab.training.adversary_config import DiscriminatorConfig

Outputs = Sequence[Sequence[Tensor]]

DISCRIMINATORS = {
    "multi_period": discriminators.MultiPeriodDiscriminator,
    "multi_scale": discriminators.MultiScaleDiscriminator,
    "stft": discriminators.MultiScaleSTFTDiscriminator,
    "subband_stft": discriminators.MultiScaleSubbandSTFTDiscriminator,
    "mel": discriminators.MultiLengthMelDiscriminator,
    "spectrostream": MultiScaleResidualDiscriminator,
}


def build_discriminator(config: DiscriminatorConfig) -> nn.Module:
    """Build a discriminator of a recipe.

    Raises:
        ModelError: its class has no such options, or their values do not fit.
    """
    try:
        return DISCRIMINATORS[config.kind](**config.options)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"a discriminator of kind {config.kind} cannot be built: {error}"
        ) from error


def hinge_discriminator_loss(real_outputs: Outputs, fake_outputs: Outputs) -> Tensor:
    """Compute `mean max(0, 1 - D(x)) + max(0, 1 + D(G(x)))`.

    It is 0 if a margin of 1 separates real and decoded audio.

    SoundStream (arXiv 2107.03312), equation 1; EnCodec (arXiv 2210.13438), section 3.4.
    """
    return _mean_over_logits(lambda real: (1 - real).relu(), real_outputs) + _mean_over_logits(
        lambda fake: (1 + fake).relu(), fake_outputs
    )


def hinge_generator_loss(fake_outputs: Outputs) -> Tensor:
    """Compute `mean -D(G(x))`, unbounded as in the code of LRAC's baselines and AudioCraft.

    SoundStream (arXiv 2107.03312, equation 2) and EnCodec (arXiv 2210.13438, section 3.4) have
    `max(0, 1 - D(G(x)))`, which has the same gradient up to the margin and none beyond it.
    """
    return _mean_over_logits(lambda fake: -fake, fake_outputs)


def least_squares_discriminator_loss(real_outputs: Outputs, fake_outputs: Outputs) -> Tensor:
    """Compute `mean (D(x) - 1)^2 + D(G(x))^2`, as HiFi-GAN (arXiv 2010.05646, equation 1), DAC."""
    return _mean_over_logits(lambda real: (1 - real).square(), real_outputs) + _mean_over_logits(
        torch.square, fake_outputs
    )


def least_squares_generator_loss(fake_outputs: Outputs) -> Tensor:
    """Compute `mean (D(G(x)) - 1)^2`, as HiFi-GAN (arXiv 2010.05646, equation 2) and DAC."""
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
    """Compute the mean absolute difference of features, summed over layers.

    No gradient reaches the real side.

    Args:
        include_logits: whether the logits count as features.
        normalise: whether a layer's difference is divided by its mean absolute real feature.
        average_layers: whether layers are averaged instead of summed.
        fast: whether to compute a layer's distance in one pass, on a CPU.

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
