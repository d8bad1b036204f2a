"""Data sets, read by Chirrup and by the libraries that own the formats."""

import gc
import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chirrup
from chirrup import tokens
from chirrup.data.workers import Run
from chirrup.tokens import formats, making
from chirrup.tokens.formats import FORMATS
from chirrup.tokens.layouts import LAYOUTS, flatten, unflatten
from token_samples import file_of, tar_of

UNCLOSED = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def data_sets(
    tar: Path, codec: chirrup.Codec, run: Run, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Path]:
    """Data sets of all formats and layouts, in shards of three recordings."""
    root = tmp_path_factory.mktemp("data-sets")
    made = {}
    for form in FORMATS:
        if form == "parquet":
            pytest.importorskip("pyarrow")
        for layout in LAYOUTS:
            settings = tokens.settings_of(codec, 1500, form, layout)
            folder = root / f"{form}-{layout}"
            done = tokens.tokenize([str(tar)], folder, codec, settings, run, shard_recordings=3)
            assert (done.rows, done.failures) == (4, 0)
            made[form, layout] = folder
    return made


@pytest.fixture(scope="module")
def reference(data_sets: dict[tuple[str, str], Path]) -> list[tokens.Row]:
    return list(tokens.open(data_sets["npz", "none"]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", FORMATS)
def test_all_forms_have_the_same_rows(
    data_sets: dict[tuple[str, str], Path], reference: list[tokens.Row], form: str, layout: str
) -> None:
    data = tokens.open(data_sets[form, layout])
    for number, (row, expected) in enumerate(zip(data, reference, strict=True)):
        assert row.facts() == expected.facts()
        assert row.codes.dtype == np.int16
        assert np.array_equal(row.codes, expected.codes)
        assert np.array_equal(data.codes(number, 0.1, 0.3), row.codes[:, 5:15])
        assert np.array_equal(data.codes(number, 0.019, 0.119), row.codes[:, :5])
        assert data.frames[number] == row.codes.shape[1]
        assert np.array_equal(data.stored(number), flatten(row.codes, 1024, data.settings.flatten))
    again = pickle.loads(pickle.dumps(data))
    assert again[reference[2].id].text == again[-2].text == "text of p1/c.flac"
    with pytest.raises(IndexError, match="no row 4: there are 4"):
        data[4]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", FORMATS)
def test_a_change_of_an_array_changes_no_data(
    data_sets: dict[tuple[str, str], Path], form: str, layout: str
) -> None:
    data = tokens.open(data_sets[form, layout])
    for read in (data.stored, data.codes, lambda row: data[row].codes):
        before = read(1).copy()
        read(1)[...] = 0
        assert np.array_equal(read(1), before)


def test_a_row_is_chosen_by_its_number_or_id(data_sets: dict[tuple[str, str], Path]) -> None:
    data: Any = tokens.open(data_sets["npz", "none"])
    for row in (1, np.int64(1), -len(data) + 1, data[1].id):
        assert np.array_equal(data[row].codes, data[1].codes)
        assert np.array_equal(data.codes(row), data[1].codes)
    for row, error in ((slice(0, 2), TypeError), (1.0, TypeError), (99, IndexError)):
        for read in (data.__getitem__, data.codes, data.stored):
            with pytest.raises(error, match=r"a row is a number or an id, not|no row 99"):
                read(row)
    with pytest.raises(KeyError, match="none"):
        data["none"]
    for times in ((np.inf,), (0.0, np.inf), (np.nan,)):
        with pytest.raises(ValueError, match=r"the time is (inf|nan) s, must be a finite number"):
            data.codes(0, *times)


def test_rows_have_the_facts_of_the_source(
    reference: list[tokens.Row], codec: chirrup.Codec
) -> None:
    row = reference[1]
    assert (row.id, row.speaker, row.text) == ("shard-0/p1/b.flac", "s1", "text of p1/b.flac")
    assert (row.sample_rate_hz, row.channels, row.channel) == (48_000, 2, -1)
    assert (row.start_s, row.duration_s, row.samples) == (0, 17_000 / 48_000, 8_500)
    assert row.codes.shape == (3, 19)


def test_parquet_is_read_by_pyarrow_and_datasets(
    data_sets: dict[tuple[str, str], Path], reference: list[tokens.Row], tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    files = sorted((data_sets["parquet", "none"] / "shards").glob("*.parquet"))
    assert len(files) == 2
    rows = [row for file in files for row in parquet.read_table(file).to_pylist()]
    for row, expected in zip(rows, reference, strict=True):
        assert np.array_equal(row["codes"], expected.codes)
        assert row["bitrate_bps"] == 1500
        assert (row["id"], row["text"]) == (expected.id, expected.text)
    datasets = pytest.importorskip("datasets")
    names = [str(file) for file in files]
    loaded: Any = datasets.Dataset.from_parquet(names, cache_dir=str(tmp_path))
    for row, expected in zip(loaded.with_format("numpy"), reference, strict=True):
        assert np.array_equal(np.stack(row["codes"]), expected.codes)
    flat = parquet.read_table(data_sets["parquet", "offset"] / "shards" / names[0].split("/")[-1])
    assert flat["codes"][0].as_py() == flatten(reference[0].codes, 1024, "offset").tolist()


@UNCLOSED
def test_webdataset_reads_its_shards(
    data_sets: dict[tuple[str, str], Path], reference: list[tokens.Row]
) -> None:
    """It leaves the shards open."""
    webdataset = pytest.importorskip("webdataset")
    urls = str(data_sets["webdataset", "none"] / "shards" / "tokens-{000000..000001}.tar")
    found = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    for sample, expected in zip(found, reference, strict=True):
        assert np.array_equal(sample["codes.npy"], expected.codes)
        assert sample["json"]["id"] == expected.id
        assert sample["__key__"] == expected.id.replace(".", "_")
    gc.collect()


@UNCLOSED
@pytest.mark.parametrize("layout", LAYOUTS)
def test_lhotse_reads_shar(
    data_sets: dict[tuple[str, str], Path], reference: list[tokens.Row], layout: Any
) -> None:
    lhotse = pytest.importorskip("lhotse")
    cuts = lhotse.CutSet.from_shar(in_dir=data_sets["shar", layout] / "shards")
    for cut, row in zip(cuts, reference, strict=True):
        codes = cut.load_codes().T if layout == "none" else cut.load_codes()
        assert np.array_equal(codes, flatten(row.codes, 1024, layout))
        assert (cut.id, cut.sample_rate_hz) == (row.id, row.sample_rate_hz)
        (speech,) = cut.supervisions
        assert (speech.speaker, speech.text) == (row.speaker, row.text)
        if layout == "none":
            part = cut.truncate(offset=0.1, duration=0.2)
            assert np.array_equal(part.load_codes().T, row.codes[:, 5:15])
    gc.collect()


def test_numpy_reads_npz(
    data_sets: dict[tuple[str, str], Path], reference: list[tokens.Row]
) -> None:
    with np.load(data_sets["npz", "delay"] / "shards" / "tokens-000000.npz") as arrays:
        start, stop = arrays["starts"][1:3]
        stored = arrays["codes"][:, start:stop]
        assert str(arrays["id"][1]) == reference[1].id
    assert np.array_equal(unflatten(stored, 1024, "delay", 3), reference[1].codes)


def test_the_empty_places_of_the_layout_delay_are_checked() -> None:
    arranged = flatten(np.array([[1, 2, 3], [4, 5, 6]]), 1024, "delay")
    for row, column in ((0, 3), (1, 0)):
        wrong = arranged.copy()
        wrong[row, column] = 7
        with pytest.raises(ValueError, match="an empty place has another code than 1024"):
            unflatten(wrong, 1024, "delay", 2)
    assert unflatten(np.full((3, 2), 1024), 1024, "delay", 3).shape == (3, 0)
    with pytest.raises(ValueError, match="codebook_size must be an integer from 1 to 65536"):
        flatten(np.zeros((2, 1), np.int64), 1 << 31, "offset")


def test_long_texts_take_the_memory_of_their_bytes(
    tar: Path,
    codec: chirrup.Codec,
    run: Run,
    reference: list[tokens.Row],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(formats.npz, "MOST_TEXT_BYTES", 4 * 4 * len("shard-0/p1/b.flac") - 1)
    settings = tokens.settings_of(codec, 1500, "npz")
    tokens.tokenize([str(tar)], tmp_path, codec, settings, run)
    assert [row.facts() for row in tokens.open(tmp_path)] == [row.facts() for row in reference]
    with np.load(tmp_path / "shards" / "tokens-000000.npz") as arrays:
        start, stop = arrays["id_starts"][1:3]
        assert arrays["id"][start:stop].tobytes().decode() == "shard-0/p1/b.flac"
        assert arrays["speaker"].tolist() == ["s0", "s1", "s2", "s3"]


@pytest.mark.parametrize("form", ["npz", "webdataset"])
def test_a_text_that_ends_with_nul_is_kept(
    codec: chirrup.Codec, run: Run, tmp_path: Path, form: str
) -> None:
    facts = json.dumps({"text": "end\0", "speaker": "\0"}).encode()
    tar_of(tmp_path / "s.tar", {"a.wav": file_of("a.wav"), "a.json": facts})
    settings = tokens.settings_of(codec, 500, form)
    tokens.tokenize([str(tmp_path / "s.tar")], tmp_path / "out", codec, settings, run)
    row = tokens.open(tmp_path / "out")[0]
    assert (row.text, row.speaker) == ("end\0", "\0")


def test_long_texts_end_a_shard(
    tar: Path, codec: chirrup.Codec, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "SHARD_CHARACTERS", len("text of a.wav" + "text of p1/b.flac"))
    settings = tokens.settings_of(codec, 500, "npz")
    tokens.tokenize([str(tar)], tmp_path, codec, settings, run)
    assert tokens.open(tmp_path).index["shard"].tolist() == [0, 0, 1, 1]


# --- layouts -------------------------------------------------------------------------------------


def test_layouts_by_hand() -> None:
    codes = np.array([[1, 2, 3], [4, 5, 6]], np.int16)
    assert flatten(codes, 10, "delay").tolist() == [[1, 2, 3, 10], [10, 4, 5, 6]]
    assert flatten(codes, 10, "offset").tolist() == [1, 14, 2, 15, 3, 16]
    assert flatten(codes, 1 << 15, "delay").dtype == np.int32


@pytest.mark.parametrize(
    ("given", "layout", "words"),
    [
        (np.zeros(5, int), "offset", "not whole frames of 2 codebooks"),
        (np.zeros((3, 5), int), "delay", r"must be \[2, frames\]"),
        (np.full((2, 5), 10), "none", "not in the layout 'none' of 10 codes"),
        (np.zeros(4, int), "offset", "not in the layout 'offset'"),
        (np.zeros(4, int), "flat", "no layout 'flat'"),
    ],
)
def test_tokens_in_another_layout_are_refused(given: np.ndarray, layout: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        unflatten(given, 10, layout, 2)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("given", "size", "words"),
    [
        ([[1, -1]], 10, "codes are from -1 to 1, must be from 0 to 9 without absent codes"),
        ([[1, 10]], 10, "codes are from 1 to 10, must be from 0 to 9"),
        ([[0.5]], 10, "codes must be integers"),
        ([1, 2], 10, "codes must be integers"),
        ([[[1, 2]]], 10, r"codes are \[1, 1, 2\], must be \[codebooks, frames\]: one stream"),
        ([[1, 2]], 0, "codebook_size must be an integer from 1 to 65536, not 0"),
    ],
)
def test_codes_that_have_no_layout_are_refused(
    layout: Any, given: Any, size: int, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        flatten(np.array(given), size, layout)
    with pytest.raises(ValueError, match="codebooks must be an integer from 1 to 65536, not 0"):
        unflatten(np.zeros(4, int), 10, layout, 0)


def test_codes_of_a_codec_have_a_layout(codec: chirrup.Codec) -> None:
    codes = codec.encode(np.zeros(480, np.float32), 1000)
    tokens = flatten(codes, codec.codebook_size, "offset")
    assert np.array_equal(unflatten(tokens, codec.codebook_size, "offset", 2), codes.data)


# --- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("dataset.json", b"{", "dataset.json cannot be read"),
        ("dataset.json", b"[" * 9999, "dataset.json cannot be read: RecursionError"),
        ("dataset.json", b"[]", "is not of version 1"),
        ("dataset.json", b'{"version": 1}', "dataset.json is damaged: KeyError"),
        ("dataset.json", (b'"frame_samples": 480', b'"frame_samples": 0'), "frame_samples is 0"),
        ("dataset.json", (b'"codebooks": 1', b'"codebooks": "1"'), "codebooks is '1'"),
        ("dataset.json", (b'"npz"', b'"zip"'), "dataset.json is damaged: KeyError"),
        ("dataset.json", (b'"rows": 1,', b'"rows": "1",'), "is damaged"),
        ("dataset.json", (b'"seconds": 0.5,', b'"seconds": %d,' % 10**400), "Overflow"),
        ("dataset.json", None, "has no dataset.json: give a folder of chirrup tokenize"),
        ("index.npy", b"", "index.npy cannot be read"),
        ("index.npy", (b"}", b" "), "index.npy cannot be read"),
        ("index.npy", b"PK\3\4", "index.npy cannot be read"),
        ("ids.txt", None, "ids.txt cannot be read"),
        ("ids.txt", b"\xff", "ids.txt cannot be read"),
        ("shards/tokens-000000.npz", b"PK", "cannot be read as a shard"),
        ("shards/tokens-000000.npz", (b"-\3-\0", b"-\3c\0"), "cannot be read as a shard"),
        ("shards/tokens-000000.npz", None, "cannot be read as a shard"),
    ],
)
def test_a_damaged_data_set_is_a_clear_error(
    corpus: Path,
    codec: chirrup.Codec,
    run: Run,
    tmp_path: Path,
    name: str,
    content: bytes | tuple[bytes, bytes] | None,
    words: str,
) -> None:
    folder, settings = tmp_path / "tokens", tokens.settings_of(codec, 500, "npz")
    tokens.tokenize([str(corpus / "a.wav")], folder, codec, settings, run)
    whole = (folder / name).read_bytes()
    (folder / name).unlink()
    if isinstance(content, tuple):
        content = whole.replace(*content)
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(chirrup.FileError, match=words):
        tokens.open(folder)["a.wav"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("shard", 9), ("codes", 2**63), ("codes", 3), ("frames", 25), ("samples", 11_999)],
)
def test_a_damaged_index_is_a_clear_error(
    corpus: Path, codec: chirrup.Codec, run: Run, tmp_path: Path, field: str, value: int
) -> None:
    folder, settings = tmp_path / "tokens", tokens.settings_of(codec, 500, "webdataset")
    tokens.tokenize([str(corpus / "a.wav")], folder, codec, settings, run)
    index = np.load(folder / "index.npy")
    index[field] = value
    np.save(folder / "index.npy", index)
    with pytest.raises(
        chirrup.FileError, match=r"row 0 of .* is damaged|cannot be read as a shard"
    ):
        tokens.open(folder)[0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"samples": 12000', '"samples": "nine"', "row 0 .* damaged: .*samples is 'nine'"),
        ('"duration_s": 0.5', '"duration_s": NaN', "row 0 .* damaged: .*duration_s is nan"),
        ('"speaker": ""', '"speaker": 7 ', "row 0 .* damaged: .*speaker is 7"),
        ('"path": "a.wav"', '"bath": "a.wav"', "row 0 .* damaged: KeyError"),
        ('"duration_s": 0.5', '"duration_s": 0.7', "row 0 .*samples is 12000, but duration_s"),
        ('"samples": 12000', '"samples": 11999', "row 0 .*samples is 11999, but duration_s"),
        ('"start_s": 0.0', '"start_s": -1 ', "row 0 .*start_s is -1"),
        ('"channels": 1', '"channels": 0', "row 0 .*channels is 0"),
        ('"channel": -1', '"channel": 1 ', "row 0 .*channel is 1 of 1"),
        ('"sample_rate_hz": 24000', '"sample_rate_hz": 0    ', "row 0 .*sample_rate_hz is 0"),
        ("(1, 26)", "(1, 25)", "row 0 .* damaged: it has 25 frames, but index.npy states 26"),
        ("'<i2'", "'<f2'", "row 0 .* damaged: tokens are float16, must be integers"),
        ("(1, 26)", "(9, 26)", r"row 0 .* damaged: tokens are \[9, 26\], must be"),
    ],
)
def test_a_damaged_row_is_a_clear_error(
    corpus: Path, codec: chirrup.Codec, run: Run, tmp_path: Path, old: str, new: str, words: str
) -> None:
    """Names and numbers in a data set may come from anybody."""
    folder, settings = tmp_path / "tokens", tokens.settings_of(codec, 500, "webdataset")
    tokens.tokenize([str(corpus / "a.wav")], folder, codec, settings, run)
    path = folder / "shards" / "tokens-000000.tar"
    assert path.read_bytes().count(old.encode()) == 1
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))
    with pytest.raises(chirrup.FileError, match=words):
        tokens.open(folder)[0]


