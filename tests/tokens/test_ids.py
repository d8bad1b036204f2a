"""Ids: each row of a data set has its own, in all shards, whatever the names of the sources are."""

import json
import tarfile
from pathlib import Path

import pytest

import chirrup
from chirrup import tokens
from chirrup.cli import run as cli
from chirrup.data.workers import Run
from chirrup.tokens.ids import DistinctIds, id_of
from token_samples import file_of, tar_of

TWINS = ("a.wav", "p1/c.flac")
"""Two recordings of different lengths."""


@pytest.fixture
def twins(tmp_path: Path) -> list[str]:
    """Two folders of one name with recordings of the same names."""
    folders = [tmp_path / place / "clips" for place in ("one", "two")]
    for folder, content in zip(folders, TWINS):
        folder.mkdir(parents=True)
        for name in ("x.wav", "y.wav"):
            (folder / name).write_bytes(file_of(content))
    return [str(folder) for folder in folders]


@pytest.mark.parametrize("form", ["npz", "webdataset"])
def test_recordings_of_one_name_are_kept_in_all_shards(
    twins: list[str], codec: chirrup.Codec, run: Run, tmp_path: Path, form: str
) -> None:
    settings, out = tokens.settings_of(codec, 500, form), tmp_path / "out"
    done = tokens.tokenize(twins, out, codec, settings, run, shard_recordings=1)
    assert (done.rows, done.failures, done.renamed) == (4, 0, 2)
    data = tokens.open(out)
    names = ["clips/x.wav", "clips/y.wav", "clips/x.wav~2", "clips/y.wav~2"]
    assert [row.id for row in data] == names
    assert [row.path for row in data] == 2 * names[:2]
    shard = next((out / "shards").glob("*1.*"))
    shard.unlink()
    done = tokens.tokenize(twins, out, codec, settings, run, shard_recordings=1)
    assert (done.renamed, [row.id for row in data]) == (2, names)
    tokens.detokenize(data, tmp_path / "audio", codec, run)
    sizes = [(tmp_path / "audio" / f"{name}.wav").stat().st_size for name in names]
    assert sizes[0] == sizes[1] < sizes[2] == sizes[3]


def test_the_command_states_that_ids_were_taken(
    twins: list[str], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    assert cli(["tokenize", *twins, "--out", str(tmp_path / "out"), "--format", "npz"]) == 0
    assert "2 recordings got another id, such as NAME~2, because" in capfd.readouterr().err


def test_keys_of_webdataset_differ_in_all_shards(
    codec: chirrup.Codec, run: Run, tmp_path: Path
) -> None:
    for name in ("a.b.wav", "a_b.wav"):
        (tmp_path / name).write_bytes(file_of("a.wav"))
    settings, out = tokens.settings_of(codec, 500, "webdataset"), tmp_path / "out"
    source = str(tmp_path / "*.wav")
    tokens.tokenize([source], out, codec, settings, run, shard_recordings=1)
    keys = []
    for shard in sorted((out / "shards").iterdir()):
        with tarfile.open(shard) as tar:
            keys += [name.partition(".")[0] for name in tar.getnames() if name.endswith(".json")]
    assert keys == ["a_b_wav", "a_b_wav~2"]


def test_a_name_like_a_segment_differs_from_the_segment(
    codec: chirrup.Codec, run: Run, tmp_path: Path
) -> None:
    for name in ("a", "a#0001", "a_0001"):
        (tmp_path / name).write_bytes(file_of("a.wav"))
    (tmp_path / "manifest.csv").write_text("path\na\na#0001\na_0001\n")
    settings = tokens.settings_of(codec, 500, "npz", segment_seconds=0.25)
    tokens.tokenize([str(tmp_path)], tmp_path / "out", codec, settings, run)
    ids = [row.id for row in tokens.open(tmp_path / "out")]
    names = ("a", "a_0001", "a_0001~2")
    assert ids == [f"{name}#000{n}" for name in names for n in range(2)]


def test_ids_by_hand() -> None:
    ids = DistinctIds()
    given = ["x", "x~2", "x", "x", "y", "x.a", "x_a", "x"]
    assert [*map(ids.distinct, given)] == ["x", "x~2", "x~3", "x~4", "y", "x.a", "x_a~2", "x~5"]
    assert ids.changed == 4
    names = ["/a/../b.wav", "a\nb", "a#c1", "a#0001#c1", "a#c1.wav", "\udcff"]
    assert [*map(id_of, names)] == ["a/b.wav", "a_b", "a_c1", "a#0001_c1", "a#c1.wav", "\\udcff"]


def test_each_audio_file_of_a_sample_is_a_recording(
    codec: chirrup.Codec, run: Run, tmp_path: Path
) -> None:
    """The names of a folder may have dots, so that webdataset takes them for one sample."""
    texts = {f"p.{n}.json": json.dumps({"text": f"text {n}"}).encode() for n in (1, 2)}
    audio = {f"p.{n}.wav": file_of("a.wav") for n in (1, 2, 3)}
    tar_of(tmp_path / "t.tar", {"p.json": b'{"speaker": "s"}', **texts, **audio})
    settings, out = tokens.settings_of(codec, 500, "npz"), tmp_path / "out"
    tokens.tokenize([str(tmp_path / "t.tar")], out, codec, settings, run)
    found = [(row.id, row.speaker, row.text) for row in tokens.open(out)]
    expected = {1: "text 1", 2: "text 2", 3: ""}
    assert found == [(f"t/p.{n}.wav", "s", text) for n, text in expected.items()]
