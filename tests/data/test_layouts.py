"""Each layout with a small tree of files: the recordings, and their facts."""

import json
from pathlib import Path

import numpy as np
import pytest

from chirrup.data.item import Item
from chirrup.data.layouts import LAYOUTS, parse, scan
from chirrup.errors import FileError
from closed_folders import close_folders
from data_samples import tree, write

Facts = dict[str, dict[str, str]]


def facts(items: list[Item], root: Path, *names: str) -> Facts:
    """Return the named facts of items, by path below ``root``."""
    return {
        Path(item.path).relative_to(root).as_posix(): {n: getattr(item, n) for n in names}
        for item in items
    }


def scanned(root: Path, expected: str) -> list[Item]:
    """Return the items of a folder whose layout is recognised."""
    name, folder = parse(str(root))
    assert name == expected
    return list(scan(name, folder))


def test_a_folder_per_speaker(tmp_path: Path) -> None:
    root = tree(tmp_path / "mine", "ann/a.wav ann/deep/b.flac bob/a.ogg cid__0.wav cid__1.wav")
    (root / "ann" / "notes.txt").write_text("no audio")
    (root / ".hidden").mkdir()
    tree(root, ".hidden/x.wav ann/._a.wav")
    found = facts(list(scan("speech", root)), root, "group", "kind")
    assert {path: fact["group"] for path, fact in found.items()} == {
        "ann/a.wav": "mine:ann",
        "ann/deep/b.flac": "mine:ann",
        "bob/a.ogg": "mine:bob",
        "cid__0.wav": "mine:cid",
        "cid__1.wav": "mine:cid",
    }
    assert {fact["kind"] for fact in found.values()} == {"speech"}


@pytest.mark.parametrize("above", ["", "LibriTTS"])
def test_libritts(tmp_path: Path, above: str) -> None:
    root = tmp_path / above
    tree(
        root,
        "train-clean-100/19/198/19_198_000000_000000.wav dev-clean/84/121123/84_121123_0_0.wav"
        " test-other/367/130732/367_130732_0_0.wav",
    )
    (root / "speakers.tsv").write_text(
        "READER\tGENDER\tSUBSET\tNAME\n19\tF\ttrain-clean-100\tKara\n84\tM\tdev-clean\tX Y\n"
    )
    items = scanned(tmp_path, "libritts")
    assert facts(items, root, "group", "gender", "split", "language", "licence") == {
        path: {
            "group": f"libritts:{speaker}",
            "gender": gender,
            "split": split,
            "language": "en",
            "licence": "CC-BY-4.0",
        }
        for path, speaker, gender, split in (
            ("train-clean-100/19/198/19_198_000000_000000.wav", "19", "female", "train"),
            ("dev-clean/84/121123/84_121123_0_0.wav", "84", "male", "validation"),
            ("test-other/367/130732/367_130732_0_0.wav", "367", "", "test"),
        )
    }


def test_vctk_with_both_microphones(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "wav48_silence_trimmed/p225/p225_001_mic1.flac"
        " wav48_silence_trimmed/p225/p225_001_mic2.flac wav48_silence_trimmed/s5/s5_001_mic1.flac"
        " txt/p225/unheard.wav",
    )
    (tmp_path / "speaker-info.txt").write_text(
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS\n"
        "p225  23  F    English    Southern  England\ns5  18  M  British\n"
    )
    items = scanned(tmp_path, "vctk")
    assert [(item.group, item.gender) for item in items] == [
        ("vctk:p225", "female"),
        ("vctk:p225", "female"),
        ("vctk:s5", "male"),
    ]
    assert {item.licence for item in items} == {"CC-BY-4.0"}


def test_the_older_vctk(tmp_path: Path) -> None:
    tree(tmp_path, "wav48/p226/p226_001.wav")
    (tmp_path / "speaker-info.txt").write_text(
        "ID  AGE  GENDER  ACCENTS  REGION\n226  22  M    English    Surrey\n"
    )
    (item,) = scanned(tmp_path, "vctk")
    assert (item.group, item.gender, item.licence) == ("vctk:p226", "male", "ODC-By-1.0")


