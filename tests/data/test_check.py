"""The check of a corpus finds each kind of problem, and no others."""

import csv
import json
import os
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from chirrup.data import measure
from chirrup.data.check import Report, check, crashed
from chirrup.data.layouts import scan
from chirrup.data.manifest import read_manifest
from chirrup.data.prepare import prepare
from chirrup.data.recipe import Recipe, recipe_of
from chirrup.errors import FileError
from chirrup.evaluate.clips import read_clip
from closed_folders import close_folders
from data_samples import RATE_HZ, here, noise, talk, write

Rows = list[dict[str, Any]]


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Write a corpus of files with two speakers in train and one in test."""
    rows = []
    for number, place in enumerate(("speech_train/a__0", "speech_train/b__0", "speech_test/c__0")):
        write(tmp_path / f"{place}.wav", talk(1, seed=number))
        facts = {"group": place[-4], "licence": "CC0", "seconds": "1.00"}
        rows.append({"path": f"{place}.wav", **facts, "sample_rate_hz": str(RATE_HZ)})
    save(tmp_path, rows)
    return tmp_path


def rows_of(folder: Path) -> Rows:
    with (folder / "manifest.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def save(folder: Path, rows: Rows) -> None:
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def change(folder: Path, row: int, **facts: str) -> None:
    rows = rows_of(folder)
    rows[row] |= facts
    save(folder, rows)


def found(folder: Path, **options: Any) -> dict[str, list[str]]:
    return check(folder, here, **options).found


def test_nothing_is_wrong(plain: Path) -> None:
    report = check(plain, here)
    assert report == Report(3, {})
    assert report.problems == 0


def test_unreadable_and_missing(plain: Path) -> None:
    (plain / "speech_train" / "a__0.wav").write_text("no audio")
    (plain / "speech_test" / "c__0.wav").unlink()
    assert found(plain) == {
        "unreadable": [
            "speech_test/c__0.wav: No such file or directory",
            "speech_train/a__0.wav: Format not recognised",
        ]
    }


def test_a_folder_that_cannot_be_read(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = plain / "speech_train" / "closed"
    closed.mkdir()
    write(closed / "new.flac", talk(1, seed=9))
    close_folders(monkeypatch)
    why = "cannot be read: Permission denied: check its permissions"
    assert found(plain) == {"unreadable": [f"{closed} {why}"]}


def test_wrong_rate_and_length(plain: Path) -> None:
    write(plain / "speech_train" / "a__0.wav", talk(1, 8000), 8000)
    write(plain / "speech_train" / "b__0.wav", talk(1.5))
    assert found(plain) == {
        "wrong rate": ["speech_train/a__0.wav: 8000 Hz instead of 16000"],
        "wrong length": ["speech_train/b__0.wav: 1.500 s instead of 1.000"],
    }
    assert len(found(plain, rate_hz=24_000)["wrong rate"]) == 3
    assert set(found(plain, quick=True)) == {"wrong rate", "wrong length"}


def test_a_speaker_in_two_splits(plain: Path) -> None:
    change(plain, 2, group="a")
    assert found(plain) == {"in two splits": ["a: test, train"]}


def test_the_same_audio_in_two_splits(plain: Path) -> None:
    audio, _ = soundfile.read(plain / "speech_train" / "a__0.wav", dtype="int16")
    soundfile.write(plain / "speech_test" / "c__0.wav", audio, RATE_HZ, subtype="PCM_24")
    assert found(plain) == {"same audio": ["speech_test/c__0.wav and speech_train/a__0.wav"]}
    shutil.copy(plain / "speech_train" / "a__0.wav", plain / "speech_train" / "b__0.wav")
    shutil.copy(plain / "speech_train" / "b__0.wav", plain / "speech_test" / "c__0.wav")
    write(plain / "speech_test" / "c__0.wav", talk(1, seed=5))
    assert found(plain) == {}


@pytest.mark.parametrize(
    ("facts", "problem", "words"),
    [
        ({"seconds": "x"}, "bad row", "seconds is 'x': give a number from 0 to 1000000000"),
        ({"seconds": "nan"}, "bad row", "seconds is 'nan'"),
        ({"seconds": "9" * 5000}, "bad row", "seconds is '999"),
        ({"sample_rate_hz": "1e999"}, "bad row", "sample_rate_hz is '1e999': give a whole number"),
        ({"sample_rate_hz": "16000.5"}, "bad row", "sample_rate_hz is '16000.5'"),
        ({"offset": "-1"}, "bad row", "offset is '-1'"),
        ({"offset": str(10**30)}, "bad row", "offset is '1000"),
        ({"path": ""}, "bad row", "it has no path"),
        ({"path": "speech_train/\0.wav"}, "bad row", "a NUL character"),
        ({"path": "/etc/passwd"}, "outside", "/etc/passwd"),
        ({"path": "speech_train/../../x.wav"}, "outside", "../x.wav"),
        ({"shard": "../x.tar"}, "outside", "../x.tar"),
        ({"shard": "speech_train/b__0.wav", "size": str(10**12)}, "unreadable", "ends before"),
        ({"path": "speech_train/pipe.wav"}, "unreadable", "is not a regular file"),
        ({"path": "speech_train/zero.wav", "sha256": "0"}, "unreadable", "is not a regular file"),
        ({"path": "speech_train/" + "a" * 300}, "unreadable", "File name too long"),
        ({"path": "b" * 300 + "/x.wav"}, "unreadable", "File name too long"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_row_is_a_problem_of_that_row(
    plain: Path, facts: dict[str, str], problem: str, words: str
) -> None:
    """A bad row is a problem of this row only, and no file outside the folder, pipe or device is
    opened."""
    os.mkfifo(plain / "speech_train" / "pipe.wav")
    (plain / "speech_train" / "zero.wav").symlink_to("/dev/zero")
    rows = [
        row | dict.fromkeys(("shard", "offset", "size", "sha256"), "") for row in rows_of(plain)
    ]
    save(plain, [*rows, rows[1] | facts])
    problems = found(plain)
    problems.pop("listed twice", None)
    assert list(problems) == [problem]
    assert len(problems[problem]) == 1
    assert words in problems[problem][0]
    if problem == "bad row":
        assert problems[problem][0].startswith("row 5")
        with pytest.raises(FileError, match=r"manifest\.csv, row 5.* data check finds all"):
            list(read_manifest(plain / "manifest.csv"))


def test_a_flac_that_claims_two_to_the_36_samples(plain: Path) -> None:
    """It takes the memory of the samples that exist."""
    path = plain / "speech_train" / "a__0.flac"
    soundfile.write(path, talk(1), RATE_HZ)
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    path.write_bytes(data)
    (plain / "speech_train" / "a__0.wav").unlink()
    change(plain, 0, path="speech_train/a__0.flac", seconds="")
    tracemalloc.start()
    try:
        assert list(found(plain)) == ["unreadable"]
        with pytest.raises(FileError, match=r"a__0\.flac cannot be read as audio"):
            read_clip(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("rate_hz", [1, 2**31 - 1])
def test_a_rate_that_nothing_works_at(plain: Path, rate_hz: int) -> None:
    """A second of 1 Hz would become hours of 24 kHz, and no figure can be measured."""
    path = plain / "speech_train" / "a__0.wav"
    soundfile.write(path, talk(1), rate_hz)
    why = f"its sample rate is {rate_hz} Hz, must be 1000 to 1000000"
    change(plain, 0, seconds="", sample_rate_hz="")
    assert found(plain) == {"unreadable": [f"speech_train/a__0.wav: {why}"]}
    (item,) = (item for item in scan("manifest", plain) if item.path == str(path))
    records = json.loads(measure.run(measure.job(0, item, measure.settings_of(Recipe()))))
    assert records["records"] == [{"reason": "unreadable", "detail": why}]
    with pytest.raises(FileError, match=why):
        read_clip(path)


def test_no_licence(plain: Path) -> None:
    change(plain, 1, licence="")
    assert found(plain) == {"no licence": ["speech_train/b__0.wav"]}


def test_listed_twice_and_not_listed(plain: Path) -> None:
    rows = rows_of(plain)
    save(plain, [*rows, rows[0]])
    write(plain / "speech_train" / "new.flac", talk(1, seed=9))
    (plain / "speech_train" / "notes.txt").write_text("no audio")
    assert found(plain) == {
        "listed twice": ["speech_train/a__0.wav"],
        "not listed": ["speech_train/new.flac"],
    }


def test_silence(plain: Path) -> None:
    write(plain / "speech_train" / "a__0.wav", np.zeros(RATE_HZ))
    assert list(found(plain)) == ["silent"]
    assert found(plain, quick=True) == {}


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"has no manifest\.csv"):
        check(tmp_path, here)
    (tmp_path / "manifest.csv").write_text("path\n")
    with pytest.raises(FileError, match="lists no recordings"):
        check(tmp_path, here)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    pytest.importorskip("pyloudnorm")
    pytest.importorskip("matplotlib")
    for number in range(4):
        write(tmp_path / "in" / f"{number}.wav", noise(1.5, seed=number))
    recipe = recipe_of({"shard_minutes": 0.05, "splits": {"test": 0, "validation": 0}})
    prepare([f"noise:{tmp_path}/in"], tmp_path / "out", recipe, here, facts={"licence": "CC0"})
    return tmp_path / "out"


def test_shards(shards: Path) -> None:
    assert found(shards) == {}
    first, *_, last = sorted(shards.glob("*/*.tar"))
    data = bytearray(last.read_bytes())
    data[5000] ^= 1
    last.write_bytes(data)
    whole = first.read_bytes()
    first.write_bytes(whole[:20_000])
    shutil.copy(last, last.with_name("old.tar"))
    problems = found(shards)
    assert set(problems) == {"unreadable", "changed", "not listed"}
    assert all("ends before" in text for text in problems["unreadable"])
    assert problems["not listed"] == ["noise_train/old.tar"]


def test_start_of_a_piece_is_a_number(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,start_seconds\na.wav,1.5\nb.wav,x\n")
    with pytest.raises(FileError, match=r"start_seconds is 'x': give a number from 0 to"):
        list(read_manifest(manifest))


def test_a_process_that_ends_may_lack_memory() -> None:
    words = "its process ended: the decoder crashed, or there was too little memory"
    assert json.loads(measure.crashed('{"number": 1}'))["records"][0]["detail"] == words
    assert json.loads(crashed('{"row": {"path": "a"}}'))["found"] == [["unreadable", "a", words]]
