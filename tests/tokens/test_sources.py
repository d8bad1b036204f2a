"""Sources: files, folders, patterns, manifests, tar files and tables."""

import csv
import gzip
import io
import json
import math
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup import tokens
from chirrup.data.workers import Run
from chirrup.tokens.sources import scan
from closed_folders import close_folders
from token_samples import RATES_HZ, file_of, recording, tar_of

NAMES = ["a.wav", "p1/b.flac", "p1/c.flac", "z.ogg"]


def table(corpus: Path) -> str:
    """A Parquet table as on the Hugging Face hub, in row groups of three."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = {
        "audio": [{"bytes": file_of(name), "path": Path(name).name} for name in NAMES],
        "speaker": 4 * [math.nan],  # no value, as in a column of pandas
        "speaker_id": [7, None, 9, 10],
        "sentence": [f"text of {name}" for name in NAMES],
    }
    path = corpus.parent / "train-00000.parquet"
    parquet.write_table(arrow.table(rows), path, row_group_size=3)
    return str(path)


def manifest(corpus: Path) -> str:
    """A manifest of `chirrup data` with files and a member of a shard."""
    tar = corpus.parent / "shard-0.tar"
    with tarfile.open(tar) as file:
        inside = file.getmember("z.ogg")
    rows = [{"path": f"files/{name}", "group": f"g{name}"} for name in NAMES[:3]]
    place = {"shard": tar.name, "offset": inside.offset_data, "size": inside.size}
    rows.append({"path": "z.ogg", "group": "gz.ogg", **place})
    path = corpus.parent / "manifest.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "group", "shard", "offset", "size"])
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


Source = Callable[[Path], list[str]]
SOURCES: dict[str, tuple[Source, list[str]]] = {
    "folder": (lambda corpus: [str(corpus)], ["a.wav", "z.ogg", "p1/b.flac", "p1/c.flac"]),
    "pattern": (lambda corpus: [f"{corpus}/**/*.[fow]*[cgv]"], NAMES),
    "files": (lambda corpus: [str(corpus / name) for name in NAMES], NAMES),
    "tar": (
        lambda corpus: [str(corpus.parent / "shard-0.tar")],
        [f"shard-0/{name}" for name in NAMES],
    ),
    "table": (
        lambda corpus: [table(corpus)],
        [f"train-00000/{number:06d}" for number in range(4)],
    ),
    "manifest": (lambda corpus: [manifest(corpus)], [f"files/{n}" for n in NAMES[:3]] + ["z.ogg"]),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_the_codes_of_its_audio(
    corpus: Path, tar: Path, codec: chirrup.Codec, run: Run, tmp_path: Path, name: str
) -> None:
    make, ids = SOURCES[name]
    settings = tokens.settings_of(codec, 1000, "npz")
    done = tokens.tokenize(make(corpus), tmp_path / "tokens", codec, settings, run)
    rows = list(tokens.open(tmp_path / "tokens"))
    assert [row.id for row in rows] == ids
    assert done.failures == (1 if name in ("folder", "pattern") else 0)
    for row in rows:
        own = next(key for key in RATES_HZ if key.endswith(Path(row.path).name))
        audio, rate_hz = soundfile.read(io.BytesIO(file_of(own)), dtype="float32")
        audio = audio.mean(axis=1) if audio.ndim > 1 else audio
        expected = codec.encode(audio, 1000, sample_rate_hz=rate_hz)
        assert np.array_equal(row.codes, expected.data)
        assert row.samples == expected.samples
        if name in ("tar", "table"):
            assert row.text == f"text of {own}"
    speakers = {"table": ["7", "", "9", "10"], "manifest": [f"g{n}" for n in NAMES]}
    assert [row.speaker for row in rows] == speakers.get(
        name, [f"s{n}" for n in range(4)] if name == "tar" else 4 * [""]
    )


def test_names_of_several_folders_differ(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.wav").write_bytes(file_of("a.wav"))
    found = [one.id for one in scan([str(corpus / "p1"), str(tmp_path / "other")])]
    assert found == ["p1/b.flac", "p1/bad.wav", "p1/c.flac", "other/a.wav"]


def test_ids_are_relative_paths_of_one_line(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "two\nlines.wav").write_bytes(file_of("a.wav"))
    assert [one.id for one in scan([str(tmp_path)])] == ["two_lines.wav"]
    (tmp_path / "list.csv").write_text(f"path\n{corpus}/a.wav\n../x.wav\n")
    found = list(scan([str(tmp_path / "list.csv")]))
    assert [one.id for one in found] == [f"{corpus}/a.wav"[1:], "x.wav"]
    assert [bool(one.fault) for one in found] == [False, True]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nothing.wav", "nothing.wav does not exist: give an audio file, a folder or a pattern"),
        ("*.nothing", "no file matches .*nothing: check the pattern"),
        ("empty", "empty has no audio: give files, folders or tar files"),
    ],
)
def test_a_source_without_audio_is_an_error(
    codec: chirrup.Codec, run: Run, tmp_path: Path, source: str, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    settings = tokens.settings_of(codec, None, "npz")
    with pytest.raises(chirrup.FileError, match=words):
        tokens.tokenize([str(tmp_path / source)], tmp_path / "out", codec, settings, run)
    assert os.listdir(tmp_path) == ["empty"]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("c", ["a.wav", "s/closed", "z/b.wav"]),
        ("c/**/*.wav", ["a.wav", "closed", "z/b.wav"]),
        ("c/s/*/*.wav", ["."]),
        ("c/s/closed", ["."]),
    ],
)
def test_a_folder_that_cannot_be_read_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, names: list[str]
) -> None:
    for name in ("a.wav", "s/closed/lost.wav", "z/b.wav"):
        (tmp_path / "c" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "c" / name).write_bytes(file_of("a.wav"))
    close_folders(monkeypatch)
    found = list(scan([str(tmp_path / source)]))
    faults = [one for one in found if one.fault]
    why = f"the folder {tmp_path / 'c/s/closed'} cannot be read: Permission denied"
    assert [one.fault for one in faults] == [why]
    assert sorted(one.path for one in found) == names


def test_a_damaged_manifest_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(file_of("a.wav"))
    (tmp_path / "manifest.csv").write_text("no,columns\n1,2\n")
    with pytest.raises(chirrup.FileError, match=r"manifest\.csv"):
        list(scan([str(tmp_path)]))


def test_what_cannot_be_read_is_a_failure_with_its_reason(
    corpus: Path, tar: Path, codec: chirrup.Codec, run: Run, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "empty.wav").write_bytes(b"")
    (source / "cut.flac").write_bytes(file_of("p1/b.flac")[:-2000])
    (source / "cut.tar").write_bytes(tar.read_bytes()[:-30_000])
    (source / "good.wav").write_bytes(file_of("a.wav"))
    soundfile.write(source / "no-samples.wav", np.zeros(0), 24_000)
    (source / "gone.wav").symlink_to(tmp_path / "nowhere")
    (source / "bad.parquet").write_bytes(b"PAR1 no table")
    (source / "bad.csv").write_text("path,size\n,3\nmissing.wav,\ngood.wav,\ngood.wav,\n")
    settings = tokens.settings_of(codec, 1000, "npz")
    found = [str(source), str(source / "bad.csv")]
    done = tokens.tokenize(found, tmp_path / "out", codec, settings, run)
    failures = (tmp_path / "out" / "failures.jsonl").read_text()
    for words in (
        '"source/empty.wav", "reason": "unreadable',
        '"source/cut.flac", "reason": "damaged',
        "it cannot be read as a tar file",
        '"source/no-samples.wav", "reason": "empty: it has no samples"',
        '"source/gone.wav", "reason": "No such file or directory"',
        "row 2 of",
        "bad.parquet ",
        '"missing.wav", "reason": "No such file',
    ):
        assert words in failures
    ids = [row.id for row in tokens.open(tmp_path / "out")]
    assert {"source/good.wav", "good.wav", "good.wav~2"} < set(ids)
    assert done.failures == failures.count("\n") == 8
    assert all(name.startswith(("source/good", "source/cut/", "good.wav")) for name in ids)


def deep(folder: Path) -> Path:
    """A tar file with the facts of a sample nested 200,000 levels deep."""
    tar_of(folder / "s.tar", {"0.json": b"[" * 200_000, "0.wav": file_of("a.wav")})
    return folder / "s.tar"


def damaged_header(folder: Path) -> Path:
    path = folder / "s.tar"
    places = tar_of(path, {f"{n}.wav": file_of("a.wav") for n in range(4)})
    content = bytearray(path.read_bytes())
    content[places["2.wav"] + 150] ^= 1  # the checksum
    path.write_bytes(content)
    return path


def negative_size(folder: Path) -> Path:
    path = folder / "s.tar"
    place = tar_of(path, {"0.txt": b"", "1.wav": file_of("a.wav"), "2.wav": b""})["2.wav"]
    content = bytearray(path.read_bytes())
    content[place + 124 : place + 136] = (256**12 - 512).to_bytes(12, "big")
    sums = tarfile.calc_chksums(bytes(content[place : place + 512]))  # pyright: ignore
    content[place + 148 : place + 156] = b"%06o\0 " % sums[0]
    path.write_bytes(content)
    return path


def large_size(folder: Path) -> Path:
    tar_of(folder / "s.tar", {"0.wav": file_of("a.wav")})
    path = folder / "list.csv"
    path.write_text("path,shard,offset,size\n0.wav,s.tar,512,99999999999999\n")
    return path


def packed(folder: Path) -> Path:
    """A folder with a compressed tar file."""
    tar_of(folder / "s.tar", {"0.wav": file_of("a.wav")})
    (folder / "in").mkdir()
    (folder / "in" / "s.tar.gz").write_bytes(gzip.compress((folder / "s.tar").read_bytes()))
    return folder / "in"


def links(folder: Path) -> Path:
    """A tar file with a hard and a symbolic link."""
    path = folder / "s.tar"
    tar_of(path, {"0.wav": file_of("a.wav")})
    with tarfile.open(path, "a") as tar:
        for name, kind in (("1.wav", tarfile.LNKTYPE), ("2.wav", tarfile.SYMTYPE)):
            about = tarfile.TarInfo(name)
            about.type, about.linkname = kind, "0.wav"
            tar.addfile(about)
    return path


def linked_folder(folder: Path) -> Path:
    """A folder with a link to another folder."""
    for name in ("in", "other"):
        (folder / name).mkdir()
        (folder / name / "0.wav").write_bytes(file_of("a.wav"))
    (folder / "in" / "link").symlink_to(folder / "other")
    return folder / "in"


def column(*audio: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.table({"audio": [*audio]}), folder / "t.parquet")
        return folder / "t.parquet"

    return make


NO_AUDIO = "has no encoded audio: give a column audio of bytes"


@pytest.mark.parametrize(
    ("make", "ids", "reasons"),
    [
        (deep, ["s/0.wav"], []),
        (damaged_header, ["s/0.wav"], ["the header at byte 49152 is damaged"]),
        (negative_size, [], ["2.wav has a size of -512 bytes"]),
        (packed, [], ["it is a compressed tar file: decompress it, for example with gunzip"]),
        (lambda folder: packed(folder) / "s.tar.gz", [], ["it is a compressed tar file"]),
        (large_size, [], ["s.tar ends before 0.wav"]),
        (links, ["s/0.wav"], ["1.wav is a link to 0.wav: pack", "2.wav is a link to 0.wav: pack"]),
        (linked_folder, ["0.wav"], ["it is a link to a folder, which is not followed"]),
        (column(1, 2), [], [NO_AUDIO, NO_AUDIO]),
        (column("one", None), [], [NO_AUDIO, NO_AUDIO]),
        (column({"bytes": 5, "path": 3}), [], [NO_AUDIO]),
        (column(file_of("a.wav"), None), ["t/000000"], [NO_AUDIO]),
    ],
)
def test_a_source_from_anybody_ends_no_run(
    codec: chirrup.Codec,
    run: Run,
    tmp_path: Path,
    make: Callable[[Path], Path],
    ids: list[str],
    reasons: list[str],
) -> None:
    settings, out = tokens.settings_of(codec, 500, "npz"), tmp_path / "out"
    tokens.tokenize([str(make(tmp_path))], out, codec, settings, run)
    assert [row.id for row in tokens.open(out)] == ids
    path = out / "failures.jsonl"
    found = [*map(json.loads, path.read_text().splitlines())] if path.exists() else []
    assert len(found) == len(reasons)
    assert all(words in failure["reason"] for words, failure in zip(reasons, found))


# --- options -------------------------------------------------------------------------------------


def test_segments_and_channels_are_signals_of_their_own(
    corpus: Path, codec: chirrup.Codec, run: Run, tmp_path: Path
) -> None:
    settings = tokens.settings_of(codec, 1000, "npz", separate=True, segment_seconds=0.2)
    source = str(corpus / "p1" / "b.flac")
    tokens.tokenize([source], tmp_path / "tokens", codec, settings, run)
    rows = list(tokens.open(tmp_path / "tokens"))
    assert [row.id for row in rows] == [
        *("b.flac#0000#c0", "b.flac#0000#c1", "b.flac#0001#c0", "b.flac#0001#c1")
    ]
    audio, _ = soundfile.read(source, dtype="float32")
    assert np.abs(audio - recording("p1/b.flac")).max() < 1e-3
    for row in rows:
        start = round(row.start_s * 48_000)
        part = audio[start : start + round(row.duration_s * 48_000), row.channel]
        assert np.array_equal(row.codes, codec.encode(part, 1000, sample_rate_hz=48_000).data)
    assert [row.start_s for row in rows] == [0, 0, 0.2, 0.2]