def test_ears_is_studio_speech(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "p001/emo_adoration_freeform.wav p001/vegetative_eating.wav p002/rainbow_01_fast.wav"
        " p002/nonverbal_crying.wav blind_testset/x.wav",
    )
    people = {"p001": {"age": "36-45", "gender": "male"}, "p002": {"gender": "non-binary"}}
    (tmp_path / "speaker_statistics.json").write_text(json.dumps(people))
    items = scanned(tmp_path, "ears")
    assert [(item.group, item.gender, item.filters) for item in items] == [
        ("ears:p001", "male", "studio"),
        ("ears:p002", "", "studio"),
    ]
    assert {item.licence for item in items} == {"CC-BY-NC-4.0"}


def test_mls_of_several_languages(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "mls_german/train/audio/2422/2358/2422_2358_000000.flac"
        " mls_polish_opus/dev/audio/6892/10036/6892_10036_000000.opus"
        " mls_german/test/audio/1/1/1_1_000000.flac",
    )
    (tmp_path / "mls_german" / "metainfo.txt").write_text(
        " SPEAKER   |   GENDER   | PARTITION  |  MINUTES   |  BOOK ID   |  TITLE  |  CHAPTER\n"
        '  2422     |     M      |   train    |   15.3     |   2358     | Die\t"Welt | 1\n'
    )
    items = scanned(tmp_path, "mls")
    assert [(item.group, item.gender, item.language, item.split) for item in items] == [
        ("mls:2422", "male", "de", "train"),
        ("mls:1", "", "de", "test"),
        ("mls:6892", "", "pl", "validation"),
    ]
    assert [item.language for item in scan("mls", tmp_path / "mls_polish_opus")] == ["pl"]


def test_globe_from_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow
    from pyarrow import parquet

    from chirrup.data.audio import opened, source_of

    rows = []
    for index in range(5):
        path = write(tmp_path / "x.flac", np.full(100 + index, 0.25))
        audio = {"bytes": path.read_bytes(), "path": f"{index}.flac"}
        rows.append({"audio": audio, "speaker_id": f"S_{index % 2}", "gender": "female"})
        path.unlink()
    (tmp_path / "data").mkdir()
    table = pyarrow.Table.from_pylist(rows)
    parquet.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet", 2)
    parquet.write_table(table.slice(0, 1), tmp_path / "data" / "val-00000-of-00001.parquet")
    items = list(scan("globe", tmp_path))
    assert [(item.group, item.split, item.row) for item in items] == [
        *((f"globe:S_{index % 2}", "train", index) for index in range(5)),
        ("globe:S_0", "validation", 0),
    ]
    assert len({item.key for item in items}) == 6
    for item in items[:5]:
        with opened(source_of(item)) as file:
            assert file.frames == 100 + item.row


def test_dns_librivox(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "read_speech/book_00000_chp_0009_reader_06709_0_seg_1_seg1.wav"
        " read_speech/book_02972_chp_0050_reader_02616_19.wav read_speech/other.wav",
    )
    items = scanned(tmp_path, "dns-librivox")
    assert [item.group for item in items] == ["dns-librivox:06709", "dns-librivox:02616"]


def test_common_voice_takes_what_was_validated(tmp_path: Path) -> None:
    tree(tmp_path / "de", "clips/a.mp3 clips/b.mp3 clips/rejected.mp3")
    head = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\n"
    rows = {"a.mp3": "female_feminine", "b.mp3": "male"}
    lines = [f'{n * 9}\t{n}\t"Ja\t2\t0\t\t{g}\t\tde\n' for n, g in rows.items()]
    (tmp_path / "de" / "validated.tsv").write_text(head + "".join(lines))
    (tmp_path / "de" / "test.tsv").write_text(head + lines[1])
    items = scanned(tmp_path, "common-voice")
    assert facts(items, tmp_path, "gender", "split", "language", "licence") == {
        "de/clips/a.mp3": {
            "gender": "female",
            "split": "",
            "language": "de",
            "licence": "CC0-1.0",
        },
        "de/clips/b.mp3": {
            "gender": "male",
            "split": "test",
            "language": "de",
            "licence": "CC0-1.0",
        },
    }
    assert len({item.group for item in items}) == 2


