"""Discriminators and the adversarial losses over their outputs."""

from itertools import pairwise
from math import ceil, pi
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from chirrup.lab.training.adversarial.discriminators import (
    Discriminators,
    MultiLengthMelDiscriminator,
    MultiPeriodDiscriminator,
    MultiScaleDiscriminator,
    MultiScaleSTFTDiscriminator,
    MultiScaleSubbandSTFTDiscriminator,
)
from chirrup.lab.training.adversarial.losses import (
    feature_matching_loss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
)
from chirrup.lab.training.config import load_recipe

ROOT = Path(__file__).parents[4]


def thin(name: str, input_channels: int = 1) -> nn.Module:
    match name:
        case "period":
            return MultiPeriodDiscriminator(channels=(8, 16, 32), input_channels=input_channels)
        case "scale":
            return MultiScaleDiscriminator(channels=[16] * 7, input_channels=input_channels)
        case "stft":
            return MultiScaleSTFTDiscriminator(channels=4, input_channels=input_channels)
        case "subband":
            return MultiScaleSubbandSTFTDiscriminator(channels=4, input_channels=input_channels)
        case "mel":
            return MultiLengthMelDiscriminator(channels=4, input_channels=input_channels)
    raise ValueError(name)


STRUCTURE = {"period": (5, 4), "scale": (3, 8), "stft": (5, 6), "mel": (3, 6)}
STRUCTURE["subband"] = (3, 5 * 5 + 1)
every_discriminator = pytest.mark.parametrize("name", STRUCTURE)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def logits(*values: float) -> list[list[Tensor]]:
    """Return a sub-discriminator for each value, with logits and a feature map of ones."""
    return [[torch.ones(2, 3, 4, 4), torch.full((2, 1, 4, 4), value)] for value in values]


@every_discriminator
@pytest.mark.parametrize("input_channels", [1, 2])
@pytest.mark.parametrize("samples", [4096, 5003])
def test_gives_features_and_logits_of_every_sub_discriminator(
    name: str, input_channels: int, samples: int
) -> None:
    outputs = thin(name, input_channels)(noise(3, input_channels, samples))
    count, layers = STRUCTURE[name]
    assert [len(features) for features in outputs] == [layers] * count
    for features in outputs:
        assert all(feature.shape[0] == 3 and feature.ndim == 4 for feature in features)
        assert all(feature.shape[1] > 1 for feature in features[:-1])
        assert features[-1].shape[1] == 1


def test_multi_period_folds_by_its_periods() -> None:
    outputs = MultiPeriodDiscriminator(channels=(4, 8))(noise(1, 1, 4000))
    assert [tuple(features[0].shape) for features in outputs] == [
        (1, 4, ceil(ceil(4000 / period) / 3), period) for period in (2, 3, 5, 7, 11)
    ]


