"""Keys, chords, meters and rhythms of a piece that is composed by rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "hijaz": (0, 1, 4, 5, 7, 8, 10),
    "acoustic": (0, 2, 4, 6, 7, 9, 10),
    "whole tone": (0, 2, 4, 6, 8, 10, 10),
}
"""Semitones of the seven steps of a mode above its key."""
MODE_WEIGHTS = (6, 5, 3, 3, 1, 1, 2, 1, 0.7, 0.3)
METERS = {
    (4, 4): 7.0,
    (3, 4): 3.0,
    (6, 8): 2.0,
    (2, 4): 1.0,
    (5, 4): 0.7,
    (7, 8): 0.7,
    (12, 8): 0.7,
}
"""Time signatures and their weights."""
BEATS: dict[tuple[int, int], tuple[float, ...]] = {
    (4, 4): (1, 1, 1, 1),
    (3, 4): (1, 1, 1),
    (6, 8): (1.5, 1.5),
    (2, 4): (1, 1),
    (5, 4): (1, 1, 1, 1, 1),
    (7, 8): (1, 1, 1.5),
    (12, 8): (1.5, 1.5, 1.5, 1.5),
}
"""Durations of the beats of a bar, in quarter notes."""

FOLLOWING: dict[int, dict[int, float]] = {
    0: {0: 1, 1: 2, 2: 1, 3: 4, 4: 3, 5: 3, 6: 1},
    1: {4: 5, 6: 1, 3: 1, 0: 1},
    2: {5: 4, 3: 3, 0: 0.5},
    3: {0: 3, 4: 4, 1: 2, 6: 0.5},
    4: {0: 5, 5: 3, 3: 1},
    5: {3: 3, 1: 3, 4: 2, 2: 1},
    6: {0: 3, 2: 2, 5: 1},
}
"""Weights of the chord that follows a chord, by the step of its root."""
SHAPES: dict[tuple[int, ...], float] = {
    (0, 2, 4): 10,
    (0, 2, 4, 6): 4,
    (0, 2, 4, 6, 8): 1,
    (0, 3, 4): 1,
    (0, 1, 4): 1,
    (0, 2, 4, 5): 0.7,
    (0, 4): 1.5,
}
"""Steps of a chord above its root, and weights."""


@dataclass(frozen=True)
class Harmony:
    """Key, mode and chords of a piece.

    Attributes:
        key: pitch class of the first step.
        mode: semitones of the seven steps above the key.
        melodic: steps that melodies use.
        chords: for each bar, the steps of its chords, the root first; a bar has one or two.
        raised: for each bar, the semitones by which it is transposed.
    """

    key: int
    mode: tuple[int, ...]
    melodic: tuple[int, ...]
    chords: tuple[tuple[tuple[int, ...], ...], ...]
    raised: tuple[int, ...]

    def pitch(self, step: int, bar: int) -> int:
        """Return the MIDI note number of a step; step 0 is the key in the lowest octave."""
        octave, degree = divmod(step, 7)
        return 12 * octave + self.mode[degree] + self.key + self.raised[bar]

    def chord(self, bar: int, place: float) -> tuple[int, ...]:
        """Return the steps of a chord, the root first.

        Args:
            bar: number of the bar.
            place: position in the bar, from 0 to 1.
        """
        chords = self.chords[bar]
        return chords[min(len(chords) - 1, int(place * len(chords)))]

    def classes(self, bar: int, place: float) -> list[int]:
        """Return the pitch classes of a chord, the root first."""
        return [self.pitch(step, bar) % 12 for step in self.chord(bar, place)]


def choose_harmony(random: Random, bars: int, beats: float) -> Harmony:
    """Choose key, mode, chords and perhaps a change of the key.

    Args:
        bars: number of bars.
        beats: duration of a bar in quarter notes; long bars may have two chords.
    """
    (name,) = random.choices(list(MODES), MODE_WEIGHTS)
    shapes = random.choices(list(SHAPES), list(SHAPES.values()), k=3)
    length = random.choice((2, 4, 4, 8))
    doubled = beats >= 3 and random.random() < 0.3
    sections = [_progression(random, length, shapes, doubled) for _ in range(2)]
    if random.random() < 0.06:  # a drone
        sections = [[sections[0][0]] * length] * 2
    form = random.choice(((0,), (0, 0, 1, 0), (0, 1), (0, 0, 1, 1)))
    chords: list[tuple[tuple[int, ...], ...]] = []
    while len(chords) < bars:
        chords += sections[form[len(chords) // length % len(form)]]
    chords[bars - 1] = ((0, 2, 4),)
    change = random.choice((1, 2, 3, 5, -2)) if random.random() < 0.2 else 0
    turn = random.randrange(bars // 2, bars + 1)
    minor = MODES[name][2] == 3
    pentatonic = (0, 2, 3, 4, 6) if minor else (0, 1, 2, 4, 5)
    return Harmony(
        random.randrange(12),
        MODES[name],
        pentatonic if random.random() < 0.3 else tuple(range(7)),
        tuple(chords[:bars]),
        tuple(change if bar >= turn else 0 for bar in range(bars)),
    )


def _progression(
    random: Random, bars: int, shapes: Sequence[tuple[int, ...]], doubled: bool
) -> list[tuple[tuple[int, ...], ...]]:
    root = random.choice((0, 0, 0, 5, 3))
    found = []
    for _ in range(bars):
        chords = []
        for _ in range(random.choice((1, 2)) if doubled else 1):
            shape = random.choice(shapes)
            chords.append(tuple(root + step for step in shape))
            following = FOLLOWING[root]
            (root,) = random.choices(list(following), list(following.values()))
        found.append(tuple(chords))
    return found


def rhythm(random: Random, meter: tuple[int, int], density: float) -> list[tuple[float, float]]:
    """Return starts and durations of the tones of a bar, in quarter notes.

    Args:
        meter: the time signature.
        density: wanted number of tones in a quarter note.
    """
    beats = list(BEATS[meter])
    while len(beats) > 1 and random.random() < 0.75 / max(density, 0.5) - 0.2:
        place = random.randrange(len(beats) - 1)
        beats[place : place + 2] = [beats[place] + beats[place + 1]]
    durations = [part for beat in beats for part in _split(random, beat, 1 / density)]
    found, start = [], 0.0
    for duration in durations:
        found.append((start, duration))
        start += duration
    return found


def _split(random: Random, beats: float, wanted: float) -> list[float]:
    """Split a duration into parts of about ``wanted`` quarter notes."""
    if beats <= 0.26 or random.random() > (0.92 if beats > 1.4 * wanted else 0.25):
        return [beats]
    if beats in (1.5, 3, 0.75):
        shares = random.choice(((1, 1, 1), (2, 1), (1, 2), (1, 1, 1)))
    else:
        shares = random.choices(((1, 1), (3, 1), (1, 3), (1, 1, 1)), (10, 3, 1, 0.7))[0]
    parts = [beats * share / sum(shares) for share in shares]
    if min(parts) < 0.12:
        return [beats]
    return [piece for part in parts for piece in _split(random, part, wanted)]
