"""Blind estimation of the reverberation time from speech.

In a room, no sound decays faster than the room itself. Among all stretches in which the level of a
band falls evenly, the fastest ones therefore show the decay of the room, or of the voice if the
recording is dry. The idea is from Ratnam et al., "Blind estimation of reverberation time" (JASA
114, 2003). Here the decays are estimated by least squares in half-octave bands, over stretches of
several lengths.
"""

from itertools import pairwise

import numpy as np

from chirrup.data.spectra import db, spectrum

WINDOW_S, HOP_S = 0.024, 0.008
EDGES_HZ = (250, 355, 500, 710, 1000, 1400, 2000, 2800, 4000, 5600)
"""Edges of half-octave bands."""
STRETCHES = (12, 18, 27, 40, 60)
"""Lengths of stretches in frames: 0.1 to 0.5 s."""
LEAST_FALL_DB = 10.0
ABOVE_FLOOR_DB = 6.0
"""Least level at the end of a stretch above the noise floor, the 5 % quantile of the band."""
EVEN = 0.9
"""Least share of the variance that a straight line explains."""
QUANTILE = 0.25
LEAST_STRETCHES = 20
SILENCE_DB = -120.0


def reverberation_time_s(mono: np.ndarray, rate_hz: int) -> float | None:
    """Estimate the time of a decay by 60 dB from speech.

    Args:
        mono: ``float32 [samples]``.
        rate_hz: sample rate.

    Returns:
        The time in s, about 0.15 to 0.2 for dry speech. None if fewer than `LEAST_STRETCHES`
        stretches fall evenly, because the recording is too short or too noisy.
    """
    blocks, hz = spectrum(mono, rate_hz, WINDOW_S, HOP_S)
    bands = [(low, high) for low, high in pairwise(EDGES_HZ) if high <= hz[-1]]
    if not bands:
        return None
    inside = [(hz >= low) & (hz < high) for low, high in bands]
    levels = [np.stack([power[:, bins].sum(axis=1) for bins in inside], axis=1) for power in blocks]
    level_db = db(np.concatenate(levels)).astype(np.float64)
    nonsilent_db = np.where(level_db > SILENCE_DB, level_db, np.nan)
    used = ~np.isnan(nonsilent_db).all(axis=0)
    level_db, nonsilent_db = level_db[:, used], nonsilent_db[:, used]
    floor_db = np.nanquantile(nonsilent_db, 0.05, axis=0)
    times = [times for frames in STRETCHES if len(times := _decays(level_db, floor_db, frames)) > 0]
    every = np.concatenate(times) if times else np.zeros(0)
    return float(np.quantile(every, QUANTILE)) if len(every) >= LEAST_STRETCHES else None


def _decays(level_db: np.ndarray, floor_db: np.ndarray, frames: int) -> np.ndarray:
    """Return the decay times of all stretches of ``frames`` frames that fall evenly.

    Args:
        level_db: level ``[frames, bands]``.
        floor_db: noise floor ``[bands]``.
    """
    count = len(level_db) - frames + 1
    if count < 1:
        return np.zeros(0)
    at = np.arange(len(level_db), dtype=np.float64)[:, None]

    def sums(values: np.ndarray) -> np.ndarray:
        total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
        return total[frames:] - total[:-frames]

    total = sums(level_db)
    middle = np.arange(count)[:, None] + (frames - 1) / 2
    spread = frames * (frames**2 - 1) / 12
    slope = (sums(at * level_db) - middle * total) / spread
    variance = sums(np.square(level_db)) - np.square(total) / frames
    even = np.square(slope) * spread > EVEN * variance
    falls = -slope * (frames - 1) > LEAST_FALL_DB
    above_floor = level_db[frames - 1 :] > floor_db + ABOVE_FLOOR_DB
    chosen = slope[even & falls & above_floor]
    return -60 * HOP_S / chosen