def test_cuts_that_expand_too_much_are_a_clear_error(
    corpus: Path, codec: chirrup.Codec, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats.tar, "MOST_CUTS_BYTES", 10_000)
    settings = tokens.settings_of(codec, 500, "shar")
    tokens.tokenize([str(corpus / "a.wav")], tmp_path, codec, settings, run)
    assert tokens.open(tmp_path)[0].id == "a.wav"
    (tmp_path / "shards" / "cuts.000000.jsonl.gz").write_bytes(gzip.compress(bytes(1_000_000)))
    with pytest.raises(chirrup.FileError, match=r"as a shard of tokens: it has more than .* bytes"):
        tokens.open(tmp_path)[0]


@pytest.mark.parametrize("frames", [24, 90])
def test_other_codes_than_of_the_samples_are_a_clear_error(
    corpus: Path, codec: chirrup.Codec, run: Run, tmp_path: Path, frames: int
) -> None:
    """0.5 s of the codec have 26 frames."""
    folder, settings = tmp_path / "tokens", tokens.settings_of(codec, 500, "npz")
    tokens.tokenize([str(corpus / "a.wav")], folder, codec, settings, run)
    index = np.load(folder / "index.npy")
    index["frames"] = frames
    np.save(folder / "index.npy", index)
    shard = folder / "shards" / "tokens-000000.npz"
    with np.load(shard) as arrays:
        codes, starts = np.zeros((1, frames), np.int16), np.array([0, frames])
        np.savez(shard, **{**arrays, "codes": codes, "starts": starts})
    with pytest.raises(chirrup.FileError, match=f"samples is 12000, but the codes have {frames}"):
        tokens.open(folder)[0]


