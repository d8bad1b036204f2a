"""Differentiable wide-band PESQ (ITU-T P.862 with the P.862.2 extension) as a training loss.

The perceptual model is the standard's. Its time alignment is left out, so the caller removes the
codec's delay first. All steps are vectorised over the batch and the frames.

    waveform -> resample, level, input filter   one product in the frequency domain
             -> Bark power density              Hann frames of 32 ms, 49 critical bands
             -> compensate                      linear filtering and slow gain changes
             -> loudness -> disturbances        Zwicker's law, masking, asymmetry
             -> aggregate                       bands (L2, L1), syllables (L6), clip (L2)
             -> MOS-LQO
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab import fast
from chirrup.lab.fast.bands import band_powers
from chirrup.lab.fast.filters import Filters, filters
from chirrup.lab.training.losses.stft import rfft

MODEL_RATE_HZ = 16000
FRAME = 512  # samples, 32 ms
HOP = FRAME // 2

# Critical bands at 16 kHz: STFT bins, width in Bark, Hz per Bark, threshold of hearing in dB.
# Band 0 holds the DC bin alone, which the standard discards.
BINS = (1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4,
        3, 4, 5, 4, 5, 6, 6, 7, 8, 9, 9, 12, 12, 15, 16, 18, 21, 25, 20)  # fmt: skip
WIDTH_BARK = (
    0.157344, 0.317994, 0.322441, 0.326934, 0.331474, 0.336061, 0.340697, 0.345381, 0.350114,
    0.354897, 0.359729, 0.364611, 0.369544, 0.374529, 0.379565, 0.384653, 0.389794, 0.394989,
    0.400236, 0.405538, 0.410894, 0.416306, 0.421773, 0.427297, 0.432877, 0.438514, 0.444209,
    0.449962, 0.455774, 0.461645, 0.467577, 0.473569, 0.479621, 0.485736, 0.491912, 0.498151,
    0.504454, 0.510819, 0.517250, 0.523745, 0.530308, 0.536934, 0.543629, 0.550390, 0.557220,
    0.564119, 0.571085, 0.578125, 0.585232,
)  # fmt: skip
HZ_PER_BARK = (
    100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0,
    100.0, 106.094, 110.0, 117.992, 130.0, 137.52, 140.0, 142.858, 150.0, 153.687, 161.938,
    177.292, 191.593, 204.466, 217.643, 226.754, 233.517, 242.853, 256.543, 271.924, 295.288,
    322.185, 355.059, 393.128, 429.799, 465.152, 513.041, 577.137, 651.732, 733.38, 826.166,
    909.589, 1001.32, 1115.878, 1374.646, 1590.939,
)  # fmt: skip
THRESHOLD_DB = (
    77.1, 63.9, 48.5, 36.9, 30.7, 25.9, 20.2, 16.6, 12.5, 9.9, 6.9, 4.9, 2.8, 1.0, -0.1, -1.4,
    -2.5, -3.4, -4.1, -4.8, -5.3, -5.7, -5.9, -6.0, -6.0, -6.0, -6.0, -5.8, -5.4, -5.1, -4.7,
    -4.3, -4.0, -3.6, -3.3, -3.1, -3.0, -3.0, -2.9, -2.8, -2.8, -2.8, -2.9, -3.2, -3.7, -4.3,
    -4.4, -3.8, -2.7,
)  # fmt: skip

# Wide-band input filter: one second-order high-pass section (P.862.2).
INPUT_FILTER_B = (2.740826, -5.4816519, 2.740826)
INPUT_FILTER_A = (1.0, -1.9444777, 0.94597794)
INPUT_FILTER_TAIL = 512  # samples until its ringing is below -120 dB

ROLL_OFF_HZ = (7300.0, 8000.0)  # of the resampling, as customary

LEVEL_BAND_HZ = (350.0, 3250.0)
LEVEL_POWER = 1e7  # mean power in that band after level alignment
LEVEL_FLOOR = 1e-7  # full scale 1; a quieter signal (-70 dB) is not raised to speech level
MARGINS = 9600  # samples that it adds around the clip for its time alignment
PADDING = 5120  # samples of silence that the standard appends, counted in its means

POWER_SCALE = 6.910853e-6  # STFT power to power density
LOUDNESS_SCALE = 0.1866055  # to sone per Bark
ZWICKER_POWER = 0.23

SILENT_POWER = 1e7  # audible power of a frame below which it is silent
ACTIVE_WINDOW, ACTIVE_SUM = 5, 500.0  # sum of magnitudes that starts and ends the speech
SYLLABLE, SYLLABLE_HOP = 20, 10  # frames, 320 ms with half overlap
MAX_DISTURBANCE = 45.0
LOSS_SLOPE = 0.1  # of a frame's disturbance above the maximum, in the loss only
LOSS_LOUDER = 2.0  # power over the target's that is compensated at most, in the loss only


class PESQLoss(nn.Module):
    """Wide-band PESQ of time-aligned speech, as a loss and as a score.

    Waveforms are float ``[batch, samples]`` with full scale 1, at ``sample_rate_hz`` (16 kHz or
    more). PESQ is undefined for a target without a speech-level sample: the loss is 0 and the score
    the best one. The standard's recency weighting of clips longer than 16 s is left out.

    The loss differs from the standard in three places. The standard compensates level differences
    of a clip and of each frame, and limits the disturbance of a frame. A decoder trained with that
    makes bursts: in frames that it cannot predict, and in the first frame, because a burst lowers
    all others after the alignment. So the loss keeps growing above the limit, compensates at most 3
    dB of a frame that is too loud, and does not lower a clip that is too loud.

    Raises:
        ValueError: the sample rate is below 16 kHz.
    """

    window: Tensor
    bark_bands: Tensor
    width_bark: Tensor
    threshold: Tensor
    loudness_power: Tensor
    loudness_gain: Tensor
    gain_memory: Tensor

    def __init__(self, sample_rate_hz: int = 24000) -> None:
        super().__init__()
        if sample_rate_hz < MODEL_RATE_HZ:
            raise ValueError(f"wide-band PESQ needs 16 kHz or more, not {sample_rate_hz} Hz")
        common = math.gcd(sample_rate_hz, MODEL_RATE_HZ)
        self.up, self.down = MODEL_RATE_HZ // common, sample_rate_hz // common

        bins = torch.tensor(BINS)
        width = torch.tensor(WIDTH_BARK, dtype=torch.float64)
        centre = width.cumsum(0) - width / 2
        threshold = 10 ** (torch.tensor(THRESHOLD_DB, dtype=torch.float64) / 10)
        power = ZWICKER_POWER * (6 / (centre + 2)).clamp(1, 2) ** 0.15
        # STFT bins [257] to the mean power density of each band [49].
        density = POWER_SCALE * torch.tensor(HZ_PER_BARK, dtype=torch.float64) / bins
        bands = torch.zeros(FRAME // 2 + 1, len(BINS), dtype=torch.float64)
        band_of_bin = torch.arange(len(BINS)).repeat_interleave(bins)
        bands[torch.arange(len(band_of_bin)), band_of_bin] = density[band_of_bin]

        tables = {
            "window": torch.hann_window(FRAME),
            "bark_bands": bands[:, 1:],
            "width_bark": width[1:],
            "threshold": threshold[1:],
            "loudness_power": power[1:],
            "loudness_gain": LOUDNESS_SCALE * (2 * threshold[1:]) ** power[1:],
            "gain_memory": 0.8 * 0.2 ** torch.arange(11.0).flip(0)[None, None],
        }
        for name, table in tables.items():
            self.register_buffer(name, table.float().contiguous(), persistent=False)
        self.fast = False
        self._filters: Filters | None = None

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Compute the loss ``[batch]``: 4.5 minus the raw MOS, 0 at best."""
        return self._mos_drop(estimate, target, LOSS_SLOPE, LOSS_LOUDER)

    def score(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Compute the wide-band MOS-LQO ``[batch]``, from 1.0 to 4.64 (P.862.2)."""
        raw_mos = 4.5 - self._mos_drop(estimate, target, 0.0, math.inf)
        return 0.999 + 4 * torch.sigmoid(1.3669 * raw_mos - 3.8224)

    def _mos_drop(self, estimate: Tensor, target: Tensor, slope: float, louder: float) -> Tensor:
        if estimate.shape != target.shape or estimate.dim() != 2:
            raise ValueError(
                "estimate and target must both be [batch, samples], "
                f"not {list(estimate.shape)} and {list(target.shape)}"
            )
        if estimate.shape[1] * self.up < FRAME * self.down:
            raise ValueError(f"{estimate.shape[1]} samples are shorter than one frame of 32 ms")
        with torch.autocast(estimate.device.type, enabled=False):
            with torch.no_grad():
                speech, gain = self._prepare(target.float())
                reference = self._bark_power(speech)
                start, stop = speech_frames(speech)
            filtered, _ = self._prepare(estimate.float(), None if louder == math.inf else gain)
            degraded = self._bark_power(filtered)
            reference, degraded = self._compensate(reference, degraded, stop, louder)
            frames = self._frame_disturbances(reference, degraded)
            excess = (frames - MAX_DISTURBANCE).clamp(min=0)
            clip = clip_disturbance(frames - (1 - slope) * excess, start, stop)
            return 0.1 * clip[:, 0] + 0.0309 * clip[:, 1]

    def _prepare(self, waveform: Tensor, least_gain: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Resample to 16 kHz, align the level and apply the input filter (P.862, 10.1).

        Resampling and filter are one multiplication of the clip's spectrum. The clip is
        zero-padded, so that the filter's ringing does not wrap around.

        Returns:
            The filtered waveform, and the gain `[batch]` that aligned its level, at least
            ``least_gain``.
        """
        samples = waveform.shape[-1]
        model_samples = samples * self.up // self.down
        ramp, response = input_filter(samples, self.up, self.down, waveform.device)
        size = 2 * (len(response) - 1)

        spectrum = rfft(waveform * ramp, size * self.down // self.up)
        spectrum = spectrum[:, : len(response)]
        low, high = (round(hz * size / MODEL_RATE_HZ) for hz in LEVEL_BAND_HZ)
        energy = torch.view_as_real(spectrum[:, low : high + 1]).square().sum((1, 2))
        energy = 2 / size * (self.up / self.down) ** 2 * energy
        power = energy / (model_samples + PADDING)
        gain = (LEVEL_POWER / power.clamp(min=LEVEL_FLOOR)).sqrt()
        if least_gain is not None:
            gain = torch.maximum(gain, least_gain)
        filtered = torch.fft.irfft(spectrum * response, size)[:, :model_samples]
        return filtered * gain[:, None], gain

    def _bark_power(self, speech: Tensor) -> Tensor:
        """Compute power densities ``[batch, frames, critical bands]`` (P.862, 10.2)."""
        frames = speech.shape[-1] // HOP
        speech = F.pad(speech, (0, (frames + 1) * HOP - speech.shape[-1]))
        if self.fast and fast.runs_on(speech):
            if self._filters is None:
                self._filters = filters(self.window, self.bark_bands)
            return band_powers(speech, self._filters, HOP)
        halves = speech.unflatten(-1, (frames + 1, HOP))
        spectrum = torch.fft.rfft(torch.cat((halves[:, :-1], halves[:, 1:]), -1) * self.window)
        return torch.view_as_real(spectrum).square().sum(-1) @ self.bark_bands

    def _audible(self, power: Tensor, factor: float = 1.0) -> Tensor:
        """Set powers below ``factor`` times the threshold of hearing to zero."""
        return power * (power > factor * self.threshold)

    def _compensate(
        self, reference: Tensor, degraded: Tensor, stop: Tensor, louder: float
    ) -> tuple[Tensor, Tensor]:
        """Compensate filtering in the reference and gain changes in the estimate (P.862, 10.2)."""
        frames = reference.shape[1]
        audible = self._audible(reference, 100).sum(-1) >= SILENT_POWER
        audible &= torch.arange(frames, device=stop.device) <= stop[:, None]
        mean_frames = frames + PADDING // HOP - 1
        means = [
            (self._audible(power, 100) * audible[..., None]).sum(1, keepdim=True) / mean_frames
            for power in (reference, degraded)
        ]
        reference = reference * ((means[1] + 1e3) / (means[0] + 1e3)).clamp(0.01, min(100, louder))

        totals = [self._audible(power).sum(-1) + 5e3 for power in (reference, degraded)]
        # The standard's recursion g[t] = 0.2 g[t-1] + 0.8 ratio[t], truncated where 0.2^k vanishes.
        ratio = F.pad(totals[0] / totals[1], (self.gain_memory.shape[-1] - 1, 0), "replicate")
        gain = F.conv1d(ratio[:, None], self.gain_memory)[:, 0].clamp(max(3e-4, 1 / louder), 5)
        return reference, degraded * gain[..., None]

    def _loudness(self, power: Tensor) -> Tensor:
        """Compute the loudness density in sone per Bark by Zwicker's law (P.862, 10.2)."""
        sensation = (power / self.threshold).clamp(min=1)
        return self.loudness_gain * ((0.5 + 0.5 * sensation) ** self.loudness_power - 1)

    def _frame_disturbances(self, reference: Tensor, degraded: Tensor) -> Tensor:
        """Compute symmetric and asymmetric disturbances ``[batch, 2, frames]`` (P.862, 10.2)."""
        loudness, degraded_loudness = self._loudness(reference), self._loudness(degraded)
        masked = 0.25 * torch.minimum(loudness, degraded_loudness)
        density = ((degraded_loudness - loudness).abs() - masked).clamp(min=0) * self.width_bark

        # Added components disturb more than missing ones.
        asymmetry = ((degraded + 50) / (reference + 50)) ** 1.2
        asymmetry = (asymmetry * (asymmetry >= 3)).clamp(max=12)

        total_width = self.width_bark.sum()
        symmetric = (density.square().sum(-1) * total_width).clamp(min=1e-12).sqrt()
        asymmetric = (density * asymmetry).sum(-1)
        weight = ((self._audible(reference).sum(-1) + 1e5) / 1e7) ** -0.04
        return torch.stack((symmetric, asymmetric), 1) * weight[:, None]


@lru_cache(maxsize=2)
def input_filter(samples: int, up: int, down: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Compute the tables of `PESQLoss._prepare` for a clip length.

    Returns:
        A window with ramps of a millisecond at both ends, ``[samples]``, and the frequency response
        of resampling and input filter, ``[bins]``. The spectrum's size includes the filter's
        ringing.
    """
    length = 16 * down // up
    index = torch.arange(1, samples + 1, device=device)
    ramp = (torch.minimum(index, index.flip(0)) / length).clamp(max=1)

    blocks = -(-samples // down) + INPUT_FILTER_TAIL
    blocks += -blocks % 128  # friendly FFT sizes
    size = blocks * up
    a, b = (
        torch.fft.rfft(torch.tensor(taps, device=device), size)
        for taps in (INPUT_FILTER_A, INPUT_FILTER_B)
    )
    response = b / a * (up / down)
    if up < down:
        frequency = torch.linspace(0, MODEL_RATE_HZ / 2, size // 2 + 1, device=device)
        low, high = ROLL_OFF_HZ
        phase = ((frequency - low) / (high - low)).clamp(0, 1) * math.pi
        response = response * (0.5 + 0.5 * phase.cos())
    return ramp, response


def speech_frames(speech: Tensor) -> tuple[Tensor, Tensor]:
    """Find the first and last frame ``[batch]`` between leading and trailing silence.

    At each end, silence is skipped up to half of the clip with its margins and padding, as in the
    standard. If there is no speech, the last frame is -1.
    """
    samples = speech.shape[-1]
    longest_skip = (samples + MARGINS) // 2
    activity = speech.abs().unfold(-1, ACTIVE_WINDOW, 1).sum(-1) >= ACTIVE_SUM
    index = torch.arange(activity.shape[-1], device=speech.device, dtype=torch.int32)
    first = torch.where(activity, index, samples).amin(-1).clamp(max=longest_skip)
    end = torch.where(activity, index + ACTIVE_WINDOW, 0).amax(-1)
    last = end.clamp(min=samples + PADDING - longest_skip) // HOP - 1
    last = last.clamp(max=samples // HOP - 1)
    return first // HOP, torch.where(activity.any(-1), last, -1)


def clip_disturbance(frames: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """Aggregate ``[batch, kinds, frames]`` to ``[batch, kinds]`` (P.862, 10.2).

    The norm is L6 within a syllable and L2 over syllables. Syllables start every 10 frames from
    ``start``. Frames after ``stop`` have no disturbance.
    """
    batch, kinds, count = frames.shape
    first = torch.arange(0, count, SYLLABLE_HOP, device=frames.device) + start[:, None]
    index = first[..., None] + torch.arange(SYLLABLE, device=frames.device)
    inside = index <= stop[:, None, None]
    index = index.clamp(max=count - 1).view(batch, 1, -1).expand(-1, kinds, -1)
    syllables = frames.gather(2, index).view(batch, kinds, -1, SYLLABLE) * inside[:, None]

    syllable_power = syllables.pow(6).mean(-1).clamp(min=1e-18).pow(1 / 3)
    present = (first <= stop[:, None])[:, None]
    mean_power = (syllable_power * present).sum(-1) / present.sum(-1).clamp(min=1)
    return mean_power.clamp(min=1e-12).sqrt()
