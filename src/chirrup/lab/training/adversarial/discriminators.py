"""Discriminators of neural codecs.

A discriminator takes audio ``[batch, channels, samples]`` and returns a list of feature maps for
each sub-discriminator. The last feature map is its logits, which are positive for audio classified
as real. The losses over these lists are in `losses`.

A sub-discriminator is a view of the audio, a stack of planes, and two-dimensional convolutions.
Views are computed in float32; convolutions run under autocast.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from chirrup.errors import UsageError
from chirrup.lab import fast
from chirrup.lab.fast.bands import band_magnitudes
from chirrup.lab.fast.filters import Filters, filters, has_fast_transform
from chirrup.lab.training.adversarial.stacks import (
    BandStacks,
    period_stack,
    scale_stack,
    spectrogram_stack,
)
from chirrup.lab.training.losses.stft import mel_filterbank, stft, unit_power

Features = list[list[Tensor]]

DAC_BANDS = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))
"""The frequency bands of the Descript Audio Codec, as fractions of the Nyquist frequency."""


class _Views(nn.Module):
    """Several views of the same audio, with a stack of convolutions for each."""

    def __init__(
        self, views: Iterable[nn.Module], stacks: Iterable[nn.Module], input_channels: int
    ) -> None:
        super().__init__()
        self.input_channels = input_channels
        self.views = nn.ModuleList(views)
        self.stacks = nn.ModuleList(stacks)

    def forward(self, audio: Tensor) -> Features:
        """Compute feature maps of ``[batch, channels, samples]``.

        Returns:
            ``[batch, width, height, breadth]`` for each layer. The last two axes are positions and
            phases of a period, or frames and bins or mels.
        """
        return [stack(view(audio)) for view, stack in zip(self.views, self.stacks, strict=True)]


class MultiPeriodDiscriminator(_Views):
    """Classifies every ``period``-th sample, for several periods.

    Source: HiFi-GAN (arXiv 2010.05646, section 2.3). Audio is folded into
    ``[samples / period, period]`` and convolved along the first axis only. Every layer except the
    last has a stride of 3. Few ``channels`` make it affordable on a CPU.
    """

    def __init__(
        self,
        *,
        periods: Sequence[int] = (2, 3, 5, 7, 11),
        channels: Sequence[int] = (32, 128, 512, 1024, 1024),
        input_channels: int = 1,
        slope: float = 0.1,
    ) -> None:
        super().__init__(
            (_Fold(period) for period in periods),
            (period_stack(input_channels, channels, slope) for _ in periods),
            input_channels,
        )


class MultiScaleDiscriminator(_Views):
    """Classifies the waveform at its sample rate, at half and at a quarter of it.

    Source: HiFi-GAN (arXiv 2010.05646, section 2.3) and its code. Strided convolutions with groups
    run along time. The stack of the full rate has spectral normalisation, the others have weight
    normalisation. An average of 4 samples halves the rate.
    """

    def __init__(
        self,
        *,
        scales: int = 3,
        channels: Sequence[int] = (128, 128, 256, 512, 1024, 1024, 1024),
        input_channels: int = 1,
        slope: float = 0.1,
    ) -> None:
        super().__init__(
            (_Halved(times) for times in range(scales)),
            (
                scale_stack(input_channels, channels, slope, normalise)
                for normalise in (spectral_norm, *[weight_norm] * (scales - 1))
            ),
            input_channels,
        )


class MultiScaleSTFTDiscriminator(_Views):
    """Classifies complex spectrograms of several window lengths.

    Source: EnCodec (arXiv 2210.13438, section 3.4). The defaults are from the LRAC baselines,
    which have 16 ``channels``: five windows, a hop of a quarter window, no padding, and no weight
    normalisation in the first and the last convolution. EnCodec itself has a ``slope`` of 0.2.
    """

    def __init__(
        self,
        *,
        n_ffts: Sequence[int] = (128, 256, 512, 1024, 2048),
        channels: int = 32,
        input_channels: int = 1,
        hops_per_window: int = 4,
        modulus: bool = False,
        slope: float = 0.1,
    ) -> None:
        planes = input_channels * (3 if modulus else 2)
        super().__init__(
            (
                _ComplexPlanes(n_fft, n_fft // hops_per_window, padded=False, modulus=modulus)
                for n_fft in n_ffts
            ),
            (spectrogram_stack(planes, channels, slope) for _ in n_ffts),
            input_channels,
        )


class MultiScaleSubbandSTFTDiscriminator(_Views):
    """Classifies the bands of complex spectrograms of several window lengths.

    Source: DAC (arXiv 2306.06546, section 3.4). Every band has a stack of convolutions; one last
    convolution runs over all bands joined along frequency. A sub-discriminator returns the
    features of its bands in order, then the joint logits. DAC does not normalise its spectrograms.
    Here windows have unit energy, so that values are of the size of the samples at every scale.
    """

    def __init__(
        self,
        *,
        n_ffts: Sequence[int] = (2048, 1024, 512),
        bands: Sequence[tuple[float, float]] = DAC_BANDS,
        channels: int = 32,
        input_channels: int = 1,
        slope: float = 0.1,
    ) -> None:
        super().__init__(
            (_ComplexPlanes(n_fft, n_fft // 4, padded=True) for n_fft in n_ffts),
            (BandStacks(bands, 2 * input_channels, channels, slope) for _ in n_ffts),
            input_channels,
        )


class MultiLengthMelDiscriminator(_Views):
    """Classifies log-mel spectrograms of several window lengths.

    The poster of IRIS names such a discriminator without its details. Here windows double and the
    number of mels grows with them, so that at 24 kHz every filter spans two FFT bins or more. The
    convolutions are EnCodec's. It cannot detect errors of phase.
    """

    def __init__(
        self,
        *,
        sample_rate_hz: int = 24_000,
        n_ffts: Sequence[int] = (512, 1024, 2048),
        mels: Sequence[int] = (64, 80, 128),
        channels: int = 32,
        input_channels: int = 1,
        slope: float = 0.1,
    ) -> None:
        super().__init__(
            (
                _LogMelPlanes(sample_rate_hz, n_fft, count)
                for n_fft, count in zip(n_ffts, mels, strict=True)
            ),
            (spectrogram_stack(input_channels, channels, slope) for _ in n_ffts),
            input_channels,
        )


class Discriminators(nn.ModuleDict):
    """The discriminators of a recipe by name, with the interface of one discriminator.

    A discriminator of one input channel gets every channel as a clip.

    Raises:
        UsageError: a discriminator has neither one input channel nor ``channels``.
    """

    def __init__(self, members: Mapping[str, nn.Module], channels: int = 1) -> None:
        super().__init__(members)
        self.together = [cast(int, member.input_channels) for member in members.values()]
        for name, together in zip(members, self.together, strict=True):
            if together not in (1, channels):
                raise UsageError(
                    f"adversary.discriminators.{name} has {together} input_channels, the model "
                    f"{channels}: set input_channels to {channels} or 1"
                )

    def forward(self, audio: Tensor) -> Features:
        """Compute the outputs of all discriminators for ``[batch, channels, samples]``."""
        return [
            features
            for member, together in zip(self.values(), self.together, strict=True)
            for features in member(audio.reshape(-1, together, audio.shape[2]))
        ]


class _Fold(nn.Module):
    """Folds ``[batch, channels, samples]`` into ``[batch, channels, positions, period]``."""

    def __init__(self, period: int) -> None:
        super().__init__()
        self.period = period

    def forward(self, audio: Tensor) -> Tensor:
        audio = functional.pad(audio, (0, -audio.shape[-1] % self.period), mode="reflect")
        return audio.unflatten(-1, (-1, self.period))


class _Halved(nn.Module):
    """Halves the sample rate some times: ``[batch, channels, time]`` to ``[..., time, 1]``."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, audio: Tensor) -> Tensor:
        for _ in range(self.times):
            audio = functional.avg_pool1d(audio, 4, 2, padding=2)
        return audio[..., None]


