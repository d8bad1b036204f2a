"""Reverberation time from speech alone: how fast its sounds die away when they end.

A room lets no sound fall faster than it decays itself. So among all stretches in which a band's
level falls evenly, the fast ones tell the room's decay; in a dry recording, that of the voice.
(Ratnam et al., "Blind estimation of reverberation time", JASA 2003, is the idea; here by least
squares in octave bands, over stretches of several lengths.)
"""

from itertools import pairwise

import numpy as np

from chirrup.data.spectra import db, spectrum

WINDOW_S, HOP_S = 0.024, 0.008
EDGES_HZ = (250, 355, 500, 710, 1000, 1400, 2000, 2800, 4000, 5600)
"""Of half octaves."""
STRETCHES = (12, 18, 27, 40, 60)
"""Frames: 0.1 to 0.5 s."""
LEAST_FALL_DB = 10.0
ABOVE_FLOOR_DB = 6.0
"""A stretch ends at least this above the level that its band is below for 5 % of the time."""
EVEN = 0.9
"""Share of the variance that a straight line must explain."""
QUANTILE = 0.25
LEAST_STRETCHES = 20
SILENCE_DB = -120.0


def reverberation_time_s(mono: np.ndarray, rate_hz: int) -> float | None:
    """Seconds for 60 dB, from ``float32 [samples]``; about 0.15 to 0.2 for dry speech.

    None where fewer than `LEAST_STRETCHES` stretches fall evenly: too short, or too noisy.
    """
    power, hz = spectrum(mono, rate_hz, WINDOW_S, HOP_S)
    bands = [(low, high) for low, high in pairwise(EDGES_HZ) if high <= hz[-1]]
    if not bands:
        return None
    level_db = np.stack(
        [db(power[:, (hz >= low) & (hz < high)].sum(axis=1)) for low, high in bands], axis=1
    ).astype(np.float64)
    heard = np.where(level_db > SILENCE_DB, level_db, np.nan)
    sounding = ~np.isnan(heard).all(axis=0)
    level_db, heard = level_db[:, sounding], heard[:, sounding]
    floor_db = np.nanquantile(heard, 0.05, axis=0)
    times = [times for frames in STRETCHES if len(times := _decays(level_db, floor_db, frames)) > 0]
    every = np.concatenate(times) if times else np.zeros(0)
    return float(np.quantile(every, QUANTILE)) if len(every) >= LEAST_STRETCHES else None


def _decays(level_db: np.ndarray, floor_db: np.ndarray, frames: int) -> np.ndarray:
    """Decay times of all stretches of ``frames`` that fall evenly: least squares by running sums.

    Args:
        level_db: ``[frames, bands]``.
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
    heard = level_db[frames - 1 :] > floor_db + ABOVE_FLOOR_DB
    chosen = slope[even & falls & heard]
    return -60 * HOP_S / chosen
