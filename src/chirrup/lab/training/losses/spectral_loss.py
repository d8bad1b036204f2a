"""Spectral losses of ``[batch, samples]`` of unit power at several scales.

The losses share the spectra of a scale, so another loss adds little cost.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab import fast
from chirrup.lab.fast.filters import Filters, filters, has_fast_transform
from chirrup.lab.fast.spectral_loss import TERMS as FAST_TERMS
from chirrup.lab.fast.spectral_loss import spectral_terms
from chirrup.lab.training.losses.stft import mel_filterbank, stft, unit_power

FLOOR = 1e-3
"""Smallest magnitude, 60 dB below white noise of the clip's level."""


class SpectralLoss(nn.Module):
    """Losses over several STFT scales, with Hann windows and hops of a quarter window.

    - ``mel``: L1 distance of log10 mel magnitudes (the "multi-scale mel loss" of IRIS).
    - ``mel_magnitude``: L1 distance of mel magnitudes, in which a filter is a weighted mean of its
      bins. TQCodec (section 3.1.3) adds it to ``mel``.
    - ``log_mel``: L1 and weighted L2 distance of natural-log mel magnitudes, with the weights of
      the LRAC baselines' code: sqrt(2^i - 1) for a window of 2^i (section 4.3).
    - ``stft``: L1 distance of log magnitudes, plus the spectral convergence (Parallel WaveGAN,
      arXiv 1910.11480, equations 4 and 5).
    - ``complex``: L1 distance of spectra whose magnitudes are compressed by a power of 0.3. It
      includes the phase, and the loudest bins do not dominate it.
    - ``wavefm``: the refined STFT loss of WaveFM (arXiv 2503.16689, section 3.2): wrapped phase
      difference, weighted by the target's compressed magnitude, and first and second differences
      of the log magnitude along time and frequency.
    - ``soundstream``: L1 distance of mel magnitudes plus sqrt(n_fft / 2) times the squared
      difference of their natural logs, the reconstruction loss of SoundStream (arXiv 2107.03312,
      equations 4 and 5) with the weights of SpectroStream and 64 bands at every scale.

    Args:
        n_ffts: window lengths in samples.
        mels: bands of each scale. A band without any FFT bin is ignored. DAC's scales have two of
            them at 48 kHz, none at 44.1 kHz.
        wavefm_n_ffts: scales of the ``wavefm`` loss.
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
        """Compute the named losses, each a scalar, the mean over the scales."""
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
        """Return the tables of the fast form, which are made at its first use."""
        if not self._filters:
            self._filters = [
                filters(unit_power(self.get_buffer(f"window_{n}")), self.get_buffer(f"mel_{n}"))
                for n in self.n_ffts
            ]
        return self._filters

    def _plain(self, estimate: Tensor, target: Tensor, terms: set[str]) -> dict[str, Tensor]:
        """Compute the losses by their definition."""
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
                    # With 64 bands, some have no bin of a short window: both sides get the floor.
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
    """Compute a magnitude with a floor, which has a gradient at zero."""
    return (torch.view_as_real(spectrum).square().sum(-1) + FLOOR**2).sqrt()


def wavefm_term(x: Tensor, y: Tensor, x_log: Tensor, y_log: Tensor) -> Tensor:
    """Compute phase, gradient and Laplacian differences of one scale (see `SpectralLoss`).

    The gradient of a phase is inversely proportional to the magnitude. Bins of the estimate that
    are still too quiet get a smaller weight, or they would dominate all others.
    """
    turned = x * y.conj()
    weight = torch.exp(0.3 * y_log)
    quiet = (x_log - y_log).detach().clamp(max=0).exp()
    phase = torch.atan2(turned.imag, turned.real + FLOOR**2).abs()
    loss = (phase * weight * quiet).sum() / weight.sum() / torch.pi
    for dim in (1, 2):
        slope = (x_log - y_log).diff(dim=dim)
        loss = loss + 0.25 * slope.abs().mean() + 0.25 * slope.diff(dim=dim).abs().mean()
    return loss
