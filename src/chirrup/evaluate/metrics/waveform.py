"""Waveform metrics: the difference of the decoded samples from the reference's.

They are useful for codecs that preserve the waveform. Vocoders, and most neural codecs at a few
kbit/s, decode another waveform that sounds similar; their values mean nothing.
"""

import numpy as np

from chirrup.evaluate.metrics.metric import BLANK, Metric, is_silent


def snr(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Signal-to-noise ratio in dB: 10 log10(|s|^2 / |s - d|^2), over the whole clip.

    Rate: the audio's own. Reference: needed. Range: any; infinite for equal signals, 0 dB for a
    decoded silence. Blank: the reference is digital silence.
    Source: the definition; arXiv 2603.01592 uses it for music.
    """
    return _ratio_db(reference, np.subtract(reference, decoded, dtype=np.float64))


def si_sdr(reference: np.ndarray, decoded: np.ndarray, sample_rate_hz: int) -> float:
    """Scale-invariant signal-to-distortion ratio in dB: the SNR with the reference scaled by
    <d, s> / |s|^2, so that a gain changes nothing. The mean is not removed.

    Rate: the audio's own. Reference: needed. Range: any; infinite for equal signals, and above
    200 dB (rounding) for signals that differ by a gain. Blank: either is digital silence, or
    they are orthogonal.
    Source: Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.
    """
    if is_silent(reference) or is_silent(decoded):
        return BLANK
    s, d = np.asarray(reference, dtype=np.float64), np.asarray(decoded, dtype=np.float64)
    target = np.dot(d, s) / np.dot(s, s) * s
    return _ratio_db(target, target - d)


def _ratio_db(signal: np.ndarray, noise: np.ndarray) -> float:
    power, noise_power = (float(np.square(x, dtype=np.float64).sum()) for x in (signal, noise))
    if power == 0:
        return BLANK
    return float(10 * np.log10(power / noise_power)) if noise_power else float("inf")


SNR = Metric("snr", "SNR", "dB", "higher", 1, None, True, None, None, snr)
SI_SDR = Metric("si_sdr", "SI-SDR", "dB", "higher", 1, None, True, None, None, si_sdr)
METRICS = (SI_SDR, SNR)