def test_aishell_3(tmp_path: Path) -> None:
    tree(tmp_path, "train/wav/SSB0005/SSB00050001.wav test/wav/SSB0139/SSB01390001.wav")
    (tmp_path / "spk-info.txt").write_text("# name\nSSB0005\tB\tfemale\tnorth\n")
    items = scanned(tmp_path, "aishell-3")
    assert [(item.group, item.gender, item.split, item.language) for item in items] == [
        ("aishell-3:SSB0005", "female", "train", "zh"),
        ("aishell-3:SSB0139", "", "test", "zh"),
    ]


def test_dns_noise_has_categories_in_its_names(tmp_path: Path) -> None:
    tree(
        tmp_path / "noise_fullband",
        "breath_spit_Freesound_validated_422419_0.wav door_Freesound_validated_458454_3.wav"
        " door_Freesound_validated_458454_4.wav wntLte49djU.wav",
    )
    items = scanned(tmp_path, "dns-noise")
    assert [(item.category, item.group.partition(":")[2], item.licence) for item in items] == [
        ("breath_spit", "422419", "CC0-1.0"),
        ("door", "458454", "CC0-1.0"),
        ("door", "458454", "CC0-1.0"),
        ("", "wntLte49djU", "CC-BY-4.0"),
    ]


def test_fsd50k(tmp_path: Path) -> None:
    tree(tmp_path, "FSD50K.dev_audio/64760.wav FSD50K.dev_audio/1.wav FSD50K.eval_audio/2.wav")
    truth = tmp_path / "FSD50K.ground_truth"
    truth.mkdir()
    (truth / "dev.csv").write_text(
        'fname,labels,mids,split\n64760,"Electric_guitar,Guitar,Music","/m/1,/m/2",train\n'
        "1,Rain,/m/3,val\n"
    )
    (truth / "eval.csv").write_text("fname,labels,mids\n2,Bark,/m/4\n")
    about = tmp_path / "FSD50K.metadata"
    about.mkdir()
    address = "http://creativecommons.org/licenses/by-nc/3.0/"
    clip = {"title": "x", "license": address, "uploader": "ann"}
    (about / "dev_clips_info_FSD50K.json").write_text(json.dumps({"64760": clip}))
    items = scanned(tmp_path, "fsd50k")
    told = [(item.category, item.split, item.licence, item.group) for item in items]
    assert told == [
        ("Rain", "validation", "", "fsd50k:1"),
        ("Electric_guitar", "train", "CC-BY-NC", "fsd50k:ann"),
        ("Bark", "test", "", "fsd50k:2"),
    ]


def test_esc_50_keeps_clips_of_a_recording_together(tmp_path: Path) -> None:
    tree(tmp_path, "audio/1-100032-A-0.wav audio/1-100032-B-0.wav")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text(
        "filename,fold,target,category,esc10,src_file,take\n"
        "1-100032-A-0.wav,1,0,dog,True,100032,A\n1-100032-B-0.wav,1,0,dog,True,100032,B\n"
    )
    items = scanned(tmp_path, "esc-50")
    assert [(item.category, item.group) for item in items] == [("dog", "esc-50:100032")] * 2


def test_plain_noise_has_a_folder_per_category(tmp_path: Path) -> None:
    root = tree(tmp_path / "n", "rain/a__0.wav rain/a__1.wav rain/b.wav wind/a.wav alone.wav")
    items = list(scan("noise", root))
    assert [(item.category, item.group) for item in items] == [
        ("", "n:alone"),
        ("rain", "n:rain/a"),
        ("rain", "n:rain/a"),
        ("rain", "n:rain/b"),
        ("wind", "n:wind/a"),
    ]


def test_musdb_takes_the_mixture_of_each_track(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "train/A-B/mixture.wav train/A-B/vocals.wav test/C-D/mixture.wav test/C-D/drums.wav",
    )
    items = list(scan("musdb", tmp_path))
    assert [(item.group, item.split, item.kind) for item in items] == [
        ("musdb18-hq:A-B", "train", "music"),
        ("musdb18-hq:C-D", "test", "music"),
    ]


