"""``benchmarks/render_music.py``: the composed MIDI files, the corpus, and errors."""

import hashlib
import os
import pickle
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark_scripts import BENCHMARKS, scripts  # noqa: F401
from chirrup.data.manifest import find_manifest, read_manifest
from chirrup.errors import FileError
from chirrup.lab.training.batches.audio_files import list_recordings

PIECES = 200
DRUMS = 9


@pytest.fixture
def render_music() -> ModuleType:
    return import_module("render_music")


@pytest.fixture(scope="module")
def pieces() -> list[Any]:
    """The first pieces of a seed, composed once for all tests."""
    code = (
        "import sys, pickle; sys.path.insert(0, sys.argv[1]); from music.compose import compose;"
        "pieces = [compose(0, index) for index in range(int(sys.argv[2]))];"
        "found = [(x.midi, x.seconds, x.texture, x.category,"
        " [(p.channel, p.program, p.low, p.high, len(p.notes)) for p in x.parts]) for x in pieces];"
        "sys.stdout.buffer.write(pickle.dumps(found))"
    )
    command = [sys.executable, "-c", code, str(BENCHMARKS), str(PIECES)]
    environment = {**os.environ, "PYTHONHASHSEED": "5"}
    done = subprocess.run(command, check=True, capture_output=True, env=environment)
    names = ("midi", "seconds", "texture", "category", "parts")
    return [
        SimpleNamespace(**dict(zip(names, row, strict=True))) for row in pickle.loads(done.stdout)
    ]


def tracks_of(midi: bytes) -> list[bytes]:
    """Return the content of the tracks of a MIDI file."""
    assert midi[:4] == b"MThd"
    size, form, count, ticks = struct.unpack(">IHHH", midi[4:14])
    assert (size, form, ticks) == (6, 1, 480)
    tracks, place = [], 14
    while place < len(midi):
        assert midi[place : place + 4] == b"MTrk"
        (size,) = struct.unpack(">I", midi[place + 4 : place + 8])
        tracks.append(midi[place + 8 : place + 8 + size])
        place += 8 + size
    assert place == len(midi)
    assert len(tracks) == count
    return tracks


