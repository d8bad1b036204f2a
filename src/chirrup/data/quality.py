"""Estimates of a recording's quality without a reference; docs/reference/corpus.md has accuracies.

Levels are computed from spectra of 32 ms Hann windows with a hop of 16 ms. A figure is left out if
a recording is too short or too quiet for it.
"""

import numpy as np

from chirrup.data.reverberation import reverberation_time_s
from chirrup.data.spectra import db, spectrum

SPEECH_HZ = (100.0, 8000.0)
"""Band of the levels of speech and noise. Hum and rumble are below it."""
DIGITAL_SILENCE = 1e-10
"""Mean power below half of the least significant of 16 bits. Digital silence is padding, which has
no noise of the room."""

QUIETEST = 0.10
"""Share of the frames whose mean is the first estimate of the noise floor."""
NEAR_FLOOR_DB = 3.0
"""Frames up to this level above the first estimate are noise. Their mean is the noise floor."""
LOUD = 0.95
"""Quantile of the frames' power that is the level of loud frames."""
ACTIVE_DB, SILENT_DB = 25.0, 35.0
"""A frame is active if it is less than `ACTIVE_DB` below loud frames, and silent if it is more than
`SILENT_DB` below them."""

BAND_HZ = 125.0
BAND_LOUD = 0.98
BAND_DEPTH_DB = 70.0
"""A band counts as recorded if its loud frames are at most this far below the loudest band."""

CLIP_RUN = 4
CLIP_STEP = 0.5 / 32768
CLIP_LOWEST = 0.1
"""Peak below which flat tops come from quantisation."""

LOUDNESS_S = 0.4
"""Shortest block of ITU-R BS.1770."""
LOUDNESS_RATE_HZ = 4000
"""Lowest sample rate. Below it, the shelf filter of BS.1770 at 1682 Hz becomes unstable."""


def figures(audio: np.ndarray, rate_hz: int, *, speech: bool) -> dict[str, float]:
    """Estimate the figures of `manifest.FIGURES`, except DNSMOS and the figures of rooms.

    Args:
        audio: ``float32 [channels, samples]`` with a full scale of 1.
        rate_hz: sample rate.
        speech: also estimate SNR and reverberation time.
    """
    mono = audio.mean(axis=0)
    blocks, hz = spectrum(mono, rate_hz)
    both = [(speech_levels(power, hz), band_levels(power, hz)) for power in blocks]
    levels, bands = (np.concatenate(parts) for parts in zip(*both, strict=True))
    found = {
        "bandwidth_hz": bandwidth_hz(bands, hz),
        "clipped_share": clipped_share(audio),
        "silence_share": silence_share(levels),
        "dc_offset": float(np.abs(audio.mean(axis=1, dtype=np.float64)).max()),
        "loudness_lufs": loudness_lufs(audio, rate_hz),
    }
    if speech:
        found["snr_db"] = snr_db(levels)
        found["rt60_s"] = reverberation_time_s(mono, rate_hz)
    return {name: value for name, value in found.items() if value is not None}


def speech_levels(power: np.ndarray, hz: np.ndarray) -> np.ndarray:
    """Return the power of each frame in the band `SPEECH_HZ`."""
    return power[:, (hz >= SPEECH_HZ[0]) & (hz <= SPEECH_HZ[1])].sum(axis=1, dtype=np.float64)


def snr_db(levels: np.ndarray) -> float | None:
    """Estimate the SNR from the levels of active frames and of pauses, which count as noise.

    Without pauses in the speech, the SNR is too low. With a noise gate, it is too high.

    Args:
        levels: power of each frame ``[frames]``.
    """
    nonsilent = np.sort(levels[levels > DIGITAL_SILENCE])
    if len(nonsilent) < 1 / QUIETEST:
        return None
    floor = nonsilent[: int(QUIETEST * len(nonsilent))].mean()
    noise = nonsilent[nonsilent < floor * 10 ** (NEAR_FLOOR_DB / 10)].mean()
    loud = np.quantile(nonsilent, LOUD)
    least_db = max((db(noise) + db(loud)) / 2, db(loud) - ACTIVE_DB)
    active = nonsilent[db(nonsilent) >= least_db].mean()
    return float(db(max(active - noise, 1e-20) / noise))


def silence_share(levels: np.ndarray) -> float:
    """Return the share of frames that are digital silence or `SILENT_DB` below loud frames."""
    loud = np.quantile(levels, LOUD)
    return float((levels < max(loud * 10 ** (-SILENT_DB / 10), DIGITAL_SILENCE)).mean())


def _bands(hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the bands of `BAND_HZ`, and the first bin of each."""
    bands = np.minimum(hz // BAND_HZ, hz[-1] // BAND_HZ - 1).astype(int)
    starts = np.flatnonzero(np.diff(bands, prepend=-1))
    return bands[starts], starts


def band_levels(power: np.ndarray, hz: np.ndarray) -> np.ndarray:
    """Return the mean power of each band ``[frames, bands]``."""
    starts = _bands(hz)[1]
    sums = np.add.reduceat(power, starts, axis=1)
    return (sums / np.diff(starts, append=len(hz))).astype(np.float32)


def bandwidth_hz(levels: np.ndarray, hz: np.ndarray) -> float | None:
    """Return the end of the highest band that is not `BAND_DEPTH_DB` below the loudest band.

    It reveals recordings that were made or stored at a lower sample rate than the file has.

    Args:
        levels: mean power of each band ``[frames, bands]``.
        hz: frequencies of the bins.
    """
    loud = np.quantile(levels, BAND_LOUD, axis=0)
    if loud.max() < 1e-15:
        return None
    level_db = db(loud)
    highest = _bands(hz)[0][np.flatnonzero(level_db > level_db.max() - BAND_DEPTH_DB)[-1]]
    return float(min((highest + 1) * BAND_HZ, hz[-1]))


def clipped_share(audio: np.ndarray) -> float:
    """Return the share of samples in flat tops: four or more in a row at an extreme value.

    A lossy codec after the clipping rounds the tops and thus hides the clipping.
    """
    flat = 0
    for channel in audio:
        for top in (channel.max(), channel.min()):
            if abs(top) < CLIP_LOWEST:
                continue
            at = np.abs(channel - top) <= CLIP_STEP
            edges = np.flatnonzero(np.diff(at, prepend=False, append=False))
            runs = edges[1::2] - edges[::2]
            flat += int(runs[runs >= CLIP_RUN].sum())
    return flat / audio.size


def loudness_lufs(audio: np.ndarray, rate_hz: int) -> float | None:
    """Return the integrated loudness by ITU-R BS.1770-4, or None for silence or a low rate."""
    if audio.shape[1] < LOUDNESS_S * rate_hz or rate_hz < LOUDNESS_RATE_HZ:
        return None
    import pyloudnorm

    with np.errstate(divide="ignore"):
        value = pyloudnorm.Meter(rate_hz).integrated_loudness(audio[:5].T)
    return float(value) if np.isfinite(value) else None