@pytest.mark.parametrize(
    ("layout", "files"),
    [
        ("speech", "a/a.wav closed/b.wav"),
        ("musdb", "train/A-B/mixture.wav test/closed/mixture.wav"),
        ("globe", "closed/train.parquet"),
        ("mls", "mls_german/train/audio/closed/1/a.flac"),
    ],
)
@pytest.mark.parametrize("top", [False, True])
def test_a_folder_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, files: str, top: bool
) -> None:
    tree(tmp_path, files)
    close_folders(monkeypatch, tmp_path.name if top else "closed")
    with pytest.raises(FileError, match="cannot be read: Permission denied"):
        list(scan(layout, tmp_path))


def test_plain_music_and_rooms(tmp_path: Path) -> None:
    root = tree(tmp_path / "m", "album/1.wav album/2.wav song__0.wav song__1.wav")
    assert [item.group for item in scan("music", root)] == ["m:song"] * 2 + ["m:album"] * 2
    rooms = list(scan("rooms", root))
    assert [item.group for item in rooms] == ["m:song"] * 2 + ["m:album"] * 2
    assert {item.kind for item in rooms} == {"rir"}


def test_a_manifest_with_the_columns_of_the_shared_corpus(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.csv").write_text(
        "path,source,original_path,speaker_or_track,language_or_genre,licence\n"
        "speech_test/a__0.flac,debian:x,a.ogg,x:a,cs,GPL-2\n"
        "rir/hall__1.flac,y,,y:hall,,CC0\n"
        "music_train/t__0.opus,z,t.ogg,z:t,folk,\n"
    )
    speech, rir, music = scanned(tmp_path, "manifest")
    assert speech == Item(
        str(tmp_path / "speech_test/a__0.flac"),
        "speech",
        "debian:x",
        "x:a",
        language="cs",
        licence="GPL-2",
        split="test",
        name="a__0",
        original="a.ogg",
    )
    assert (rir.kind, rir.split, rir.category) == ("rir", "", "")
    assert (music.kind, music.split, music.category) == ("music", "train", "folk")


def test_a_manifest_of_our_own(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(
        "path,kind,split,group,gender,category,shard\nx/1.flac,noise,validation,g,,rain,\n"
    )
    (item,) = scanned(tmp_path, "manifest")
    assert (item.kind, item.split, item.group, item.category) == (
        "noise",
        "validation",
        "g",
        "rain",
    )


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("path\nx/1.flac\n", "does not state the kind of x/1.flac"),
        ("path,kind\nx/1.flac,talk\n", "does not state the kind"),
        ("path,kind,split\nx/1.flac,noise,half\n", "'half' is not a split"),
        ("path,kind,shard,offset,size\nx,noise,a.tar,0,9\n", "lists files in shards"),
        ("path,kind,shard,offset,size\nx,noise,a.tar,zero,9\n", "row 2"),
        ("path,kind\n,noise\n", "row 2: it has no path"),
        ("file\nx\n", "has no column path"),
    ],
)
def test_a_manifest_that_does_not_tell_enough(tmp_path: Path, rows: str, words: str) -> None:
    (tmp_path / "manifest.csv").write_text(rows)
    with pytest.raises(FileError, match=words):
        list(scan("manifest", tmp_path))


@pytest.mark.parametrize(
    "name", [n for n in LAYOUTS if LAYOUTS[n].signs and not n.startswith("dns-")] + ["musdb"]
)
def test_another_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError):
        list(scan(name, tmp_path))


@pytest.mark.parametrize("text", ["{", "[" * 9999, "[]", '{"p001": 1}'])
def test_damaged_metadata_is_a_clear_error(tmp_path: Path, text: str) -> None:
    tree(tmp_path, "p001/a.wav")
    (tmp_path / "speaker_statistics.json").write_text(text)
    with pytest.raises(FileError, match=r"speaker_statistics\.json cannot be read as JSON"):
        scanned(tmp_path, "ears")


def test_a_damaged_table_is_a_clear_error(tmp_path: Path) -> None:
    tree(tmp_path, "FSD50K.dev_audio/1.wav FSD50K.ground_truth/x.wav")
    (tmp_path / "FSD50K.ground_truth" / "dev.csv").write_text("fname\n" + "x" * 200_000)
    with pytest.raises(FileError, match=r"dev\.csv cannot be read as a table: field larger"):
        scanned(tmp_path, "fsd50k")
