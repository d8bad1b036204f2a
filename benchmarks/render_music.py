"""Make a corpus of lossless music: pieces composed by rule, rendered from MIDI with FluidSynth.

    python benchmarks/render_music.py --out FOLDER --hours H [--seed 0] [--soundfont PATH]

Most free recordings of music were coded lossily at their source, which removes the highest
frequencies and blurs transients. Here every piece has 48 kHz, two channels, and the whole band of
its sound font. FOLDER is a corpus for ``chirrup train --data FOLDER``: ``music_train``,
``music_test`` (every 20th piece; none with ``--no-test``), and ``midi``. If the script is
interrupted, the same command continues.

Pieces have random levels, reverberation, chorus, bass, treble and soft limiting.

The pieces depend on the seed and their number only. Each one is rendered at 96 kHz and resampled,
so frequencies above 24 kHz are filtered out instead of folded back.
"""

import argparse
import hashlib
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import soundfile
import soxr
from rich.progress import track

from chirrup.data.manifest import NAMES, read_manifest, write_manifest
from chirrup.errors import FileError
from chirrup.files.drafts import only_one, written
from music.compose import Piece, compose
from music.fluidsynth import FluidSynth
from shared import console

RATE_HZ, RENDERED_HZ = 48_000, 96_000
FONT = Path("/usr/share/sounds/sf2/MuseScore_General_Full.sf2")
FONT_NOTICE = Path("/usr/share/doc/musescore-general-soundfont-lossless/copyright")
"""Copyright notice and licences of `FONT`."""
FONT_LICENCE = "MIT AND CC0-1.0"
"""Licence of renderings with `FONT`: its samples are under MIT, some under CC0 or in the public
domain. The pieces themselves are under CC0."""
FONT_AUTHORS = "S. Christian Collins, Frank Wen, Michael Cowgill and others (MuseScore_General_HQ)"
SOURCE = "render_music"
TEST_EVERY = 20
"""Every piece of this number is for tests, the second one first."""
SAVE_EVERY = 10
"""Pieces after which the manifest is written."""
PEAKS_DB = (-24.0, -1.0)
SILENT = 1e-4
"""Largest sample of a rendering that counts as silent."""
FADE_S = 0.02
DC_HZ = 12.0
"""Corner of the high-pass filter; some samples of the font have an offset."""


@dataclass(frozen=True)
class Finish:
    """How a piece is rendered and finished.

    Attributes:
        settings: reverberation and chorus of FluidSynth.
        treble_db: gain of high frequencies.
        bass_db: gain of low frequencies.
        corner_hz: frequency between low and high ones.
        drive: level at the input of the soft limiter; 0 for none.
        noise_db: level of noise relative to the piece; None for none.
        peak_db: peak level of the file relative to full scale.
        bits: bits of a sample, 16 or 24.
    """

    settings: dict[str, float]
    treble_db: float
    bass_db: float
    corner_hz: float
    drive: float
    noise_db: float | None
    peak_db: float
    bits: int


def choose_finish(seed: int, index: int) -> Finish:
    """Choose how a piece is finished; some pieces are not equalised or not limited."""
    random = Random(f"finish {seed} {index}")
    settings = {
        "synth.reverb.room-size": random.uniform(0.1, 0.95),
        "synth.reverb.damp": random.uniform(0, 0.8),
        "synth.reverb.width": random.uniform(0.2, 1),
        "synth.reverb.level": random.uniform(0.2, 0.9),
        "synth.chorus.active": random.randint(0, 1),
        "synth.chorus.nr": random.randint(2, 5),
        "synth.chorus.depth": random.uniform(2, 14),
        "synth.chorus.speed": random.uniform(0.15, 1.2),
        "synth.chorus.level": random.uniform(0.05, 0.5),
    }
    plain = random.random() < 0.2
    return Finish(
        settings,
        0 if plain else random.uniform(0, 14),
        0 if plain else random.uniform(-3, 4),
        math.exp(random.uniform(math.log(2000), math.log(7000))),
        random.choice((0, 1, 1)) * random.uniform(1, 5),
        random.choice((None, None, None, random.uniform(-85, -55))),
        random.uniform(*PEAKS_DB),
        random.choice((16, 24)),
    )


def render(
    synth: FluidSynth, piece: Piece, finish: Finish, generator: np.random.Generator
) -> np.ndarray:
    """Render and finish a piece.

    Returns:
        ``float64 [samples, 2]`` at 48 kHz.

    Raises:
        FileError: the sound font has no sound for it.
    """
    samples = round(piece.seconds * RENDERED_HZ)
    audio = synth.render(piece.midi, samples, RENDERED_HZ, finish.settings).astype(np.float64)
    peak = np.abs(audio).max()
    if peak < SILENT:
        raise FileError(f"{synth.font} has no sound for a piece: give a General MIDI sound font")
    audio /= peak
    if finish.drive:
        audio = np.tanh(finish.drive * audio)
    audio = equalised(soxr.resample(audio, RENDERED_HZ, RATE_HZ, quality="VHQ"), finish)
    if finish.noise_db is not None:
        level = np.sqrt(np.square(audio).mean()) * 10 ** (finish.noise_db / 20)
        audio += generator.normal(0, level, audio.shape)
    fade = round(FADE_S * RATE_HZ)
    audio[-fade:] *= np.linspace(1, 0, fade)[:, None]
    audio *= 10 ** (finish.peak_db / 20) / np.abs(audio).max()
    if finish.bits == 16:
        audio += generator.triangular(-1, 0, 1, audio.shape) / 2**15
    return audio


