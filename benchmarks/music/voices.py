"""Parts of a piece: melodies, chords, basses, arpeggios and colours over given harmonies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from music.harmony import BEATS, Harmony, rhythm
from music.instruments import DECAYING, PEDALLED, SINGLE
from music.midi import EXPRESSION, MODULATION, PEDAL, Part


@dataclass(frozen=True)
class Plan:
    """Properties of a piece that all its parts share.

    Attributes:
        random: source of all choices.
        harmony: chords of each bar.
        meter: the time signature.
        velocity: velocity of a usual tone.
        loudness: factor of the velocity in each bar.
        density: tones in a quarter note.
        swing: delay of the second half of each beat, 0 to 1 times a sixth of a quarter note.
        loose: standard deviation of the time of a tone, in quarter notes.
        cents: difference of the tuning from 440 Hz.
    """

    random: Random
    harmony: Harmony
    meter: tuple[int, int]
    velocity: float
    loudness: Sequence[float]
    density: float
    swing: float
    loose: float
    cents: float

    @property
    def beats(self) -> float:
        """Quarter notes of a bar."""
        return sum(BEATS[self.meter])

    def play(
        self, part: Part, bar: int, start: float, beats: float, pitch: int, accent: float = 1.0
    ) -> None:
        """Add a tone ``start`` quarter notes after the start of a bar."""
        if self.swing and 0.4 < start % 1 < 0.6:
            start += self.swing / 6
        beat = bar * self.beats + start + self.random.gauss(0, self.loose)
        velocity = self.velocity * self.loudness[bar] * accent * self.random.uniform(0.88, 1.1)
        part.note(beat, beats, pitch, velocity)


def melody(plan: Plan, part: Part, bars: Sequence[int], register: float, density: float) -> None:
    """Add a melody of a few motifs.

    Args:
        bars: numbers of the bars in which it plays.
        register: centre of the melody in the range of the instrument, from 0 to 1.
        density: tones in a quarter note.
    """
    random, harmony = plan.random, plan.harmony
    motifs = []
    for _ in range(3):
        tones = rhythm(random, plan.meter, density)
        moves = random.choices((-4, -2, -1, 0, 1, 2, 4), (1, 4, 8, 3, 8, 4, 1), k=len(tones))
        motifs.append(list(zip(tones, moves, strict=True)))
    form = random.choice(((0, 1, 0, 2), (0, 0, 1, 2), (0, 1), (0, 0, 0, 1), (0, 1, 2, 1)))
    legato = random.choice((0.3, 0.6, 0.85, 0.97, 1.02, 1.02))
    rest = random.choice((0, 0.05, 0.15, 0.3))
    doubling = random.choice((0, 0, 0, 0, 2, 5, 7)) if part.family not in SINGLE else 0
    centre = part.low + register * (part.high - part.low)
    middle = next(step for step in range(80) if harmony.pitch(step, 0) >= centre)
    reach = max(4, round((part.high - part.low) * 0.2))
    step = middle
    for bar in bars:
        for (start, beats), move in motifs[form[bar % len(form)]]:
            step += move
            if abs(step - middle) > reach:
                step = middle + (reach - 2 if step > middle else 2 - reach)
            chord = harmony.chord(bar, start / plan.beats)
            strong = start == 0 or beats >= 1 or random.random() < 0.2
            step = _nearest(step, chord if strong else harmony.melodic)
            if random.random() < rest and start:
                continue
            pitch = harmony.pitch(step, bar)
            if not strong and random.random() < 0.04:
                pitch += random.choice((-1, 1))
            accent = 1.12 if start == 0 else 0.95
            plan.play(part, bar, start, beats * legato, pitch, accent)
            if doubling:
                lower = harmony.pitch(step - doubling, bar)
                plan.play(part, bar, start, beats * legato, lower, 0.85 * accent)
    if part.family not in DECAYING:
        swell(plan, part, bars)
    if random.random() < 0.4:
        vibrato(plan, part)


def _nearest(step: int, wanted: Sequence[int]) -> int:
    """Return the nearest step that is one of ``wanted`` in any octave."""
    classes = {other % 7 for other in wanted}
    return next(
        step + change for change in (0, 1, -1, 2, -2, 3, -3) if (step + change) % 7 in classes
    )


def swell(plan: Plan, part: Part, bars: Sequence[int]) -> None:
    """Add crescendos and diminuendos."""
    low = plan.random.choice((45, 60, 80, 100))
    span = plan.random.choice((1, 2, 4))
    rising = plan.random.choice((True, False))
    for bar in bars:
        for place in range(8):
            phase = (bar % span + place / 8) / span
            height = phase if rising else 1 - abs(2 * phase - 1)
            beat = (bar + place / 8) * plan.beats
            part.control(beat, EXPRESSION, low + (120 - low) * height)


def vibrato(plan: Plan, part: Part) -> None:
    """Add vibrato in every second bar or so, by the modulation wheel."""
    depth = plan.random.uniform(15, 70)
    for bar in range(len(plan.loudness)):
        on = plan.random.random() < 0.5
        part.control((bar + 0.3) * plan.beats, MODULATION, depth if on else 0)


def scoops(plan: Plan, part: Part) -> None:
    """Slide into some tones from below."""
    for note in list(part.notes):
        if plan.random.random() < 0.12:
            depth = plan.random.choice((50, 100, 150))
            for step in range(9):
                beat = note.start / 480 + step * 0.03
                part.bend(beat, max(-199, plan.cents - depth * (1 - step / 8)))


def voicing(plan: Plan, part: Part, bar: int, place: float, centre: float, tones: int) -> list[int]:
    """Return the pitches of a chord that are nearest to ``centre``, the lowest first."""
    classes = set(plan.harmony.classes(bar, place))
    pitches = [pitch for pitch in range(part.low, part.high + 1) if pitch % 12 in classes]
    return sorted(sorted(pitches, key=lambda pitch: abs(pitch - centre))[:tones])


def chords(plan: Plan, part: Part, bars: Sequence[int]) -> None:
    """Add an accompaniment in chords, in one pattern for the whole piece."""
    random = plan.random
    decaying = part.family in DECAYING
    patterns = ["held", "pulse", "offbeat", "syncopated", "broken", "alberti", "tremolo"]
    weights = [3, 3, 2, 3, 3, 2, 0.3] if decaying else [6, 1.5, 1, 2, 1, 0.5, 0.3]
    (pattern,) = random.choices(patterns, weights)
    tones = random.choice((2, 3, 3, 4, 4, 5))
    legato = random.choice((0.25, 0.5, 0.9, 1.0)) if pattern != "held" else 1.0
    strum = random.choice((0, 0, 0.02, 0.06)) if decaying else 0
    syncopated = rhythm(random, plan.meter, max(0.7, min(2.5, plan.density)))
    centre = random.uniform(max(52, part.low + 5), max(53, min(70, part.high - 5)))
    for bar in bars:
        for start, beats in _strokes(plan, bar, pattern, syncopated):
            pitches = voicing(plan, part, bar, start / plan.beats, centre, tones)
            centre += 0.2 * (sum(pitches) / len(pitches) - centre)
            if pattern in ("broken", "alberti"):
                order = [0, -1, 1, -1] if pattern == "alberti" else range(len(pitches))
                pitches = [pitches[order[round(2 * start) % len(order)] % len(pitches)]]
            accent = 0.95 if start == 0 else 0.8
            for number, pitch in enumerate(pitches):
                late = start + number * strum
                plan.play(part, bar, late, max(0.1, beats * legato - number * strum), pitch, accent)
    if part.family in PEDALLED and random.random() < 0.6:
        pedal(plan, part, bars)
    if not decaying and random.random() < 0.5:
        swell(plan, part, bars)


def _strokes(
    plan: Plan, bar: int, pattern: str, syncopated: list[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Return starts and durations of the chords of a bar, in quarter notes."""
    beats = plan.beats
    if pattern == "held":
        count = len(plan.harmony.chords[bar])
        return [(beats * number / count, beats / count) for number in range(count)]
    if pattern == "pulse":
        lengths = BEATS[plan.meter]
        return [(sum(lengths[:number]), length) for number, length in enumerate(lengths)]
    if pattern == "offbeat":
        return [(start + 0.5, 0.5) for start in range(int(beats))]
    if pattern == "syncopated":
        return syncopated
    step = 0.125 if pattern == "tremolo" else 0.5
    return [(number * step, step) for number in range(int(beats / step))]


