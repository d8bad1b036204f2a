"""Reconstruction losses: ``[batch, samples]`` against the same, both of unit level.

All scales share their spectra between the terms, so a term costs little once another one is used.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab import fast
from chirrup.lab.fast.filters import Filters, filters, has_fast_transform
from chirrup.lab.fast.spectral_loss import TERMS as FAST_TERMS
from chirrup.lab.fast.spectral_loss import spectral_terms
from chirrup.lab.training.losses.spectral import mel_filterbank, of_unit_power, stft

FLOOR = 1e-3
"""Magnitudes below this count as this: 60 dB below white noise of the clip's level."""


def normalise_level(estimate: Tensor, target: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
    """Bring each clip to unit level, measured on the target: quiet clips count like loud ones.

    Where the target is silent a tenth of the level of what was ``heard``, the input, counts. All
    ``[batch, ..., samples]``; a clip has one level for all channels.
    """
    level, floor = (power(x).sqrt() for x in (target, heard))
    level = torch.maximum(level, 0.1 * floor).clamp(min=1e-3)
    return estimate / level, target / level


def power(audio: Tensor) -> Tensor:
    """Mean square of each row ``[batch, ..., samples]``, over its channels too: a factor for it."""
    return audio.square().mean(tuple(range(1, audio.ndim)), keepdim=True)


def waveform_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """L1 distance of ``[batch, samples]``, of unit level."""
    return F.l1_loss(estimate, target)


class SpectralLoss(nn.Module):
    """Terms over several STFT scales, Hann windows, hop a quarter of the window.

    - ``mel``: L1 of log10 mel magnitudes (IRIS, section 6, "multi-scale mel loss").
    - ``mel_magnitude``: L1 of mel magnitudes, each filter a weighted mean of its bins: what is loud
      counts by how loud it is (TQCodec, section 3.1.3, adds it to ``mel``).
    - ``log_mel``: L1, and weighted L2, of natural-log mel magnitudes, as the code of LRAC's
      baselines weights them: sqrt(2^i - 1) for a window of 2^i (seed 001, section 4.3).
    - ``stft``: L1 of log magnitudes, plus the spectral convergence (Parallel WaveGAN, eq. 4, 5).
    - ``complex``: L1 of spectra whose magnitude is compressed by a power 0.3: phase-aware where
      there is energy, and not ruled by the loudest bins.
    - ``wavefm``: WaveFM's refined STFT loss (arXiv 2503.16689, section 3.2): wrapped phase
      difference, and first and second differences of the log magnitude along time and
      frequency. The phase counts by the target's compressed magnitude.
    - ``soundstream``: L1 of mel magnitudes plus sqrt(n_fft / 2) times the squared difference of
      their natural logs, as SpectroStream weights SoundStream's reconstruction (facts, section 2),
      which has 64 bands at every scale.

    Args:
        n_ffts: window lengths in samples.
        mels: bands of each scale. One without any FFT bin counts for nothing; DAC's scales have
            two such at 48 kHz, none at 44.1 kHz.
        wavefm_n_ffts: scales that the ``wavefm`` term is computed on.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        n_ffts: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048),
        mels: tuple[int, ...] = (10, 20, 40, 80, 160, 320),
        wavefm_n_ffts: tuple[int, ...] = (512, 1024, 2048),
    ) -> None:
        super().__init__()
        self.n_ffts, self.wavefm_n_ffts = n_ffts, wavefm_n_ffts
        self.log_mel_weight = sum(1 + (n_fft - 1) ** 0.5 for n_fft in n_ffts) / len(n_ffts)
        for n_fft, bands in zip(n_ffts, mels, strict=True):
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), False)
            bank = mel_filterbank(sample_rate_hz, n_fft, bands)
            bank = bank[:, bank.sum(0) > 0]
            self.register_buffer(f"mel_{n_fft}", bank / bank.sum(0), False)
        self.fast = False
        self._filters: list[Filters] = []

    def forward(self, estimate: Tensor, target: Tensor, terms: set[str]) -> dict[str, Tensor]:
        """Compute the named ``terms``, each a scalar, the mean over the scales."""
        if not terms:
            return {}
        if not (self.fast and fast.runs_on(estimate) and all(map(has_fast_transform, self.n_ffts))):
            return self._plain(estimate, target, terms)
        values: dict[str, Tensor] = {}
        if quick := terms & FAST_TERMS:
            values |= spectral_terms(estimate, target, self._scales(), sorted(quick))
        if "log_mel" in values:
            values["log_mel"] = values["log_mel"] / self.log_mel_weight
        if rest := terms - FAST_TERMS:
            values |= self._plain(estimate, target, rest)
        return values

    def _scales(self) -> list[Filters]:
        """Tables of the fast form, made at its first use."""
        if not self._filters:
            self._filters = [
                filters(of_unit_power(self.get_buffer(f"window_{n}")), self.get_buffer(f"mel_{n}"))
                for n in self.n_ffts
            ]
        return self._filters

    def _plain(self, estimate: Tensor, target: Tensor, terms: set[str]) -> dict[str, Tensor]:
        """The definition of the terms."""
        sums = {term: estimate.new_zeros(()) for term in terms}
        for n_fft in self.n_ffts:
            if terms == {"wavefm"} and n_fft not in self.wavefm_n_ffts:
                continue
            window, bank = self.get_buffer(f"window_{n_fft}"), self.get_buffer(f"mel_{n_fft}")
            x = stft(estimate, window, n_fft // 4)
            with torch.no_grad():
                y = stft(target, window, n_fft // 4)
                y_magnitude = magnitude(y)
            x_magnitude = magnitude(x)
            if terms & {"mel", "mel_magnitude", "log_mel", "soundstream"}:
                x_mel, y_mel = x_magnitude @ bank, y_magnitude @ bank
                error = x_mel.log() - y_mel.log()
                if "mel" in terms:
                    sums["mel"] = sums["mel"] + error.abs().mean() / math.log(10)
                if "mel_magnitude" in terms:
                    sums["mel_magnitude"] = sums["mel_magnitude"] + F.l1_loss(x_mel, y_mel)
                if "log_mel" in terms:
                    share = (n_fft - 1) ** 0.5
                    term = error.abs().mean() + share * error.square().mean()
                    sums["log_mel"] = sums["log_mel"] + term / self.log_mel_weight
                if "soundstream" in terms:
                    # Of 64 bands some hold no bin of a short window: their floor is on both sides.
                    x_mel, y_mel = x_mel.clamp(min=FLOOR), y_mel.clamp(min=FLOOR)
                    logs = F.mse_loss(x_mel.log(), y_mel.log())
                    term = F.l1_loss(x_mel, y_mel) + (n_fft / 2) ** 0.5 * logs
                    sums["soundstream"] = sums["soundstream"] + term
            if terms & {"stft", "wavefm"}:
                x_log, y_log = x_magnitude.log(), y_magnitude.log()
                if "stft" in terms:
                    convergence = (x_magnitude - y_magnitude).norm(dim=(1, 2))
                    convergence = convergence / y_magnitude.norm(dim=(1, 2))
                    sums["stft"] = sums["stft"] + F.l1_loss(x_log, y_log) + convergence.mean()
                if "wavefm" in terms and n_fft in self.wavefm_n_ffts:
                    term = wavefm_term(x, y, x_log, y_log)
                    share = len(self.n_ffts) / len(self.wavefm_n_ffts)
                    sums["wavefm"] = sums["wavefm"] + term * share
            if "complex" in terms:
                x_small = x * (x_magnitude**-0.7)
                y_small = y * (y_magnitude**-0.7)
                error = torch.view_as_real(x_small - y_small).abs().mean()
                sums["complex"] = sums["complex"] + error
        return {term: value / len(self.n_ffts) for term, value in sums.items()}


def magnitude(spectrum: Tensor) -> Tensor:
    """Magnitude with a floor and a gradient everywhere."""
    return (torch.view_as_real(spectrum).square().sum(-1) + FLOOR**2).sqrt()


def wavefm_term(x: Tensor, y: Tensor, x_log: Tensor, y_log: Tensor) -> Tensor:
    """Phase, gradient and Laplacian differences of one scale; see ``SpectralLoss``.

    The gradient of a phase is one over the magnitude: bins that are still too quiet would rule all
    others, and count by as much less.
    """
    turned = x * y.conj()
    weight = torch.exp(0.3 * y_log)
    heard = (x_log - y_log).detach().clamp(max=0).exp()
    phase = torch.atan2(turned.imag, turned.real + FLOOR**2).abs()
    loss = (phase * weight * heard).sum() / weight.sum() / torch.pi
    for dim in (1, 2):
        slope = (x_log - y_log).diff(dim=dim)
        loss = loss + 0.25 * slope.abs().mean() + 0.25 * slope.diff(dim=dim).abs().mean()
    return loss