class _Spectrogram(nn.Module):
    """Complex spectrogram in float32, with a Hann window of unit power.

    If ``padded``, the ends are reflected by ``(n_fft - hop) / 2``, which gives a frame for every
    hop begun. Otherwise all frames lie inside the audio.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop: int, *, padded: bool) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.hop = hop
        self.padding = (n_fft - hop) // 2 if padded else 0

    def forward(self, audio: Tensor) -> Tensor:
        """Compute ``[batch, channels, frames, bins]`` of ``[batch, channels, samples]``."""
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = stft(self.padded_rows(audio), self.window.float(), self.hop)
        return spectrum.unflatten(0, audio.shape[:2])

    def padded_rows(self, audio: Tensor) -> Tensor:
        """Pad ``[batch, channels, samples]``; return ``[batch * channels, samples]`` in float32."""
        audio = audio.float()
        if self.padding:
            ends = (self.padding, self.padding + -audio.shape[-1] % self.hop)
            audio = functional.pad(audio, ends, mode="reflect")
        return audio.flatten(0, 1)


class _ComplexPlanes(_Spectrogram):
    """Real and imaginary parts of all channels, and optionally moduli, as planes."""

    def __init__(self, n_fft: int, hop: int, *, padded: bool, modulus: bool = False) -> None:
        super().__init__(n_fft, hop, padded=padded)
        self.modulus = modulus

    def forward(self, audio: Tensor) -> Tensor:
        spectrum = super().forward(audio)
        planes = torch.view_as_real(spectrum).movedim(-1, 1).flatten(1, 2)
        return torch.cat((planes, spectrum.abs()), dim=1) if self.modulus else planes


class _LogMelPlanes(_Spectrogram):
    """Log-mel spectrogram ``log(1 + mel / FLOOR)`` with hops of a quarter window; 0 for silence.

    Unlike a clamped logarithm it has a smooth gradient near silence.
    """

    FLOOR = 1e-4  # about 60 dB below white noise of unit level, as in the losses
    filterbank: Tensor

    def __init__(self, sample_rate_hz: int, n_fft: int, mels: int) -> None:
        super().__init__(n_fft, n_fft // 4, padded=True)
        filterbank = mel_filterbank(sample_rate_hz, n_fft, mels)
        self.register_buffer("filterbank", filterbank, persistent=False)
        self.fast = False
        self._filters: Filters | None = None

    def forward(self, audio: Tensor) -> Tensor:
        with torch.autocast(audio.device.type, enabled=False):
            if self.fast and fast.takes(audio) and has_fast_transform(len(self.window)):
                if self._filters is None:
                    self._filters = filters(unit_power(self.window), self.filterbank)
                rows = band_magnitudes(self.padded_rows(audio), self._filters, self.hop)
                mels = rows.unflatten(0, audio.shape[:2])
            else:
                mels = super().forward(audio).abs() @ self.filterbank.float()
            return torch.log1p(mels / self.FLOOR)