def test_multi_scale_stft_frames_lie_inside_the_audio() -> None:
    outputs = MultiScaleSTFTDiscriminator(channels=4)(noise(1, 1, 4096))
    assert [tuple(features[0].shape[-2:]) for features in outputs] == [
        ((4096 - n_fft) // (n_fft // 4) + 1, n_fft // 2 + 1)
        for n_fft in (128, 256, 512, 1024, 2048)
    ]


def test_multi_scale_stft_keeps_frames_and_halves_bins_three_times() -> None:
    features = MultiScaleSTFTDiscriminator(n_ffts=(128,), channels=4)(noise(1, 1, 1024))[0]
    shapes = [tuple(feature.shape[-2:]) for feature in features]
    assert shapes == [(29, 65), (29, 33), (29, 17), (29, 9), (29, 9), (29, 9)]


def test_spectrostream_front_end_sees_real_imaginary_and_modulus_of_both_channels() -> None:
    discriminator = MultiScaleSTFTDiscriminator(
        n_ffts=(128, 4096), channels=4, input_channels=2, hops_per_window=2, modulus=True
    )
    first = next(module for module in discriminator.modules() if isinstance(module, nn.Conv2d))
    assert first.in_channels == 6
    assert discriminator(noise(1, 2, 8192))[1][0].shape[-2:] == (3, 2049)


def test_bands_cover_the_spectrum_and_one_frame_stands_for_each_begun_hop() -> None:
    outputs = MultiScaleSubbandSTFTDiscriminator(channels=4)(noise(1, 1, 4100))
    for features, n_fft in zip(outputs, (2048, 1024, 512), strict=True):
        firsts = features[:-1:5]
        assert sum(feature.shape[-1] for feature in firsts) == n_fft // 2 + 1
        assert {feature.shape[-2] for feature in firsts} == {ceil(4100 / (n_fft // 4))}


def test_each_band_has_its_own_convolutions() -> None:
    discriminator = thin("subband")
    tone = torch.sin(torch.arange(4096) * 0.9 * torch.pi).expand(1, 1, -1)
    low, *_, high = discriminator(tone)[0][:-1:5]
    silent_low, *_, silent_high = discriminator(torch.zeros(1, 1, 4096))[0][:-1:5]
    inner = slice(2, -2)  # reflected ends are not a pure tone
    assert (low - silent_low)[:, :, inner].abs().max() < 1e-2
    assert (high - silent_high)[:, :, inner].abs().max() > 1


def test_multi_period_has_the_parameters_of_hifi_gan() -> None:
    """41.1 million: five kernels of 5 and one of 3 a period, a bias and a gain a channel."""
    widths = (1, 32, 128, 512, 1024, 1024)
    kernels = sum(5 * a * b for a, b in pairwise(widths)) + 3 * 1024
    assert 5 * (kernels + 2 * (sum(widths[1:]) + 1)) == 41_105_770
    assert parameters(MultiPeriodDiscriminator()) == 41_105_770


def test_multi_scale_has_the_parameters_and_rates_of_hifi_gan() -> None:
    """29.6 million. Only weight norm has gains; strides divide the time by 64."""
    widths, groups = (1, 128, 128, 256, 512, 1024, 1024, 1024, 1), (1, 4, 16, 16, 16, 16, 1, 1)
    sizes, outputs = (15, 41, 41, 41, 41, 41, 5, 3), sum(widths[1:])
    layers = zip(sizes, pairwise(widths), groups, strict=True)
    kernels = sum(size * a * b // group for size, (a, b), group in layers)
    assert 3 * (kernels + outputs) + 2 * outputs == 29_618_821
    discriminator = MultiScaleDiscriminator()
    assert parameters(discriminator) == 29_618_821
    scales = MultiScaleDiscriminator(channels=[16] * 7)(noise(1, 1, 4096))
    times = [[feature.shape[2] for feature in features] for features in scales]
    assert times[0] == [4096, 2048, 1024, 256, 64, 64, 64, 64]
    assert [rates[0] for rates in times] == [4096, 2049, 1025]


def test_weights_of_focal_65k_are_the_sums_of_its_authors() -> None:
    """They add the hinge losses, and multiply the mean distance of all 54 feature maps by 54."""
    periods = MultiPeriodDiscriminator(channels=(4, 4, 4, 4, 4))
    members = {"periods": periods, "scales": thin("scale")}
    discriminator = Discriminators(members).eval()
    real, fake = discriminator(noise(1, 1, 4096)), discriminator(noise(1, 1, 4096, seed=1))
    maps = [pair for a, b in zip(real, fake, strict=True) for pair in zip(a, b, strict=True)]
    assert len(maps) == 54
    features = 54 * sum((a - b).abs().mean() for a, b in maps) / len(maps)
    config = load_recipe(ROOT / "recipes" / "focal-65k.toml")
    weights, options = config.stages[0].weights, config.adversary
    ours = feature_matching_loss(
        real,
        fake,
        include_logits=options.include_logits,
        normalise=options.normalise,
        average_layers=options.average_layers,
    )
    torch.testing.assert_close(weights.features * ours, features)
    adversarial = sum((-outputs[-1]).mean() for outputs in fake)
    torch.testing.assert_close(weights.adversarial * hinge_generator_loss(fake), adversarial)


def test_multi_scale_stft_has_the_parameters_of_the_lrac_baseline() -> None:
    """The formula is for a scale, with C = 16. The first and last convolution have no gains."""
    c = 16
    ends = (27 * 2 * c + c) + (9 * c + 1)
    inner = 3 * (27 * c * c + 2 * c) + (9 * c * c + 2 * c)
    assert parameters(MultiScaleSTFTDiscriminator(channels=c)) == 5 * (ends + inner) == 120_965


def test_windows_and_filterbanks_are_not_in_checkpoints() -> None:
    state = Discriminators({"stft": thin("stft"), "mel": thin("mel")}).state_dict()
    assert not [key for key in state if key.endswith(("window", "filterbank"))]


@every_discriminator
@pytest.mark.parametrize("level", [1.0, 1e-6, 0.0])
def test_gradients_reach_the_audio_and_are_finite(name: str, level: float) -> None:
    audio = (level * noise(2, 1, 4096)).requires_grad_()
    discriminator = thin(name)
    hinge_generator_loss(discriminator(audio)).backward()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()
    if level:
        assert (audio.grad != 0).float().mean() > 0.5
    for parameter in discriminator.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@every_discriminator
def test_batch_rows_do_not_touch(name: str) -> None:
    discriminator, audio = thin(name).eval(), noise(3, 1, 4096)  # eval fixes spectral norms
    together = discriminator(audio)
    alone = discriminator(audio[1:2])
    for joint, single in zip(together, alone, strict=True):
        torch.testing.assert_close(joint[-1][1:2], single[-1], atol=1e-5, rtol=1e-4)


@every_discriminator
@pytest.mark.parametrize("channels_last", [False, True])
def test_bfloat16_autocast_stays_close_to_float32(name: str, channels_last: bool) -> None:
    torch.manual_seed(0)
    discriminator, audio = thin(name), noise(2, 1, 4096).requires_grad_()
    if channels_last:
        discriminator.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    exact = discriminator(audio)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = discriminator(audio)
        loss = feature_matching_loss(exact, rounded) + hinge_generator_loss(rounded)
    assert rounded[0][-1].dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    loss.backward()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()
    assert feature_matching_loss(exact, rounded, normalise=True, average_layers=True) < 0.05


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_discriminator
def test_runs_on_cuda_under_bfloat16_autocast(name: str) -> None:
    discriminator = thin(name).cuda()
    audio = noise(2, 1, 4096).cuda().requires_grad_()
    with torch.autocast("cuda", torch.bfloat16):
        loss = hinge_generator_loss(discriminator(audio))
    loss.backward()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()


def test_a_collection_joins_its_members_in_order() -> None:
    members = {"mel": thin("mel"), "period": thin("period")}
    collection, audio = Discriminators(members), noise(1, 1, 4096)
    joined = [features[-1] for features in collection(audio)]
    separate = [features[-1] for member in members.values() for features in member(audio)]
    assert list(collection) == ["mel", "period"]
    assert len(joined) == 8
    torch.testing.assert_close(joined, separate)


def test_hinge_is_zero_once_a_margin_separates() -> None:
    assert hinge_discriminator_loss(logits(1.0, 3.0), logits(-1.0, -2.0)) == 0
    assert hinge_discriminator_loss(logits(0.0), logits(0.0)) == 2
    assert hinge_discriminator_loss(logits(1.0, 0.0), logits(-1.0, 1.0)) == (0 + 3) / 2
    assert hinge_generator_loss(logits(2.0, 4.0)) == -3


def test_least_squares_has_its_minimum_at_one_and_zero() -> None:
    assert least_squares_discriminator_loss(logits(1.0, 1.0), logits(0.0, 0.0)) == 0
    assert least_squares_discriminator_loss(logits(0.0), logits(2.0)) == 1 + 4
    assert least_squares_generator_loss(logits(1.0)) == 0
    assert least_squares_generator_loss(logits(0.0, 3.0)) == (1 + 4) / 2


@pytest.mark.parametrize("include_logits", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("average_layers", [False, True])
def test_feature_matching_follows_its_options(
    include_logits: bool, normalise: bool, average_layers: bool
) -> None:
    def outputs(first: float, second: float, logit: float) -> list[list[Tensor]]:
        shapes = (2, 3, 8, 2), (2, 5, 4, 2), (2, 1, 4, 2)
        values = (first, second, logit)
        return [[torch.full(s, v) for s, v in zip(shapes, values, strict=True)]]

    options = {
        "include_logits": include_logits,
        "normalise": normalise,
        "average_layers": average_layers,
    }
    real, fake = outputs(2.0, -4.0, 0.5), outputs(3.0, -6.0, 2.5)
    layers = [0.5, 0.5, 4.0] if normalise else [1.0, 2.0, 2.0]
    layers = layers if include_logits else layers[:2]
    expected = sum(layers) / len(layers) if average_layers else sum(layers)
    assert feature_matching_loss(real, fake, **options).item() == pytest.approx(expected)
    assert feature_matching_loss(real + real, fake + fake, **options).item() == pytest.approx(
        expected
    )
    assert feature_matching_loss(real, real, **options) == 0


def test_feature_matching_moves_only_the_fake_side() -> None:
    discriminator = thin("stft")
    real, fake = noise(1, 1, 4096).requires_grad_(), noise(1, 1, 4096, seed=1).requires_grad_()
    feature_matching_loss(discriminator(real), discriminator(fake)).backward()
    assert real.grad is None
    assert fake.grad is not None
    assert fake.grad.abs().max() > 0


def test_a_mismatch_of_outputs_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        feature_matching_loss(logits(1.0), logits(1.0, 1.0))


@every_discriminator
def test_training_separates_sines_from_noise(name: str) -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)

    def sines(batch: int) -> Tensor:
        hertz = 200 + 1800 * torch.rand(batch, 1, 1, generator=generator)
        phase = 2 * pi * torch.rand(batch, 1, 1, generator=generator)
        return 0.7 * torch.sin(2 * pi * hertz * torch.arange(4096) / 24_000 + phase)

    def noises(batch: int) -> Tensor:
        return 0.5 * torch.randn(batch, 1, 4096, generator=generator)

    discriminator = thin(name)
    optimizer = torch.optim.AdamW(discriminator.parameters(), 1e-2, betas=(0.8, 0.99))
    for _ in range(30):
        loss = hinge_discriminator_loss(discriminator(sines(4)), discriminator(noises(4)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        real, fake = discriminator(sines(8)), discriminator(noises(8))
    assert hinge_discriminator_loss(real, fake) < 1
    real_score, fake_score = (
        torch.stack([features[-1].mean((1, 2, 3)) for features in outputs]).mean(0)
        for outputs in (real, fake)
    )
    assert real_score.min() > fake_score.max()
