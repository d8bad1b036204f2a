"""Writing of Standard MIDI Files: parts with notes, controllers and bends, and a map of tempos."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

TICKS = 480
"""Ticks of a quarter note."""
DRUMS = 9
"""Channel of the drums in General MIDI, counted from 0."""
VOLUME, PAN, EXPRESSION, PEDAL, REVERB, CHORUS, MODULATION = 7, 10, 11, 64, 91, 93, 1
BEND_CENTS = 200.0
"""Largest pitch bend of a General MIDI synthesizer, either way."""


@dataclass(frozen=True)
class Note:
    """A note; ``start`` and ``end`` are ticks."""

    start: int
    end: int
    pitch: int
    velocity: int


@dataclass
class Part:
    """A part of a piece, on one channel.

    Attributes:
        channel: MIDI channel, 0 to 15.
        program: General MIDI program, 0 to 127; on channel `DRUMS` the number of a drum kit.
        low: lowest pitch of the instrument, as a MIDI note number.
        high: highest pitch of the instrument.
        notes: its notes, in any order.
        messages: ticks and bytes of its other messages, in any order.
    """

    channel: int
    program: int
    low: int = 0
    high: int = 127
    notes: list[Note] = field(default_factory=list)
    messages: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def family(self) -> int:
        """The family of the program, 0 to 15."""
        return self.program // 8

    def note(self, beat: float, beats: float, pitch: int, velocity: float) -> None:
        """Add a note.

        Args:
            beat: its start, in quarter notes.
            beats: its duration, in quarter notes.
            pitch: MIDI note number. Outside the range of the instrument, octaves are added or
                removed.
            velocity: its velocity, which is rounded and limited to 1 to 127.
        """
        while pitch < self.low:
            pitch += 12
        while pitch > self.high:
            pitch -= 12
        start = max(0, round(beat * TICKS))
        end = max(start + 1, round((beat + beats) * TICKS))
        self.notes.append(Note(start, end, pitch, min(127, max(1, round(velocity)))))

    def control(self, beat: float, number: int, value: float) -> None:
        """Add a value of a controller, which is rounded and limited to 0 to 127."""
        value = min(127, max(0, round(value)))
        self.messages.append((_tick(beat), bytes([0xB0 | self.channel, number, value])))

    def bend(self, beat: float, cents: float) -> None:
        """Add a pitch bend, which is limited to `BEND_CENTS`."""
        value = min(16383, max(0, round(8192 * (1 + cents / BEND_CENTS))))
        self.messages.append(
            (_tick(beat), bytes([0xE0 | self.channel, value & 127, value >> 7])),
        )

    def events(self) -> list[tuple[int, bytes]]:
        """Return ticks and bytes of all messages, in order.

        A note ends at the latest where the next note of its pitch starts.
        """
        found = [(0, 0, bytes([0xC0 | self.channel, self.program]))]
        found += [(tick, 1, message) for tick, message in self.messages]
        following: dict[int, int] = {}
        for note in sorted(self.notes, key=lambda note: (note.start, note.end), reverse=True):
            end = min(note.end, following.get(note.pitch, note.end))
            if end > note.start:
                on = bytes([0x90 | self.channel, note.pitch, note.velocity])
                found.append((note.start, 2, on))
                found.append((end, 0, bytes([0x80 | self.channel, note.pitch, 64])))
                following[note.pitch] = note.start
        found.sort(key=lambda event: event[:2])
        return [(tick, message) for tick, _, message in found]


def smf(
    parts: Sequence[Part], tempos: Sequence[tuple[float, float]], meter: tuple[int, int]
) -> bytes:
    """Return a Standard MIDI File of format 1.

    Args:
        parts: the parts, a track each.
        tempos: beats and the tempos from there on, in quarter notes a minute.
        meter: the time signature, such as (6, 8).
    """
    upper, lower = meter
    head = [(0, bytes([0xFF, 0x58, 4, upper, int(math.log2(lower)), 24, 8]))]
    for number, (beat, bpm) in enumerate(tempos):
        if number and bpm == tempos[number - 1][1]:
            continue
        head.append((_tick(beat), b"\xff\x51\x03" + round(60e6 / bpm).to_bytes(3, "big")))
    tracks = [head, *(part.events() for part in parts)]
    return struct.pack(">4sIHHH", b"MThd", 6, 1, len(tracks), TICKS) + b"".join(map(_track, tracks))


def _track(events: Sequence[tuple[int, bytes]]) -> bytes:
    data, now = bytearray(), 0
    for tick, message in events:
        data += _variable(tick - now) + message
        now = tick
    data += b"\x00\xff\x2f\x00"
    return struct.pack(">4sI", b"MTrk", len(data)) + bytes(data)


def _variable(number: int) -> bytes:
    """Return a number in groups of 7 bits, the highest first."""
    groups = [number & 127]
    while number := number >> 7:
        groups.append(number & 127 | 128)
    return bytes(reversed(groups))


def _tick(beat: float) -> int:
    return max(0, round(beat * TICKS))
