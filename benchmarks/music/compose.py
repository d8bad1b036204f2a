"""Composition of a piece of music by rule, from a seed and an index.

All choices come from Python's generator, seeded by a text, so a piece always has the same bytes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from music import drums
from music.harmony import BEATS, METERS, choose_harmony
from music.instruments import (
    BASS,
    DECAYING,
    ENSEMBLE,
    FAMILIES,
    PEDALLED,
    PERCUSSIVE,
    SOUNDS,
    VOICES,
    accompanying,
    leading,
    range_of,
)
from music.midi import CHORUS, DRUMS, PAN, REVERB, VOLUME, Part, smf
from music.voices import BESIDE, Plan, colour, melody, scoops

TEXTURES = {"band": 8, "duo": 1.5, "solo": 3, "choir": 1.5, "counterpoint": 1.5, "dense": 2}
"""Kinds of pieces and their weights."""
DRUMS_SHARE = {
    "band": 0.72,
    "duo": 0.25,
    "solo": 0.1,
    "choir": 0.0,
    "counterpoint": 0.2,
    "dense": 0.9,
}
"""Share of the pieces of a kind that have drums."""


@dataclass(frozen=True)
class Piece:
    """A composed piece.

    Attributes:
        midi: a Standard MIDI File.
        seconds: its duration with the fading of the last tones.
        texture: one of `TEXTURES`.
        parts: its parts, the leading one first.
    """

    midi: bytes
    seconds: float
    texture: str
    parts: tuple[Part, ...]

    @property
    def category(self) -> str:
        """The family of the leading part and the kind of the piece."""
        return f"{FAMILIES[self.parts[0].family]}, {self.texture}"


def compose(seed: int, index: int) -> Piece:
    """Compose a piece of 20 to 40 s.

    Args:
        seed: seed of a collection of pieces.
        index: number of the piece in the collection.
    """
    random = Random(f"piece {seed} {index}")
    program = leading(seed, index)
    (texture,) = random.choices(list(TEXTURES), list(TEXTURES.values()))
    if program // 8 in (PERCUSSIVE, SOUNDS) and texture in ("solo", "duo", "choir"):
        texture = "band"
    seconds = round(random.uniform(20, 40), 2)
    tail_s = random.uniform(1.0, 2.5)
    (meter,) = random.choices(list(METERS), list(METERS.values()))
    beats = sum(BEATS[meter])
    bpm = math.exp(random.uniform(math.log(58), math.log(185)))
    bars = max(4, round((seconds - tail_s) * bpm / 60 / beats))
    bpm = bars * beats * 60 / (seconds - tail_s)
    plan = Plan(
        random,
        choose_harmony(random, bars, beats),
        meter,
        random.triangular(32, 122, 92),
        _loudness(random, bars),
        random.uniform(0.5, 2.6) * min(1.3, 100 / bpm),
        random.choice((0, 0, 0, 0.5, 1)),
        random.choice((0, 0.01, 0.02, 0.03)) * bpm / 100,
        random.choice((0, random.uniform(-45, 45))),
    )
    with_drums = random.random() < DRUMS_SHARE[texture]
    roles = _roles(random, texture, program)
    parts = _parts(plan, texture, program, roles)
    _play(plan, parts, roles, with_drums)
    if with_drums:
        part = Part(DRUMS, random.choice(drums.KITS))
        _play_drums(plan, part, bars, _layers(random, texture, program))
        parts.append(part)
    _mix(plan, parts)
    return Piece(_file(plan, parts, bpm, texture), seconds, texture, tuple(parts))


def _loudness(random: Random, bars: int) -> list[float]:
    """Return the factor of the velocity in each bar, which changes by phrases."""
    span = random.choice((2, 4, 8))
    depth = random.choice((0.0, 0.15, 0.3, 0.5))
    levels = [1 - depth * random.random() for _ in range(bars // span + 2)]
    return [
        levels[bar // span] + (levels[bar // span + 1] - levels[bar // span]) * (bar % span) / span
        for bar in range(bars)
    ]


def _roles(random: Random, texture: str, program: int) -> list[str]:
    """Return the roles of the parts, the leading one first."""
    if texture == "solo":
        return ["lead"]
    if texture == "duo":
        return ["lead", random.choice(("chords", "arpeggio", "counter", "bass"))]
    if texture == "choir":
        return ["lead", *["counter"] * random.choice((0, 0, 1, 2, 3))]
    if texture == "counterpoint":
        return ["lead", *["counter"] * random.choice((1, 2, 3))]
    roles = ["lead", "chords", "bass"]
    shares = {"arpeggio": 0.35, "counter": 0.3, "pad": 0.3, "colour": 0.12, "chords": 0.2}
    if texture == "dense":
        shares = {"arpeggio": 0.8, "counter": 0.8, "pad": 0.7, "colour": 0.3, "chords": 0.8}
    roles += [role for role, share in shares.items() if random.random() < share]
    if program // 8 == BASS:
        roles.remove("bass")
    if program // 8 in (PERCUSSIVE, SOUNDS):
        roles.append("counter")
    return roles


def _parts(plan: Plan, texture: str, program: int, roles: Sequence[str]) -> list[Part]:
    """Return the empty parts of a piece; a choir has one instrument or several kinds of singers."""
    random = plan.random
    parts = []
    for number, role in enumerate(roles):
        if number == 0 or (texture == "choir" and program // 8 != ENSEMBLE):
            chosen = program
        elif texture == "choir":
            chosen = random.choice(VOICES)
        else:
            chosen = accompanying(random, role)
        low, high = range_of(chosen, role)
        if texture in ("choir", "counterpoint") and len(roles) > 1:
            # The voices share the range from the top down.
            share = 1 - number / len(roles)
            high = max(low + 14, low + round((high - low) * share))
        parts.append(Part(number if number < DRUMS else number + 1, chosen, low, high))
    return parts


def _play(plan: Plan, parts: Sequence[Part], roles: Sequence[str], with_drums: bool) -> None:
    """Fill the parts with notes."""
    random = plan.random
    bars = len(plan.loudness)
    section = random.choice((2, 4, 4, 8))
    for number, (part, role) in enumerate(zip(parts, roles, strict=True)):
        # Parts beside the leading one rest in some sections.
        rests = {
            place
            for place in range(bars // section)
            if number and len(parts) > 2 and random.random() < 0.2
        }
        playing = [bar for bar in range(bars) if bar // section not in rests]
        playing = playing or list(range(bars))
        if role != "lead":
            BESIDE[role](plan, part, playing)
        elif part.family in (PERCUSSIVE, SOUNDS):
            colour(plan, part, playing)
        else:
            melody(plan, part, playing, random.uniform(0.35, 0.75), plan.density)
            # A single instrument with a wide range accompanies itself.
            if len(parts) == 1 and part.family in DECAYING and part.high - part.low > 30:
                BESIDE[random.choice(("chords", "arpeggio", "bass"))](plan, part, playing)
        if role == "lead" and part.family not in PEDALLED and random.random() < 0.3:
            scoops(plan, part)


def _layers(random: Random, texture: str, program: int) -> int:
    """Return the number of percussion instruments beside the drums."""
    if program // 8 == PERCUSSIVE:
        return random.choice((2, 3, 4))
    return random.choice((0, 0, 1, 2) if texture != "dense" else (1, 2, 3))


def _play_drums(plan: Plan, part: Part, bars: int, layers: int) -> None:
    random = plan.random
    patterns = drums.choose(random, layers)
    phrase = random.choice((4, 4, 8))
    fills = random.choice((0.2, 0.6, 0.9))
    begin = random.choice((0, 0, 0, 1, 2, 4)) if bars > 8 else 0
    for bar in range(begin, bars):
        drums.bar(
            random,
            part,
            patterns,
            bar * plan.beats,
            plan.beats,
            min(110, 10 + plan.velocity * plan.loudness[bar]),
            opening=bar % phrase == 0,
            fill=bar % phrase == phrase - 1 and random.random() < fills,
            loose=plan.loose / 2,
        )


def _mix(plan: Plan, parts: Sequence[Part]) -> None:
    """Choose tuning, level, place and effects of each part."""
    random = plan.random
    width = random.choice((0.2, 0.6, 1.0, 1.0, 1.0))
    reverb, chorus = random.choice((0, 15, 30, 55, 90)), random.choice((0, 0, 20, 50))
    for number, part in enumerate(parts):
        side = random.choice((-1, 1)) * random.uniform(12, 63) * width
        if number == 0 and len(parts) > 1:
            side *= 0.5
        if part.channel == DRUMS:
            side = 0
            part.control(0, VOLUME, random.uniform(62, 114))
        else:
            part.control(
                0, VOLUME, random.uniform(85, 120) if number == 0 else random.gauss(82, 14)
            )
            part.bend(0, plan.cents + (random.gauss(0, 4) if len(parts) > 1 else 0))
        part.control(0, PAN, 64 + side)
        part.control(0, REVERB, reverb * random.uniform(0.5, 1.2))
        part.control(0, CHORUS, chorus * random.uniform(0.3, 1.2))


def _file(plan: Plan, parts: Sequence[Part], bpm: float, texture: str) -> bytes:
    """Return the MIDI file; a few pieces change their tempo from bar to bar."""
    random, bars = plan.random, len(plan.loudness)
    free = texture in ("solo", "duo", "choir") and random.random() < 0.6
    factors = [random.uniform(0.9, 1.12) if free else 1.0 for _ in range(bars)]
    mean = bars / sum(1 / factor for factor in factors)
    tempos = [(bar * plan.beats, bpm * factor / mean) for bar, factor in enumerate(factors)]
    return smf(parts, tempos, plan.meter)
