"""Preparation of a small corpus: written files and refused recordings."""

import csv
import gc
import io
import json
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chirrup.data.manifest import Entry, read_manifest
from chirrup.data.prepare import prepare
from chirrup.errors import FileError
from chirrup.files.drafts import only_one
from data_samples import RATE_HZ, here, noise, room, talk, write
from prepared import FACTS, assert_same, entries, recipe

pytest.importorskip("pyloudnorm")
pytest.importorskip("matplotlib")


def samples(entry: Entry) -> tuple[np.ndarray, int]:
    with entry.open() as file:
        return soundfile.read(file)


def test_the_manifest_tells_of_every_recording(corpus: Path) -> None:
    rows = entries(corpus)
    kinds = Counter(entry.facts["kind"] for entry in rows)
    assert kinds == {"speech": 12, "noise": 4, "rir": 2}
    for entry in rows:
        facts = entry.facts
        audio, rate_hz = samples(entry)
        assert rate_hz == int(facts["sample_rate_hz"]) == 8000
        assert len(audio) == round(float(facts["seconds"]) * rate_hz)
        assert entry.path.startswith(f"{facts['kind']}_{facts['split']}/")
        assert facts["licence"] == "CC0-1.0"
        assert int(facts["original_sample_rate_hz"]) == RATE_HZ
        assert Path(facts["original"]).is_file()
    speech = [entry.facts for entry in rows if entry.facts["kind"] == "speech"]
    assert {facts["language"] for facts in speech} == {"en"}
    assert all(float(facts["snr_db"]) > 20 for facts in speech)
    noises = [entry.facts for entry in rows if entry.facts["kind"] == "noise"]
    assert {facts["category"] for facts in noises} == {"kind0", "kind1"}
    assert not {"snr_db", "rt60_s"} & set(noises[0])