def pedal(plan: Plan, part: Part, bars: Sequence[int]) -> None:
    """Hold the sustain pedal in each bar."""
    for bar in bars:
        part.control(bar * plan.beats + 0.05, PEDAL, 127)
        part.control((bar + 1) * plan.beats - 0.05, PEDAL, 0)


def bass(plan: Plan, part: Part, bars: Sequence[int]) -> None:
    """Add a bass line, in one pattern for the whole piece."""
    random = plan.random
    pattern = random.choice(("root", "fifths", "walking", "pulse", "octaves", "riff"))
    riff = rhythm(random, plan.meter, max(0.8, plan.density))
    turns = random.choices((0, 0, 0, 1, 2), k=len(riff))
    legato = random.choice((0.4, 0.7, 0.95))
    for bar in bars:
        strokes = riff if pattern == "riff" else _strokes(plan, bar, "pulse", riff)
        if pattern == "root":
            strokes = [(0.0, plan.beats)]
        elif pattern in ("pulse", "octaves"):
            strokes = [(0.5 * number, 0.5) for number in range(int(2 * plan.beats))]
        for number, (start, beats) in enumerate(strokes):
            chord = plan.harmony.chord(bar, start / plan.beats)
            fifth = 4 if 4 + chord[0] in chord else 7
            step = {
                "fifths": (0, fifth)[number % 2],
                "walking": (0, 2, 4, 5, 7)[number % 5],
                "octaves": (0, 7)[number % 2],
                "riff": (0, fifth, 7)[turns[number % len(turns)]],
            }.get(pattern, 0)
            pitch = plan.harmony.pitch(chord[0] + step, bar) % 12 + 12 * (part.low // 12)
            if step >= 7 and pitch + 12 <= part.high:
                pitch += 12
            plan.play(part, bar, start, beats * legato, pitch, 1.0 if start == 0 else 0.9)


def arpeggio(plan: Plan, part: Part, bars: Sequence[int]) -> None:
    """Add a chord in single tones."""
    random = plan.random
    step = random.choice((0.25, 0.25, 0.5, 0.5, 1 / 3))
    tones = random.choice((3, 4, 6, 8))
    order = random.choice(("up", "down", "both", "any"))
    legato = random.choice((0.4, 0.9, 2.0, 4.0))
    centre = random.uniform(part.low + 8, part.high - 8)
    for bar in bars:
        for number in range(round(plan.beats / step)):
            start = number * step
            pitches = voicing(plan, part, bar, start / plan.beats, centre, tones)
            if order == "down":
                pitches.reverse()
            elif order == "both":
                pitches += pitches[-2:0:-1]
            place = random.randrange(len(pitches)) if order == "any" else number % len(pitches)
            plan.play(part, bar, start, step * legato, pitches[place], 0.8)


def pad(plan: Plan, part: Part, bars: Sequence[int]) -> None:
    """Add long chords."""
    centre = plan.random.uniform(part.low + 8, part.high - 8)
    for bar in bars:
        for pitch in voicing(plan, part, bar, 0, centre, 4):
            plan.play(part, bar, 0, plan.beats, pitch, 0.75)
    swell(plan, part, bars)


def colour(plan: Plan, part: Part, bars: Sequence[int]) -> None:
    """Add some long or repeated tones of an unusual instrument."""
    density = plan.random.choice((0.25, 0.5, 1.5))
    for bar in bars:
        if plan.random.random() < 0.6:
            for start, beats in rhythm(plan.random, plan.meter, density):
                step = plan.random.choice(plan.harmony.chord(bar, 0))
                pitch = plan.harmony.pitch(step + 28, bar)
                plan.play(part, bar, start, beats, pitch, 0.7)


BESIDE: dict[str, Callable[[Plan, Part, Sequence[int]], None]] = {
    "chords": chords,
    "bass": bass,
    "arpeggio": arpeggio,
    "pad": pad,
    "colour": colour,
    "counter": lambda plan, part, bars: melody(plan, part, bars, 0.4, 0.6 * plan.density),
}
"""What each role beside the leading one plays."""
