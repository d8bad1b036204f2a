"""The sounds of a listening test: equal loudness, and the anchors of MUSHRA."""

import numpy as np

ANCHORS_HZ = (3500, 7000)
"""Low-pass anchors of ITU-R BS.1534-3, section 5.1."""
STOP_DB = 60.0
TRANSITION = 1 / 7
"""Width of an anchor's transition, relative to its edge: 3.5 to 4 kHz, where BS.1534 asks for an
attenuation of 25 dB at 4 kHz and 50 dB at 4.5 kHz, and a ripple of 0.1 dB below 3.5 kHz."""
ROOM = 1.4
"""An anchor needs a band of the clip up to this multiple of its edge, or it changes too little."""
MOST_DB = 12.0
"""A system whose level differs by more keeps the rest of the difference."""

# ITU-R BS.1770-4, tables 1 and 2: the two parts of the K weighting at 48 kHz.
_K_RATE_HZ = 48_000
OFFSET_DB = -0.691
_K_PARTS = (
    (
        (1.53512485958697, -2.69169618940638, 1.19839281085285),
        (1.0, -1.69065929318241, 0.73248077421585),
    ),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)


def anchors_hz(rate_hz: int) -> list[int]:
    """Return the edges of the anchors that differ from a clip of this sample rate."""
    return [edge for edge in ANCHORS_HZ if rate_hz / 2 >= ROOM * edge]


def low_passed(audio: np.ndarray, rate_hz: int, edge_hz: int) -> np.ndarray:
    """Remove everything above an edge from ``float32 [channels, samples]``, without a delay."""
    width_hz = TRANSITION * edge_hz
    half = int(np.ceil((STOP_DB - 7.95) / (2.285 * 2 * np.pi * width_hz / rate_hz) / 2))
    time = np.arange(-half, half + 1)
    taps = np.sinc(2 * (edge_hz + width_hz / 2) / rate_hz * time)
    taps *= np.kaiser(len(taps), 0.1102 * (STOP_DB - 8.7))  # Kaiser's formulas for a stop band
    taps /= taps.sum()
    parts = [np.convolve(channel, taps)[half : half + len(channel)] for channel in audio]
    return np.array(parts, np.float32)


def loudness_db(audio: np.ndarray, rate_hz: int) -> float:
    """Return the loudness of ``float32 [channels, samples]`` in LKFS.

    It is BS.1770's without the gate: the versions of a clip have their pauses at the same places,
    and words are shorter than the blocks of the gate.
    """
    power = np.square(np.abs(np.fft.rfft(audio))).sum(0)
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(audio.shape[1], 1 / rate_hz) / _K_RATE_HZ)
    for above, below in _K_PARTS:
        power = power * np.square(np.abs(np.polyval(above[::-1], turn)))
        power = power / np.square(np.abs(np.polyval(below[::-1], turn)))
    return float(10 * np.log10(2 * power.sum() / audio.shape[1] ** 2 + 1e-12)) + OFFSET_DB


def gains_db(
    sounds: dict[str, np.ndarray], rate_hz: int, reference: np.ndarray
) -> dict[str, float]:
    """Return the gain of each sound after which all have the loudness of the reference.

    All gains are lower by the same amount if a sound would exceed full scale.
    """
    wanted = loudness_db(reference, rate_hz)
    gains = {
        name: float(np.clip(wanted - loudness_db(sound, rate_hz), -MOST_DB, MOST_DB))
        for name, sound in sounds.items()
    }
    peak = max(
        (np.abs(sound).max() * 10 ** (gains[name] / 20) for name, sound in sounds.items()),
        default=0.0,
    )
    over_db = max(0.0, 20 * np.log10(max(float(peak), 1e-9)))
    return {name: gain - over_db for name, gain in gains.items()}