def messages_of(track: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the tick, the first byte and the other bytes of each message of a track."""
    place = tick = 0
    while place < len(track):
        wait = 0
        while True:
            wait = wait << 7 | track[place] & 127
            place += 1
            if track[place - 1] < 128:
                break
        tick += wait
        status = track[place]
        if status == 0xFF:
            size = track[place + 2] + 1
        else:
            size = 1 if status >> 4 == 0xC else 2
            assert 0x80 <= status < 0xF0
        first = place + 1 if status != 0xFF else place + 2
        data = track[place + 1 : first + size]
        place = first + size
        yield tick, status, data


def seconds_of(midi: bytes) -> float:
    """Return the time of the last message of a MIDI file."""
    tracks = tracks_of(midi)
    tempos = [(t, d) for t, status, d in messages_of(tracks[0]) if status == 0xFF and d[0] == 0x51]
    last = max(tick for track in tracks for tick, _, _ in messages_of(track))
    seconds = 0.0
    for (tick, data), (following, _) in zip(tempos, [*tempos[1:], (last, b"")], strict=True):
        seconds += (following - tick) / 480 * int.from_bytes(data[2:], "big") / 1e6
    return seconds


def test_a_seed_and_an_index_give_the_same_bytes(pieces: list[Any]) -> None:
    """Also in another process with other hashes of texts."""
    compose = import_module("music.compose").compose
    for index in (0, 1, 17, 63, 150):
        assert compose(0, index).midi == pieces[index].midi
    assert compose(1, 0).midi != pieces[0].midi
    assert len({piece.midi for piece in pieces}) == PIECES


def test_all_messages_are_in_the_ranges_of_midi(pieces: list[Any]) -> None:
    for piece in pieces:
        tracks = tracks_of(piece.midi)
        assert len(tracks) == len(piece.parts) + 1
        for track, (channel, program, low, high, notes) in zip(
            tracks[1:], piece.parts, strict=True
        ):
            assert notes
            sounding: set[int] = set()
            for _, status, data in messages_of(track):
                if status == 0xFF:
                    continue
                assert status & 15 == channel
                assert max(data) < 128
                if status >> 4 == 0xC:
                    assert data[0] == program
                elif status >> 4 == 9:
                    assert low <= data[0] <= high
                    assert data[1] > 0
                    assert data[0] not in sounding
                    sounding.add(data[0])
                elif status >> 4 == 8:
                    sounding.remove(data[0])
            assert not sounding
        channels = [part[0] for part in piece.parts]
        assert len(set(channels)) == len(channels)


def test_pieces_have_20_to_40_s_and_end_in_time(pieces: list[Any]) -> None:
    for piece in pieces:
        assert 20 <= piece.seconds <= 40
        assert 0.7 * piece.seconds < seconds_of(piece.midi) < piece.seconds + 2


def test_no_family_and_no_kind_is_absent_or_dominates(pieces: list[Any]) -> None:
    instruments = import_module("music.instruments")
    programs = [part[1] for piece in pieces for part in piece.parts if part[0] != DRUMS]
    families = np.bincount([program // 8 for program in programs], minlength=16)
    assert families.min() >= 8
    assert families.max() < 0.2 * len(programs)
    assert {instruments.leading(0, index) for index in range(128)} == set(range(128))
    for first in range(0, 64, 16):
        leading = {instruments.leading(3, first + index) // 8 for index in range(16)}
        assert leading == set(range(16))
    with_drums = sum(any(part[0] == DRUMS for part in piece.parts) for piece in pieces)
    assert 0.4 < with_drums / PIECES < 0.6
    kinds = {piece.texture for piece in pieces}
    assert kinds == set(import_module("music.compose").TEXTURES)
    assert any(len(piece.parts) == 1 for piece in pieces)


class Renderer:
    """Stands in for FluidSynth; gives noise, and raises at a wanted call."""

    font = Path("some.sf2")

    def __init__(self, stop: int = 1000) -> None:
        self.calls, self.stop = 0, stop

    def render(self, midi: bytes, samples: int, rate_hz: int, settings: dict) -> np.ndarray:
        self.calls += 1
        if self.calls == self.stop:
            raise KeyboardInterrupt
        noise = np.random.default_rng(self.calls).normal(size=(samples, 2))
        return noise.astype(np.float32)


@pytest.fixture
def short(render_music: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the pieces of `render_music` half a second long."""
    compose = render_music.compose
    monkeypatch.setattr(
        render_music, "compose", lambda seed, index: replace(compose(seed, index), seconds=0.5)
    )


def make(render_music: ModuleType, folder: Path, synth: Any, pieces: int) -> int:
    hours = (pieces - 0.5) * 0.5 / 3600
    return render_music.make_corpus(folder, hours, 0, synth, "MIT AND CC0-1.0", "somebody")


@pytest.mark.usefixtures("short")
def test_an_interrupted_corpus_is_continued(render_music: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(render_music, tmp_path, Renderer(stop=4), 5)
    assert len(list(read_manifest(find_manifest(tmp_path)))) == 3
    lost = tmp_path / "music_train" / "seed0__00002.flac"
    lost.unlink()
    synth = Renderer()
    assert make(render_music, tmp_path, synth, 5) == 5
    assert synth.calls == 3
    assert make(render_music, tmp_path, synth, 5) == 5
    assert synth.calls == 3
    assert lost.is_file()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.usefixtures("short")
def test_no_piece_is_rendered_again_for_another_split(
    render_music: ModuleType, tmp_path: Path
) -> None:
    make(render_music, tmp_path, Renderer(), 2)
    hours = 3.5 * 0.5 / 3600
    assert render_music.make_corpus(tmp_path, hours, 0, Renderer(), "MIT", "me", test=False) == 4
    assert len(list_recordings(tmp_path, "music_train")) == 3
    assert render_music.make_corpus(tmp_path, hours, 1, Renderer(), "MIT", "me", test=False) == 8


@pytest.mark.usefixtures("short")
def test_the_corpus_is_one_for_training(render_music: ModuleType, tmp_path: Path) -> None:
    make(render_music, tmp_path, Renderer(), 6)
    assert len(list_recordings(tmp_path, "music_train", licences=["MIT*"])) == 5
    assert len(list_recordings(tmp_path, "music_test")) == 1
    compose = import_module("music.compose").compose
    for index, entry in enumerate(sorted(read_manifest(tmp_path / "manifest.csv"))[1:]):
        finish = render_music.choose_finish(0, index if index == 0 else index + 1)
        path = tmp_path / entry.path
        assert entry.facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert entry.facts["split"] == "train"
        assert (tmp_path / entry.facts["original"]).read_bytes()[:4] == b"MThd"
        with soundfile.SoundFile(path) as file:
            assert (file.samplerate, file.channels, file.frames) == (48_000, 2, 24_000)
            assert file.subtype == f"PCM_{finish.bits}"
            peak_db = 20 * np.log10(np.abs(file.read()).max())
        assert peak_db == pytest.approx(finish.peak_db, abs=0.1)
    first = next(x for x in read_manifest(tmp_path / "manifest.csv") if "00000" in x.path)
    assert (tmp_path / first.facts["original"]).read_bytes() == compose(0, 0).midi


def test_a_folder_with_other_recordings_is_refused(
    render_music: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "manifest.csv").write_text("path\nmusic_train/a.flac\n")
    with pytest.raises(FileError, match="recordings of other sources"):
        render_music.existing(tmp_path)


def test_a_font_without_sound_is_refused(render_music: ModuleType, tmp_path: Path) -> None:
    silent = SimpleNamespace(font=Path("x.sf2"), render=lambda *_: np.zeros((960, 2), np.float32))
    with pytest.raises(FileError, match=r"x\.sf2 has no sound"):
        make(render_music, tmp_path, silent, 1)


@pytest.mark.parametrize("library", [None, "libfluidsynth.so.3"])
def test_the_error_without_fluidsynth_or_font_names_the_packages(
    library: str | None,
    render_music: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("ctypes.util.find_library", lambda _: library)
    font, out = str(tmp_path / "none.sf2"), tmp_path / "out"
    command = ["render_music.py", "--out", str(out), "--hours", "1", "--soundfont", font]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stopped:
        render_music.main()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search("apt-get install fluidsynth musescore-general-soundfont-lossless", line)
    assert not out.exists()


def test_two_seconds_are_rendered(render_music: ModuleType) -> None:
    try:
        synth = render_music.FluidSynth(render_music.FONT)
    except FileError as error:
        pytest.skip(str(error))
    piece = replace(import_module("music.compose").compose(0, 0), seconds=2.0)
    finish = render_music.choose_finish(0, 0)
    audio = render_music.render(synth, piece, finish, np.random.default_rng(0))
    assert audio.shape == (96_000, 2)
    assert 20 * np.log10(np.abs(audio).max()) == pytest.approx(finish.peak_db, abs=0.1)
    assert np.corrcoef(audio.T)[0, 1] < 0.9999
    again = render_music.render(synth, piece, finish, np.random.default_rng(0))
    assert np.array_equal(audio, again)
