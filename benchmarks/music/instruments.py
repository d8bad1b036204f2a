"""The instruments of General MIDI: families, ranges, and how often a role takes a family."""

from random import Random

FAMILIES = (
    "piano",
    "chromatic percussion",
    "organ",
    "guitar",
    "bass",
    "strings",
    "ensemble",
    "brass",
    "reed",
    "pipe",
    "synth lead",
    "synth pad",
    "synth effects",
    "ethnic",
    "percussive",
    "sound effects",
)
(PIANO, CHROMATIC, ORGAN, GUITAR, BASS, STRINGS, ENSEMBLE, BRASS) = range(8)
(REED, PIPE, LEAD, PAD, EFFECTS, ETHNIC, PERCUSSIVE, SOUNDS) = range(8, 16)

RANGES = {
    PIANO: [(28, 100)] * 6 + [(36, 89)] * 2,
    CHROMATIC: [(60, 101), (67, 103), (60, 96), (53, 89), (45, 96), (60, 98), (55, 79), (48, 88)],
    ORGAN: [(36, 96)] * 5 + [(48, 89), (55, 89), (48, 89)],
    GUITAR: [(40, 83)] * 7 + [(52, 88)],
    BASS: [(28, 60)] * 8,
    STRINGS: [(55, 98), (48, 86), (36, 74), (28, 60), (36, 92), (36, 92), (28, 100), (36, 57)],
    ENSEMBLE: [(36, 91)] * 4 + [(43, 84)] * 3 + [(40, 76)],
    BRASS: [(54, 84), (36, 70), (26, 56), (54, 82), (36, 76), (36, 84), (36, 88), (36, 88)],
    REED: [(56, 87), (49, 80), (44, 75), (36, 68), (58, 90), (52, 80), (34, 72), (50, 92)],
    PIPE: [(74, 106), (60, 96), (60, 91), (60, 91), (55, 86), (55, 86), (67, 98), (60, 88)],
    LEAD: [(36, 96)] * 8,
    PAD: [(36, 91)] * 8,
    EFFECTS: [(36, 91)] * 8,
    ETHNIC: [(48, 79), (48, 86), (50, 81), (43, 86), (48, 86), (58, 82), (55, 96), (60, 86)],
    PERCUSSIVE: [(72, 96), (60, 86), (52, 86), (50, 86), (36, 62), (40, 72), (40, 72), (48, 72)],
    SOUNDS: [(40, 84)] * 8,
}
"""Lowest and highest MIDI note number of each program of a family."""

VOICES = (52, 53, 54)
"""Programs that sound like singers."""
DECAYING = {PIANO, CHROMATIC, GUITAR, BASS, ETHNIC, PERCUSSIVE}
"""Families whose tones fade by themselves."""
PEDALLED = {PIANO, CHROMATIC}
"""Families with a sustain pedal and without pitch bends."""
SINGLE = {BASS, BRASS, REED, PIPE}
"""Families that play one tone at a time."""

ROLES = {
    "chords": {PIANO: 4, ORGAN: 2, GUITAR: 4, STRINGS: 2, ENSEMBLE: 3, BRASS: 1, PAD: 2}
    | {CHROMATIC: 1.5, LEAD: 0.7, EFFECTS: 0.7, ETHNIC: 1.5, REED: 0.7, PIPE: 0.5},
    "bass": {BASS: 9, STRINGS: 2, BRASS: 1, REED: 1, LEAD: 1, PIANO: 1, ORGAN: 0.7},
    "arpeggio": {PIANO: 2, CHROMATIC: 3, GUITAR: 3, STRINGS: 2, LEAD: 2, ETHNIC: 2, PAD: 0.5}
    | {PIPE: 1, EFFECTS: 1, ORGAN: 0.5, PERCUSSIVE: 1.5},
    "counter": {STRINGS: 3, BRASS: 3, REED: 3, PIPE: 3, ENSEMBLE: 1, LEAD: 1, ORGAN: 0.5}
    | {GUITAR: 1, CHROMATIC: 1, ETHNIC: 1.5, PIANO: 1},
    "pad": {ENSEMBLE: 3, PAD: 4, EFFECTS: 2, ORGAN: 1, STRINGS: 1},
    "colour": {SOUNDS: 1, EFFECTS: 1, PERCUSSIVE: 2},
}
"""Weights of the families for the parts beside the leading one."""
LOW = {STRINGS: (2, 3), BRASS: (1, 2), REED: (3, 6), PIANO: (0, 1, 2, 4), ORGAN: (0, 2, 3)}
"""Programs of a family that can play the bass; all of the other families can."""


def leading(seed: int, index: int) -> int:
    """Return the program of the leading part of a piece.

    In 16 pieces from a multiple of 16 on, each family leads once, and in 128 pieces from a multiple
    of 128 on each program.
    """
    block, place = divmod(index, len(FAMILIES))
    families = list(range(len(FAMILIES)))
    Random(f"families {seed} {block}").shuffle(families)
    family = families[place]
    programs = list(range(8))
    Random(f"programs {seed} {block // 8} {family}").shuffle(programs)
    return 8 * family + programs[block % 8]


def accompanying(random: Random, role: str) -> int:
    """Return a program for a role of `ROLES`."""
    weights = ROLES[role]
    (family,) = random.choices(list(weights), list(weights.values()))
    member = random.choice(LOW.get(family, range(8)) if role == "bass" else range(8))
    return 8 * family + member


def range_of(program: int, role: str) -> tuple[int, int]:
    """Return the lowest and highest pitch that an instrument plays in a role."""
    low, high = RANGES[program // 8][program % 8]
    if role == "bass":
        return low, max(min(high, 57), low + 12)
    if role in ("chords", "pad"):
        return low, max(min(high, 84), low + 14)
    return low, high
