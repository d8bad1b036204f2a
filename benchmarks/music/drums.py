"""Drum patterns of General MIDI kits."""

from random import Random

from music.midi import Part

KITS = (0, 0, 8, 16, 24, 25, 32, 40, 48)
"""Programs of the drum channel: standard (twice as often), room, power, electronic, TR-808, jazz,
brush, orchestra."""
KICK, STICK, SNARE, CLAP, CLOSED, PEDAL, OPEN = 36, 37, 38, 39, 42, 44, 46
RIDE, BELL, TAMBOURINE, COWBELL, SHAKER = 51, 53, 54, 56, 70
CRASHES = (49, 57, 52, 55)
TOMS = (50, 48, 47, 45, 43, 41)

STYLES: dict[str, dict[int, str]] = {
    "rock": {KICK: "X.....x.X.x.....", SNARE: "....X.......X..o", CLOSED: "X.x.X.x.X.x.X.x."},
    "ballad": {KICK: "X.......x.......", STICK: "....X.......X...", RIDE: "x...x...x...x..."},
    "disco": {KICK: "X...X...X...X...", SNARE: "....X.......X...", OPEN: "..X...X...X...X."},
    "house": {KICK: "X...X...X...X...", CLAP: "....X.......X...", CLOSED: "x.Xxx.Xxx.Xxx.Xx"},
    "funk": {KICK: "X..x..x...X..x..", SNARE: "....X..o.o..X..o", CLOSED: "XxxxXxxxXxxxXxXx"},
    "swing": {KICK: "o...o...o...o...", PEDAL: "....x.......x...", RIDE: "X...x..xX...x..x"},
    "bossa": {KICK: "X..xX..xX..xX..x", STICK: "X..x..x...x..x..", CLOSED: "xxxxxxxxxxxxxxxx"},
    "march": {KICK: "X...x...X...x...", SNARE: "X.ooX.ooX.ooXooo", CRASHES[0]: "X..............."},
    "half": {KICK: "X..x......x.....", SNARE: "........X.......", CLOSED: "x.x.x.xxx.x.x.x."},
    "toms": {
        KICK: "X.......X.......",
        43: "x..x..x...x..x..",
        47: "...x....x.....x.",
        41: "X.....x...x.....",
    },
    "break": {KICK: "X.x.......xx....", SNARE: "....X..o.o..X..o", RIDE: "x.x.x.x.x.x.x.x."},
    "metal": {KICK: "XxXxXxXxXxXxXxXx", SNARE: "....X.......X...", CRASHES[1]: "X...x...x...x..."},
    "reggae": {KICK: "........X.......", STICK: "........X.......", CLOSED: "x.xxx.x.x.xxx.x."},
    "sparse": {KICK: "X...............", CRASHES[2]: "........x.......", 81: "....x.......x..."},
}
"""Strokes of a bar of 16 sixteenths: X accented, x usual, o soft."""
LAYERS: dict[int, str] = {
    TAMBOURINE: "..x...x...x...x.",
    SHAKER: "XxxxXxxxXxxxXxxx",
    COWBELL: "x...x...x...x...",
    CLAP: "....x.......x...",
    82: "xoxoxoxoxoxoxoxo",
    69: "x.xxx.xxx.xxx.xx",
    63: "X..x..x.X..x..xx",
    64: "....xx......xx..",
    60: "x.xxx.x.x.xxx.xx",
    75: "x..x..x...x.x...",
    76: "x.....x...x.....",
    80: "x...x...x...x...",
    81: "......x.......x.",
    73: "x...x.x.x...x.x.",
    BELL: "x...x...x...x...",
}
"""Patterns of percussion that is added to a style."""
SOFT = {80: 0.5, 81: 0.5, COWBELL: 0.7, BELL: 0.6, CRASHES[2]: 0.7}
"""Factors of the velocity of instruments that would cover the others."""
VELOCITY = {"X": 1.15, "x": 0.9, "o": 0.45}


def choose(random: Random, layers: int) -> dict[int, str]:
    """Return the patterns of a piece, by MIDI note number: a style with layers, a bit changed."""
    patterns = dict(STYLES[random.choice(list(STYLES))])
    for pitch in random.sample(list(LAYERS), layers):
        patterns[pitch] = LAYERS[pitch]
    return {pitch: _changed(random, pattern) for pitch, pattern in patterns.items()}


def _changed(random: Random, pattern: str) -> str:
    strokes = list(pattern)
    for place in range(1, len(strokes)):
        if random.random() < 0.04:
            strokes[place] = random.choice("xo.")
    return "".join(strokes)


def bar(
    random: Random,
    part: Part,
    patterns: dict[int, str],
    start: float,
    beats: float,
    velocity: float,
    *,
    opening: bool,
    fill: bool,
    loose: float,
) -> None:
    """Add a bar of drums.

    Args:
        start: its first beat, in quarter notes.
        beats: its duration in quarter notes; patterns are cut or repeated to it.
        velocity: velocity of a usual stroke.
        opening: it starts a phrase, with a crash cymbal.
        fill: it ends a phrase, with a fill.
        loose: standard deviation of the time of a stroke, in quarter notes.
    """
    steps = round(4 * beats)
    ending = steps - random.choice((4, 4, 6, 8)) if fill else steps
    for pitch, pattern in patterns.items():
        for step in range(max(0, ending)):
            if factor := VELOCITY.get(pattern[step % len(pattern)]):
                factor *= SOFT.get(pitch, 1) * random.uniform(0.85, 1.1)
                beat = start + step / 4 + random.gauss(0, loose)
                part.note(beat, 0.2, pitch, velocity * factor)
    for step in range(max(0, ending), steps):
        if random.random() < 0.8:
            place = (step - ending) / max(1, steps - ending)
            pitch = random.choice((SNARE, TOMS[int(place * len(TOMS))]))
            part.note(start + step / 4, 0.2, pitch, velocity * random.uniform(0.8, 1.2))
    if opening and random.random() < 0.7:
        part.note(start, 1, random.choice(CRASHES), velocity * random.uniform(0.8, 1.2))