def test_the_audio_is_that_of_the_source_at_the_new_rate(corpus: Path) -> None:
    entry = next(entry for entry in entries(corpus) if entry.facts["group"] == "talks:speaker0")
    original, _ = soundfile.read(entry.facts["original"])
    audio, _ = samples(entry)
    spectrum = np.fft.rfft(original)[: len(audio) // 2 + 1]
    expected = np.fft.irfft(spectrum, len(audio)) / 2
    error = np.square(audio - expected)[100:-100].mean() / np.square(expected).mean()
    assert error < 0.02


def test_splits_hold_whole_speakers(corpus: Path) -> None:
    splits: dict[str, set[str]] = {}
    for entry in entries(corpus):
        splits.setdefault(entry.facts["split"], set()).add(entry.facts["group"])
    assert set(splits) == {"train", "validation", "test"}
    groups = [group for found in splits.values() for group in found]
    assert len(groups) == len(set(groups))


def test_rooms_begin_with_their_direct_path_and_have_their_early_part_beside(
    corpus: Path,
) -> None:
    import tarfile

    rows = [entry for entry in entries(corpus) if entry.facts["kind"] == "rir"]
    for entry in rows:
        audio, rate_hz = samples(entry)
        assert np.abs(audio).argmax() == 0
        assert audio[0] == pytest.approx(1.0, abs=1e-4)
        assert float(entry.facts["rt60_s"]) == pytest.approx(0.3, rel=0.15)
        with tarfile.open(entry.folder / entry.shard) as tar:
            member = tar.extractfile(entry.path.replace(".flac", ".early.flac"))
            assert member is not None
            early, _ = soundfile.read(io.BytesIO(member.read()))
        assert len(early) == rate_hz // 20
        assert np.array_equal(early, audio[: len(early)])


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_webdataset_reads_the_shards(corpus: Path) -> None:
    """It leaves the shards open."""
    webdataset = pytest.importorskip("webdataset")
    rows = [entry for entry in entries(corpus) if entry.path.startswith("speech_train/")]
    shards = sorted({str(corpus / entry.shard) for entry in rows})
    assert len(shards) > 1
    found = {}
    for sample in webdataset.WebDataset(shards, shardshuffle=False, empty_check=False):
        audio, _ = soundfile.read(io.BytesIO(sample["flac"]))
        found[sample["__key__"]] = (audio, json.loads(sample["json"]))
    assert set(found) == {entry.path.removesuffix(".flac") for entry in rows}
    for entry in rows:
        audio, facts = found[entry.path.removesuffix(".flac")]
        assert np.array_equal(audio, samples(entry)[0])
        assert facts["group"] == entry.facts["group"]
        assert facts["snr_db"] == float(entry.facts["snr_db"])
    gc.collect()


def test_the_same_again_is_the_same(sources: list[str], corpus: Path, tmp_path: Path) -> None:
    """The corpus is equal byte by byte, also with worker processes."""
    from chirrup.data.workers import processes

    prepare(sources, tmp_path / "again", recipe(), processes(2), facts=FACTS)
    assert_same(tmp_path / "again", corpus)


def test_the_manifest_as_parquet(sources: list[str], corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    prepare(sources, tmp_path / "out", recipe(manifest="parquet"), here, facts=FACTS)
    assert not (tmp_path / "out" / "manifest.csv").exists()
    found = list(read_manifest(tmp_path / "out" / "manifest.parquet"))
    expected = entries(corpus)
    assert [entry.path for entry in found] == [entry.path for entry in expected]
    assert [(e.offset, e.size) for e in found] == [(e.offset, e.size) for e in expected]
    for ours, theirs in zip(found, expected):
        assert float(ours.facts["seconds"]) == float(theirs.facts["seconds"])
        assert ours.facts["sha256"] == theirs.facts["sha256"]


def test_files_in_place_of_shards(sources: list[str], corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    prepare(sources, folder, recipe(shard_minutes=0), here, facts=FACTS)
    found, expected = entries(folder), {entry.path: entry for entry in entries(corpus)}
    assert {entry.path for entry in found} == set(expected)
    for entry in found:
        assert entry.shard == ""
        data = (folder / entry.path).read_bytes()
        assert entry.facts["sha256"] == expected[entry.path].facts["sha256"]
        assert len(data) == int(expected[entry.path].size)
    assert not list(folder.rglob("*.tar"))
    assert len(list(folder.rglob("*.early.flac"))) == 2


def test_opus(sources: list[str], tmp_path: Path) -> None:
    output = {"speech": {"rate_hz": 16_000, "format": "opus"}}
    prepare(sources[:1], tmp_path / "out", recipe(output=output), here, facts=FACTS)
    entry = entries(tmp_path / "out")[0]
    audio, rate_hz = samples(entry)
    original, _ = soundfile.read(entry.facts["original"])
    assert entry.path.endswith(".opus")
    assert rate_hz == 16_000
    assert len(audio) == len(original)
    assert np.corrcoef(audio, original)[0, 1] > 0.9


def test_keep_copies_what_needs_no_change(sources: list[str], tmp_path: Path) -> None:
    """Recordings that need a change are written as FLAC."""
    output = {
        "speech": {"rate_hz": 0, "format": "keep"},
        "noise": {"rate_hz": 8000, "format": "keep"},
    }
    prepare(sources[:2], tmp_path / "out", recipe(output=output), here, facts=FACTS)
    for entry in entries(tmp_path / "out"):
        with entry.open() as file:
            data = file.read()
        if entry.facts["kind"] == "speech":
            assert data == Path(entry.facts["original"]).read_bytes()
            assert entry.path.endswith(".wav")
        else:
            assert data.startswith(b"fLaC")


def test_long_recordings_are_cut_into_pieces(tmp_path: Path) -> None:
    audio = talk(10) + 3e-4 * noise(10)
    write(tmp_path / "in" / "long.wav", audio)
    short = recipe(piece_seconds=4.0, output={"speech": {"rate_hz": 0}})
    prepare([f"speech:{tmp_path}/in"], tmp_path / "out", short, here, facts=FACTS)
    rows = sorted(entries(tmp_path / "out"), key=lambda entry: float(entry.facts["start_seconds"]))
    assert [float(entry.facts["start_seconds"]) for entry in rows] == [0.0, 3.333, 6.667]
    whole = np.concatenate([samples(entry)[0] for entry in rows])
    assert np.abs(whole - audio).max() < 1e-4
    assert len({entry.facts["split"] for entry in rows}) == 1


def test_names_that_are_no_utf_8_and_names_that_clash(tmp_path: Path) -> None:
    """Both sources have a recording of the name ``in__x__000``."""
    folder = os.fsencode(tmp_path / "in")
    os.makedirs(folder + b"/sp\xffeaker")
    for number, name in enumerate((b"/sp\xffeaker/\xe9t\xe9.wav", b"/x__000.wav", b"/x__001.wav")):
        path = write(tmp_path / "draft.wav", talk(2, seed=number) + 3e-4 * noise(2))
        path.rename(os.fsdecode(folder + name))
    write(tmp_path / "other" / "in__x__000.wav", talk(2, seed=7) + 3e-4 * noise(2))
    (tmp_path / "other" / "manifest.csv").write_text("path,kind\nin__x__000.wav,speech\n")
    sources = [f"speech:{tmp_path}/in", f"manifest:{tmp_path}/other"]
    one = recipe(splits={"test": 0, "validation": 0})
    prepare(sources, tmp_path / "out", one, here, facts=FACTS)
    rows = entries(tmp_path / "out")
    names = sorted(Path(entry.path).stem for entry in rows)
    assert names == ["in__sp_udcffeaker__000", "in__x__000", "in__x__000__001", "in__x__001"]
    for entry in rows:
        samples(entry)


def test_simulated_rooms_need_no_source(tmp_path: Path) -> None:
    pytest.importorskip("pyroomacoustics")
    rooms = {"rooms": 2, "rate_hz": 8000, "rt60_s": [0.15, 0.3]}
    prepare([], tmp_path / "out", recipe(rooms=rooms), here)
    rows = entries(tmp_path / "out")
    assert {entry.facts["source"] for entry in rows} == {"simulated"}
    assert [np.abs(samples(entry)[0]).argmax() for entry in rows] == [0, 0]


# --- what is refused -----------------------------------------------------------------------------


def test_bad_files_are_refused_each_for_its_reason(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "ann"
    good = talk(3) + 3e-4 * noise(3)
    write(folder / "good.wav", good)
    soundfile.write(
        folder / "again.flac", soundfile.read(folder / "good.wav", dtype="int16")[0], RATE_HZ
    )
    write(folder / "empty.wav", np.zeros(0))
    write(folder / "silent.wav", np.zeros(RATE_HZ))
    write(folder / "short.wav", talk(0.5, seed=1))
    write(folder / "noisy.wav", talk(3, seed=2) + 0.5 * noise(3))
    write(folder / "clipped.wav", (10 * talk(3, seed=3) + 3e-3 * noise(3)).clip(-1, 1))
    write(folder / "offset.wav", talk(3, seed=4) + 3e-4 * noise(3) + 0.1)
    write(folder / "reverberant.wav", 0.5 * np.convolve(talk(6, seed=5), room(0.9)))
    telephone = np.fft.irfft(np.fft.rfft(talk(3, seed=6))[: 3 * 3400], 3 * RATE_HZ)
    write(folder / "telephone.wav", telephone + 2e-5 * noise(3))
    (folder / "text.wav").write_text("no audio at all")
    whole = write(folder / "cut.flac", talk(3, seed=7)).read_bytes()
    (folder / "cut.flac").write_bytes(whole[: len(whole) // 2])
    soundfile.write(folder / "nan.wav", np.full(RATE_HZ, np.nan), RATE_HZ, subtype="FLOAT")
    (folder / "gone.wav").symlink_to(folder / "nowhere.wav")
    strict = recipe(filters={"read": {"keep_share": 1.0}})
    prepare([f"speech:{tmp_path}/in"], tmp_path / "out", strict, here, facts=FACTS)
    with (tmp_path / "out" / "refused.csv").open(newline="") as lines:
        reasons = {Path(row["file"]).stem: row["reason"] for row in csv.DictReader(lines)}
    assert reasons == {
        "good": "duplicate",
        "empty": "empty",
        "silent": "silent",
        "short": "seconds",
        "noisy": "snr_db",
        "clipped": "clipped_share",
        "offset": "dc_offset",
        "reverberant": "rt60_s",
        "telephone": "bandwidth_hz",
        "text": "unreadable",
        "cut": "damaged",
        "nan": "damaged",
        "gone": "unreadable",
    }
    assert [Path(entry.facts["original"]).stem for entry in entries(tmp_path / "out")] == ["again"]


def test_no_licence_no_recording(sources: list[str], tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"12 by licence .*: give --licence"):
        prepare(sources[:1], tmp_path / "out", recipe(), here)
    assert not (tmp_path / "out" / "manifest.csv").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["speech:none"], "none is not a folder"),
        ([], "nothing to prepare"),
        (["speech:empty"], "no audio"),
        (["vctk:empty"], "does not look like VCTK"),
    ],
)
def test_sources_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(FileError, match=words):
        prepare(given, Path("out"), recipe(), here)
    assert not Path("out").exists()


def test_a_folder_with_other_things_is_left_alone(sources: list[str], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("dear")
    with pytest.raises(FileError, match="neither empty nor a corpus"):
        prepare(sources, tmp_path, recipe(), here)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_only_one_at_a_time(sources: list[str], tmp_path: Path) -> None:
    with (
        only_one(tmp_path, "chirrup data prepare"),
        pytest.raises(FileError, match="another chirrup data prepare is at work in"),
    ):
        prepare(sources, tmp_path, recipe(), here)


def test_sources_of_the_recipe_have_facts_of_their_own(sources: list[str], tmp_path: Path) -> None:
    told = {"path": sources[0], "licence": "CC-BY-4.0", "gender": "female", "style": "studio"}
    prepare([], tmp_path / "out", recipe(sources=[told]), here)
    facts = [entry.facts for entry in entries(tmp_path / "out")]
    assert {(f["licence"], f["gender"]) for f in facts} == {("CC-BY-4.0", "female")}


def test_dnsmos(sources: list[str], tmp_path: Path) -> None:
    pytest.importorskip("speechmos")
    prepare(sources[:1], tmp_path / "out", recipe(dnsmos=True), here, facts=FACTS)
    scores = [float(entry.facts["dnsmos"]) for entry in entries(tmp_path / "out")]
    assert all(1 <= score <= 5 for score in scores)
    worse = {"keep_share": 1.0, "max": {}, "min": {"dnsmos": 4.9}}
    with pytest.raises(FileError, match=r"12 by dnsmos \(.* is below 4.9\)"):
        prepare(
            sources[:1],
            tmp_path / "out",
            recipe(dnsmos=True, filters={"read": worse}),
            here,
            facts=FACTS,
        )


def classify(audio: np.ndarray, rate_hz: int) -> str:
    return f"{len(audio) / rate_hz:.0f} s"


def test_a_classifier_names_what_has_no_category(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = type(sys)("own_classifier")
    vars(module)["classify"] = classify
    monkeypatch.setitem(sys.modules, "own_classifier", module)
    write(tmp_path / "in" / "a.wav", noise(2))
    write(tmp_path / "in" / "rain" / "b.wav", noise(3, seed=1))
    named = recipe(classifier="own_classifier:classify")
    prepare([f"noise:{tmp_path}/in"], tmp_path / "out", named, here, facts=FACTS)
    assert {e.facts["category"] for e in entries(tmp_path / "out")} == {"2 s", "rain"}
    for wrong in ("own_classifier", "own_classifier:none", "nowhere:x"):
        with pytest.raises(FileError, match="classifier"):
            prepare([f"noise:{tmp_path}/in"], tmp_path / "x", recipe(classifier=wrong), here)
