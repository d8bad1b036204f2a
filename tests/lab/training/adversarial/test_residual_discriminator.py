"""SpectroStream's discriminator: shapes, inputs, losses and gradients."""

import pytest
import torch
from torch import Tensor

from chirrup.lab.training.adversarial.losses import (
    build_discriminator,
    feature_matching_loss,
    hinge_discriminator_loss,
)
from chirrup.lab.training.adversarial.residual_discriminator import MultiScaleResidualDiscriminator
from chirrup.lab.training.adversary_config import DiscriminatorConfig

THIN = {"channels": 4, "widths": (4, 6, 6, 8, 8, 8)}


def thin(
    n_ffts: tuple[int, ...] = (128, 512), channels: int = 1
) -> MultiScaleResidualDiscriminator:
    torch.manual_seed(0)
    return MultiScaleResidualDiscriminator(n_ffts=n_ffts, input_channels=channels, **THIN)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [100, 4096, 5003])
def test_features_of_every_scale(channels: int, samples: int) -> None:
    outputs = thin(channels=channels)(noise(2, channels, samples))
    assert [len(features) for features in outputs] == [8, 8]
    for n_fft, features in zip((128, 512), outputs):
        frames = 1 + (max(samples, n_fft) - n_fft) // (n_fft // 2)
        assert features[0].shape == (2, 4, frames, n_fft // 2)
        bins = [feature.shape[3] for feature in features]
        assert bins == [n_fft // 2 >> step for step in range(7)] + [1]
        assert [f.shape[1] for f in features] == [4, 4, 6, 6, 8, 8, 8, 1]
        assert features[-1].shape[2] == -(-frames // 8)
        assert all(feature.isfinite().all() for feature in features)


def test_the_planes_are_the_spectrum_and_its_modulus() -> None:
    planes = thin().planes(noise(2, 1, 1024), 512)
    real, imaginary, modulus = planes.unbind(1)
    assert planes.shape == (2, 3, 3, 256)
    torch.testing.assert_close(modulus, torch.complex(real, imaginary).abs())
    power = float((real.square() + imaginary.square()).mean()) / 0.1**2
    assert power == pytest.approx(1, abs=0.2)


def test_of_its_paper() -> None:
    config = DiscriminatorConfig(kind="spectrostream", options={"input_channels": 2})
    full = build_discriminator(config)
    assert isinstance(full, MultiScaleResidualDiscriminator)
    assert full.n_ffts == (128, 256, 512, 1024, 2048, 4096)
    with torch.no_grad():
        outputs = full(noise(1, 2, 8192))
    assert len(outputs) == 6
    assert all(features[-2].shape[1] == 512 for features in outputs)


def test_training_separates_two_signals() -> None:
    discriminator = thin((128,))
    optimiser = torch.optim.Adam(discriminator.parameters(), 1e-3)
    losses = []
    for step in range(20):
        real = noise(4, 1, 1024, seed=step)
        fake = real.clone()
        fake[..., 1::2] = 0
        loss = hinge_discriminator_loss(discriminator(real), discriminator(fake))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_silence_has_a_gradient() -> None:
    audio = torch.zeros(1, 1, 1024, requires_grad=True)
    discriminator = thin((128,))
    with torch.no_grad():
        real = discriminator(noise(1, 1, 1024))
    feature_matching_loss(real, discriminator(audio), normalise=True).backward()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()


def test_a_window_that_cannot_be_halved_six_times_is_refused() -> None:
    with pytest.raises(ValueError, match="128"):
        thin((100,))