def equalised(audio: np.ndarray, finish: Finish) -> np.ndarray:
    """Return ``[samples, 2]`` without DC and with a smooth change of bass and treble."""
    length = RATE_HZ * math.ceil(len(audio) / RATE_HZ + 0.1)  # has small factors
    spectrum = np.fft.rfft(audio, length, axis=0)
    hz = np.fft.rfftfreq(length, 1 / RATE_HZ)
    high = 1 / (1 + (finish.corner_hz / np.maximum(hz, 1)) ** 2)
    gain_db = finish.bass_db + (finish.treble_db - finish.bass_db) * high
    gain = 10 ** (gain_db / 20) * hz**2 / (hz**2 + DC_HZ**2)
    return np.fft.irfft(spectrum * gain[:, None], length, axis=0)[: len(audio)]


def make_corpus(
    folder: Path,
    hours: float,
    seed: int,
    synth: FluidSynth,
    licence: str,
    authors: str,
    test: bool = True,
) -> int:
    """Render the pieces of a corpus that it does not have.

    Args:
        folder: folder of the corpus.
        hours: least duration of the pieces of this seed.
        seed: seed of the pieces.
        synth: FluidSynth with the sound font.
        licence: licence of the renderings, for the manifest.
        authors: authors of the sound font, for the manifest.
        test: put some pieces into ``music_test``.

    Returns:
        The number of pieces in the corpus.

    Raises:
        FileError: the folder has recordings of other sources.
    """
    rows = existing(folder)
    pieces, seconds = [], 0.0
    while seconds < 3600 * hours:
        pieces.append(compose(seed, len(pieces)))
        seconds += pieces[-1].seconds
    try:
        for index, piece in enumerate(track(pieces, "rendering", console=console)):
            split = "test" if test and index % TEST_EVERY == 1 else "train"
            name = f"seed{seed}__{index:05d}"
            path = f"music_{split}/{name}.flac"
            if name in {Path(done).stem for done in rows}:
                continue
            facts = write_piece(folder, path, name, synth, seed, index, piece)
            rows[path] = {
                **facts,
                "split": split,
                "category": piece.category,
                "licence": licence,
                "attribution": authors,
            }
            if len(rows) % SAVE_EVERY == 0:
                save(folder, rows)
    finally:
        save(folder, rows)
    return len(rows)


def existing(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of the manifest whose files are there, by path."""
    others = [name for name in NAMES[1:] if (folder / name).exists()]
    manifest = folder / NAMES[0]
    entries = list(read_manifest(manifest)) if manifest.exists() else []
    if others or any(not entry.facts.get("source", "").startswith(SOURCE) for entry in entries):
        raise FileError(f"{folder} has recordings of other sources: give another folder")
    return {
        entry.path: {"path": entry.path, **entry.facts}
        for entry in entries
        if (folder / entry.path).is_file()
    }


def save(folder: Path, rows: dict[str, dict[str, Any]]) -> None:
    if rows:
        with written(folder / NAMES[0]) as draft:
            write_manifest(draft, iter(rows[path] for path in sorted(rows)), "csv")


def write_piece(
    folder: Path, path: str, name: str, synth: FluidSynth, seed: int, index: int, piece: Piece
) -> dict[str, Any]:
    """Write the MIDI file and the audio of a piece; return columns of its row."""
    midi = f"midi/{name}.mid"
    finish = choose_finish(seed, index)
    audio = render(synth, piece, finish, np.random.default_rng((seed, index)))
    for place in (path, midi):
        (folder / place).parent.mkdir(exist_ok=True)
    with written(folder / midi) as draft:
        draft.write_bytes(piece.midi)
    with written(folder / path) as draft:
        soundfile.write(draft, audio, RATE_HZ, format="FLAC", subtype=f"PCM_{finish.bits}")
        digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    return {
        "path": path,
        "sha256": digest,
        "kind": "music",
        "source": f"{SOURCE} with {synth.font.name}",
        "original": midi,
        "group": name,
        "seconds": len(audio) / RATE_HZ,
        "sample_rate_hz": RATE_HZ,
        "channels": audio.shape[1],
        "original_sample_rate_hz": RATE_HZ,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--hours", type=float, required=True, help="duration of the corpus")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--soundfont", type=Path, default=FONT, help="General MIDI sound font")
    parser.add_argument("--licence", help="licence of another sound font, for the manifest")
    parser.add_argument(
        "--no-test",
        action="store_true",
        help="put all pieces into music_train, none into music_test",
    )
    given = parser.parse_args()
    try:
        synth = FluidSynth(given.soundfont)
        shipped = given.soundfont.resolve() == FONT.resolve()
        if not (shipped or given.licence):
            raise FileError(f"the licence of {given.soundfont} is not known: add --licence TEXT")
        with only_one(given.out, "render_music.py"):
            if shipped and FONT_NOTICE.exists():
                with written(given.out / "LICENCE-of-samples.txt") as draft:
                    draft.write_bytes(FONT_NOTICE.read_bytes())
            licence = given.licence or FONT_LICENCE
            authors = FONT_AUTHORS if shipped else given.soundfont.stem
            count = make_corpus(
                given.out, given.hours, given.seed, synth, licence, authors, not given.no_test
            )
    except FileError as error:
        print(f"render_music.py: {error}", file=sys.stderr)
        sys.exit(2)
    console.print(f"{given.out}: {count} pieces")


if __name__ == "__main__":
    main()
