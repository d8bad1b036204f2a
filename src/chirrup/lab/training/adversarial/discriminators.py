"""The discriminators that neural codecs are trained against.

Every one takes audio `[batch, channels, samples]` and returns, per sub-discriminator, its feature
maps in order, the last of them the logits: positive where it believes the audio is real. The losses
over these lists are in `adversarial`.

A sub-discriminator is a view of the audio, as a stack of planes, and convolutions that judge it.
Convolutions are two-dimensional and run under autocast; views are computed in float32.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from chirrup.errors import UsageError
from chirrup.lab import fast
from chirrup.lab.fast.bands import band_magnitudes
from chirrup.lab.fast.filters import Filters, filters, has_fast_transform
from chirrup.lab.training.adversarial.stacks import (
    BandStacks,
    period_stack,
    spectrogram_stack,
)
from chirrup.lab.training.losses.stft import mel_filterbank, stft, unit_power

Features = list[list[Tensor]]

DAC_BANDS = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))
"""The frequency bands of the Descript Audio Codec, as fractions of the Nyquist frequency."""


class _Views(nn.Module):
    """Several views of the same audio, and for each the convolutions that judge it."""

    def __init__(
        self, views: Iterable[nn.Module], stacks: Iterable[nn.Module], input_channels: int
    ) -> None:
        super().__init__()
        self.input_channels = input_channels
        self.views = nn.ModuleList(views)
        self.stacks = nn.ModuleList(stacks)

    def forward(self, audio: Tensor) -> Features:
        """`[batch, channels, samples]` to feature maps `[batch, width, height, breadth]`.

        The last two axes are positions and phases of a period, or frames and bins or mels.
        """
        return [stack(view(audio)) for view, stack in zip(self.views, self.stacks, strict=True)]


class MultiPeriodDiscriminator(_Views):
    """Looks at every `period`-th sample, for several periods (HiFi-GAN, arXiv 2010.05646, 2.3).

    Audio is folded into `[samples / period, period]` and convolved along the first axis only. Each
    layer but the last strides by 3. Thin `channels` make it affordable on a CPU.
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


class MultiScaleSTFTDiscriminator(_Views):
    """Looks at complex spectrograms of several window lengths (EnCodec, arXiv 2210.13438, 3.4).

    The defaults are those of the LRAC baselines, which use 16 `channels`: five windows, a quarter
    of a window between frames, no padding at the ends, and no weight normalisation in the first
    convolution and the last. EnCodec itself has a `slope` of 0.2. SpectroStream's view is windows
    from 128 to 4096, `input_channels=2`, `hops_per_window=2` and `modulus=True`.
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
    """Looks at each band of several complex spectrograms on its own (DAC, arXiv 2306.06546, 3.4).

    A band has its own stack of convolutions; one last convolution runs over all bands joined along
    frequency. A sub-discriminator's features are those of its first band, then of the next, and at
    the end the joint logits. DAC does not normalise its spectrograms; here windows have unit
    energy, so that values have the size of the samples at every scale.
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
    """Looks at log-mel spectrograms of several window lengths, as IRIS names but does not specify.

    Windows double and mels grow with them: at 24 kHz every filter spans two FFT bins or more. The
    convolutions are EnCodec's. Phase is invisible to it.
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
    """The discriminators a recipe has chosen, by name, seen from outside as one.

    One of a single input channel judges every channel by itself.

    Raises:
        ModelError: one is for another number of channels than 1 and ``channels``.
    """

    def __init__(self, members: Mapping[str, nn.Module], channels: int = 1) -> None:
        super().__init__(members)
        self.together = [cast(int, member.input_channels) for member in members.values()]
        for name, together in zip(members, self.together, strict=True):
            if together not in (1, channels):
                raise UsageError(
                    f"adversary.discriminators.{name} has {together} input_channels, the model "
                    f"{channels}: give it as many, or 1"
                )

    def forward(self, audio: Tensor) -> Features:
        """The outputs of all members for ``[batch, channels, samples]``, in their order."""
        return [
            features
            for member, together in zip(self.values(), self.together, strict=True)
            for features in member(audio.reshape(-1, together, audio.shape[2]))
        ]


class _Fold(nn.Module):
    """`[batch, channels, samples]` to `[batch, channels, ceil(samples / period), period]`."""

    def __init__(self, period: int) -> None:
        super().__init__()
        self.period = period

    def forward(self, audio: Tensor) -> Tensor:
        audio = functional.pad(audio, (0, -audio.shape[-1] % self.period), mode="reflect")
        return audio.unflatten(-1, (-1, self.period))


class _Spectrogram(nn.Module):
    """Complex spectrogram, Hann window, unit power for unit noise, float32 whatever the autocast.

    Padded, it reflects the ends by `(n_fft - hop) / 2`, which gives one frame per begun hop;
    otherwise frames lie wholly inside the audio.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop: int, *, padded: bool) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.hop = hop
        self.padding = (n_fft - hop) // 2 if padded else 0

    def forward(self, audio: Tensor) -> Tensor:
        """`[batch, channels, samples]` to `[batch, channels, frames, bins]`."""
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = stft(self.padded_rows(audio), self.window.float(), self.hop)
        return spectrum.unflatten(0, audio.shape[:2])

    def padded_rows(self, audio: Tensor) -> Tensor:
        """`[batch, channels, samples]` to `[batch * channels, padded samples]` in float32."""
        audio = audio.float()
        if self.padding:
            ends = (self.padding, self.padding + -audio.shape[-1] % self.hop)
            audio = functional.pad(audio, ends, mode="reflect")
        return audio.flatten(0, 1)


class _ComplexPlanes(_Spectrogram):
    """Real parts of all channels, then imaginary parts, then if wanted moduli."""

    def __init__(self, n_fft: int, hop: int, *, padded: bool, modulus: bool = False) -> None:
        super().__init__(n_fft, hop, padded=padded)
        self.modulus = modulus

    def forward(self, audio: Tensor) -> Tensor:
        spectrum = super().forward(audio)
        planes = torch.view_as_real(spectrum).movedim(-1, 1).flatten(1, 2)
        return torch.cat((planes, spectrum.abs()), dim=1) if self.modulus else planes


class _LogMelPlanes(_Spectrogram):
    """Natural logarithm of mel magnitudes above a floor, 0 for silence, with a quarter-window hop.

    `log(1 + mel / FLOOR)` where others clamp: near silence its gradient fades in smoothly.
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
