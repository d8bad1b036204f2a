"""Estimates of a recording's quality from itself alone.

docs/reference/corpus.md has their accuracy.

Levels come from a spectrum of 32 ms Hann frames, 16 ms apart. A figure that a recording is too
short or too silent for is left out.
"""

import numpy as np

from chirrup.data.reverberation import reverberation_time_s
from chirrup.data.spectra import db, spectrum

SPEECH_HZ = (100.0, 8000.0)
"""Where levels of speech and noise are taken: hum and rumble below say little of a voice."""
DIGITAL_SILENCE = 1e-10
"""Mean power; less than half a bit of 16. Padding is no pause in which a room can be heard."""

QUIETEST = 0.10
"""Share of the frames that tells a first noise floor."""
NEAR_FLOOR_DB = 3.0
"""Frames up to this above the first floor are noise alone, and their mean is the floor."""
LOUD = 0.95
"""Quantile of the frames' power that counts as the level of speech."""
ACTIVE_DB, SILENT_DB = 25.0, 35.0
"""Frames less than the first below the loud ones are active; more than the second, silent."""

BAND_HZ = 125.0
BAND_LOUD = 0.98
BAND_DEPTH_DB = 70.0
"""A band belongs to the recording if its loud frames come within this of the loudest band's."""

CLIP_RUN = 4
CLIP_STEP = 0.5 / 32768
CLIP_LOWEST = 0.1
"""Below this peak, flat tops are those of the quantisation."""

LOUDNESS_S = 0.4
"""The shortest block of ITU-R BS.1770."""


def figures(audio: np.ndarray, rate_hz: int, *, speech: bool) -> dict[str, float]:
    """All estimates of `manifest.FIGURES` but DNSMOS and those of rooms.

    Args:
        audio: ``float32 [channels, samples]``, -1 to 1.
        speech: also what makes sense for speech only, SNR and reverberation.
    """
    mono = audio.mean(axis=0)
    power, hz = spectrum(mono, rate_hz)
    levels = speech_levels(power, hz)
    found = {
        "bandwidth_hz": bandwidth_hz(power, hz),
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
    """Power of each frame within `SPEECH_HZ`."""
    return power[:, (hz >= SPEECH_HZ[0]) & (hz <= SPEECH_HZ[1])].sum(axis=1, dtype=np.float64)


def snr_db(levels: np.ndarray) -> float | None:
    """Level of the active frames over that of the pauses, which are taken to hold noise alone.

    Speech without a pause hides its noise: the figure is then too low. A gate that silences the
    pauses makes it too high.
    """
    heard = np.sort(levels[levels > DIGITAL_SILENCE])
    if len(heard) < 1 / QUIETEST:
        return None
    floor = heard[: int(QUIETEST * len(heard))].mean()
    noise = heard[heard < floor * 10 ** (NEAR_FLOOR_DB / 10)].mean()
    loud = np.quantile(heard, LOUD)
    least_db = max((db(noise) + db(loud)) / 2, db(loud) - ACTIVE_DB)
    active = heard[db(heard) >= least_db].mean()
    return float(db(max(active - noise, 1e-20) / noise))


def silence_share(levels: np.ndarray) -> float:
    """Share of the frames that are digital silence or `SILENT_DB` below the loud ones."""
    loud = np.quantile(levels, LOUD)
    return float((levels < max(loud * 10 ** (-SILENT_DB / 10), DIGITAL_SILENCE)).mean())


def bandwidth_hz(power: np.ndarray, hz: np.ndarray) -> float | None:
    """Where the highest band ends that is not `BAND_DEPTH_DB` below the loudest one.

    Finds what was recorded, or once stored, at a lower rate, whatever the rate of the file.
    """
    bands = np.minimum(hz // BAND_HZ, hz[-1] // BAND_HZ - 1).astype(int)
    starts = np.flatnonzero(np.diff(bands, prepend=-1))
    width = np.diff(starts, append=len(hz))
    loud = np.quantile(np.add.reduceat(power, starts, axis=1) / width, BAND_LOUD, axis=0)
    if loud.max() < 1e-15:
        return None
    level_db = db(loud)
    highest = bands[starts][np.flatnonzero(level_db > level_db.max() - BAND_DEPTH_DB)[-1]]
    return float(min((highest + 1) * BAND_HZ, hz[-1]))


def clipped_share(audio: np.ndarray) -> float:
    """Share of the samples in flat tops: four or more in a row at the extreme.

    A lossy codec after the clipping rounds the tops, and hides it.
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
    """Integrated loudness by ITU-R BS.1770-4 (package pyloudnorm); none of silence."""
    if audio.shape[1] < LOUDNESS_S * rate_hz:
        return None
    import pyloudnorm

    with np.errstate(divide="ignore"):
        value = pyloudnorm.Meter(rate_hz).integrated_loudness(audio[:5].T)
    return float(value) if np.isfinite(value) else None
