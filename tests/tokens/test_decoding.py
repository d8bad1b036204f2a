"""`detokenize`: audio of the rows of a data set, which may come from anybody."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup import tokens
from chirrup.cli import run as cli
from chirrup.data.workers import Run
from chirrup.tokens import decoding
from token_samples import recording


def test_audio_is_decoded_with_its_rate_and_length(
    corpus: Path, codec: chirrup.Codec, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    made, out = tmp_path / "tokens", tmp_path / "audio"
    assert cli(["tokenize", str(corpus), "--out", str(made), "--format", "shar", "-q"]) == 2
    assert cli(["detokenize", str(made), "--out", str(out), "--format", "flac"]) == 0
    assert "4 files, " in capfd.readouterr().err
    for row in tokens.open(made):
        audio, rate_hz = soundfile.read(out / f"{row.id}.flac")
        assert rate_hz == row.sample_rate_hz
        assert len(audio) == len(recording(row.id))
        if rate_hz == codec.sample_rate_hz:
            expected = codec.decode(chirrup.Codes(row.codes, row.samples))
            assert np.abs(audio - expected).max() < 1e-4
    (out / "a.wav.flac").unlink()
    assert cli(["detokenize", str(made), "--out", str(out), "--format", "flac"]) == 0
    assert "1 file, 0.50 s; 3 skipped because they exist" in capfd.readouterr().err
    native = ["--native-rate", "--force", "--format", "flac"]
    assert cli(["detokenize", str(made), "--out", str(out), *native]) == 0
    assert soundfile.info(out / "p1" / "b.flac.flac").frames == 8_500


@pytest.mark.parametrize("model", chirrup.models())
def test_every_model_tokenizes_and_decodes(
    corpus: Path, run: Run, tmp_path: Path, model: str
) -> None:
    codec = chirrup.load(model)
    settings = tokens.settings_of(codec, None, "npz")
    tokens.tokenize([str(corpus / "p1" / "c.flac")], tmp_path / "out", codec, settings, run)
    data = tokens.open(tmp_path / "out")
    audio, rate_hz = soundfile.read(corpus / "p1" / "c.flac", dtype="float32")
    assert np.array_equal(data[0].codes, codec.encode(audio, sample_rate_hz=rate_hz).data)
    done = tokens.detokenize(data, tmp_path / "audio", codec, run)
    assert (done.files, done.failures) == (1, 0)
    assert soundfile.info(tmp_path / "audio" / "c.flac.wav").frames == len(audio)


def test_a_stereo_model_codes_both_channels(corpus: Path, run: Run, tmp_path: Path) -> None:
    codec = chirrup.load("spectro-small")
    settings = tokens.settings_of(codec, 2750, "npz")
    source = str(corpus / "p1" / "b.flac")
    tokens.tokenize([source, str(corpus / "a.wav")], tmp_path / "out", codec, settings, run)
    data = tokens.open(tmp_path / "out")
    assert [row.codes.shape[0] for row in data] == [11, 11]
    tokens.detokenize(data, tmp_path / "audio", codec, run)
    shapes = [soundfile.read(tmp_path / "audio" / name)[0].shape for name in NAMES]
    assert shapes == [(17_000, 2), (12_000,)]


NAMES = ["p1/b.flac.wav", "a.wav.wav"]


def with_columns(folder: Path, **columns: list[Any]) -> None:
    """Replace columns of a data set of one npz shard."""
    shard = folder / "shards" / "tokens-000000.npz"
    with np.load(shard) as arrays:
        np.savez(shard, **{**arrays, **{name: np.array(x) for name, x in columns.items()}})
    if "id" in columns:
        (folder / "ids.txt").write_text("".join(f"{name}\n" for name in columns["id"]))


@pytest.fixture(scope="module")
def made(
    corpus: Path, codec: chirrup.Codec, run: Run, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    settings, out = tokens.settings_of(codec, 500, "npz"), tmp_path_factory.mktemp("made")
    sources = [str(corpus / name) for name in ("a.wav", "p1/c.flac")]
    tokens.tokenize(sources, out, codec, settings, run)
    return out


@pytest.fixture
def two_rows(made: Path, tmp_path: Path) -> Path:
    """A data set of two rows of 12,000 and 33,000 samples at 24 kHz."""
    return Path(shutil.copytree(made, tmp_path / "tokens"))


NO_NAME = "is not a file name in the folder of the outputs"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../out", NO_NAME),
        ("/out", NO_NAME),
        ("a/../../out", NO_NAME),
        ("", NO_NAME),
        ("dir/", NO_NAME),
        ("x" * 252, "File name too long"),
        ("a/" * 2000, NO_NAME),
        ("a/" * 2000 + "b", NO_NAME),
        ("good.wav/x", "exists"),
        ("./good", "an earlier row has the same id"),
    ],
)
def test_an_id_that_is_no_file_name_is_a_failure_of_its_row(
    two_rows: Path, codec: chirrup.Codec, run: Run, tmp_path: Path, name: str, reason: str
) -> None:
    with_columns(two_rows, id=["good", name])
    done = tokens.detokenize(tokens.open(two_rows), tmp_path / "audio", codec, run)
    assert (done.files, done.skipped, done.failures) == (1, 0, 1)
    (failure,) = map(json.loads, (tmp_path / "audio" / "failures.jsonl").read_text().splitlines())
    assert failure["id"] == name
    assert reason in failure["reason"]
    assert sorted(os.listdir(tmp_path)) == ["audio", "tokens"]
    files = [path.name for path in (tmp_path / "audio").rglob("*") if path.is_file()]
    assert sorted(files) == ["failures.jsonl", "good.wav"]


@pytest.mark.parametrize(
    ("columns", "ending", "reason"),
    [
        ({"channels": [1, 0]}, "wav", "channels is 0"),
        (
            {"id": ["a.wav", "other"]},
            "wav",
            "row 1 has the id 'p1/c.flac' in its shard and 'other'",
        ),
        ({"sample_rate_hz": [24_000, 1_000_008]}, "flac", "a sample rate of 1000008 Hz is not"),
        ({"sample_rate_hz": [24_000, 44_100]}, "opus", "OGG cannot hold 1 channel at 44100 Hz"),
    ],
)
def test_a_row_that_cannot_be_written_does_not_end_the_run(
    two_rows: Path,
    codec: chirrup.Codec,
    run: Run,
    tmp_path: Path,
    columns: dict[str, Any],
    ending: str,
    reason: str,
) -> None:
    names = columns.pop("id", None)
    if "sample_rate_hz" in columns:  # the length stays
        rate_hz = columns["sample_rate_hz"][1]
        columns["duration_s"] = [0.5, 33_000 * rate_hz // 24_000 / rate_hz]
    with_columns(two_rows, **columns)
    if names:
        (two_rows / "ids.txt").write_text("".join(f"{name}\n" for name in names))
    out = tmp_path / "audio"
    done = tokens.detokenize(tokens.open(two_rows), out, codec, run, ending=ending)
    assert (done.files, done.failures) == (1, 1)
    assert reason in (out / "failures.jsonl").read_text()


def test_a_full_disk_ends_the_run(
    two_rows: Path,
    codec: chirrup.Codec,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any) -> None:
        error = OSError(errno.ENOSPC, "No space left on device")
        raise chirrup.FileError("audio cannot be written: No space left") from error

    monkeypatch.setattr(decoding, "_write", full)
    with pytest.raises(chirrup.FileError, match="audio cannot be written: No space left"):
        tokens.detokenize(tokens.open(two_rows), tmp_path / "audio", codec, run)


def test_damaged_ids_are_a_clear_error(
    two_rows: Path, codec: chirrup.Codec, run: Run, tmp_path: Path
) -> None:
    (two_rows / "ids.txt").write_text("a.wav\n")
    with pytest.raises(chirrup.FileError, match=r"ids\.txt has 1 ids of 2 rows: it is damaged"):
        tokens.detokenize(tokens.open(two_rows), tmp_path / "audio", codec, run)
    (two_rows / "ids.txt").unlink()
    with pytest.raises(chirrup.FileError, match=r"ids\.txt cannot be read"):
        tokens.open(two_rows)["a.wav"]


def test_another_model_or_other_weights_are_refused(
    corpus: Path, codec: chirrup.Codec, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tokens.settings_of(codec, 1000, "npz")
    tokens.tokenize([str(corpus / "a.wav")], tmp_path / "tokens", codec, settings, run)
    data: Any = tokens.open(tmp_path / "tokens")
    other = chirrup.load("lrac-t1")
    with pytest.raises(chirrup.FileError, match="codes of iris-t1, which lrac-t1 cannot decode"):
        tokens.detokenize(data, tmp_path / "out", other, run)
    changed = chirrup.load("iris-t1")
    changed.codes_sha256 = "0" * 64
    with pytest.raises(chirrup.FileError, match="codes of other weights of iris-t1"):
        tokens.detokenize(data, tmp_path / "out", changed, run)
    tokens.detokenize(data, tmp_path / "out", changed, run, any_weights=True)
    assert (tmp_path / "out" / "a.wav.wav").is_file()