def test_dataset_json_states_what_the_codes_are(
    data_sets: dict[tuple[str, str], Path], codec: chirrup.Codec
) -> None:
    about = json.loads((data_sets["npz", "delay"] / "dataset.json").read_text())
    expected = {"model": "iris-t1", "weights_sha256": codec.codes_sha256, "bitrate_bps": 1500}
    expected |= {"codebooks": 3, "codebook_size": 1024, "rows": 4, "flatten": "delay"}
    assert {key: about[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (None, "damaged"),
        ([3], "codes are int64"),
        ([None], "codes are null, or missing"),
        ([[[1, 2], [3]]], "cannot reshape"),
        ([[["a"], ["b"]]], "must be integers"),
        ([[[None, 2], [3, 4]]], "must be integers"),
        ([[[2000, 2]]], "not in the layout 'none' of 1024 codes"),
    ],
)
def test_damaged_codes_in_parquet_are_a_clear_error(
    corpus: Path, codec: chirrup.Codec, run: Run, tmp_path: Path, codes: Any, words: str
) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder, settings = tmp_path / "tokens", tokens.settings_of(codec, 500)
    tokens.tokenize([str(corpus / "a.wav")], folder, codec, settings, run)
    path = folder / "shards" / "tokens-000000.parquet"
    table = parquet.read_table(path).drop_columns(["codes"])
    if codes is not None:
        table = table.append_column("codes", arrow.array(codes))
    parquet.write_table(table, path)
    data = tokens.open(folder)
    for read in (data.codes, data.__getitem__):
        with pytest.raises(chirrup.FileError, match=words):
            read(0)
