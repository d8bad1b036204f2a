"""Facts in manifests, and damaged manifests."""

from pathlib import Path

import pytest

from chirrup.data.layouts.files import table
from chirrup.data.manifest import languages, read_manifest, write_manifest
from chirrup.data.parquet import audio_of_row, rows_without_audio
from chirrup.errors import FileError


def test_the_languages_of_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Languages are read from a manifest in the same folder or above it.

    A genre is not a language, and a damaged manifest is ignored.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MANIFEST.csv").write_text(
        "path,language_or_genre,seconds\n"
        "speech_test/a.wav,hu_HU,1\nspeech_test/b.wav,,1\nspeech_test/c.wav,en,x\n"
        "music_test/d.wav,game-mixed,1\n"
    )
    (tmp_path / "speech_test" / "x").mkdir(parents=True)
    (tmp_path / "speech_test" / "x" / "manifest.csv").write_text("path,language\ne.wav,EN-gb\n")
    (tmp_path / "music_test").mkdir()
    (tmp_path / "music_test" / "manifest.csv").write_text("no table")
    clips = [Path("speech_test") / name for name in ("a.wav", "b.wav", "c.wav", "x/e.wav")]
    assert languages([*clips, Path("music_test/d.wav")]) == {clips[0]: "hu", clips[3]: "en"}


def test_a_manifest_with_a_byte_order_mark(tmp_path: Path) -> None:
    """Excel writes the mark."""
    path = tmp_path / "manifest.csv"
    path.write_text("path,language\na.wav,hu\n", "utf-8-sig")
    (entry,) = read_manifest(path)
    assert (entry.path, entry.facts) == ("a.wav", {"language": "hu"})
    assert list(table(path, ",")) == [{"path": "a.wav", "language": "hu"}]


def test_a_parquet_file_whose_pages_are_damaged(tmp_path: Path) -> None:
    """The end of the file, which is read first, is intact."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    manifest, audio = tmp_path / "manifest.parquet", tmp_path / "audio.parquet"
    write_manifest(manifest, iter([{"path": "a.wav"}]), "parquet")
    parquet.write_table(pyarrow.table({"speaker_id": ["a"], "audio": [b"x"]}), audio)
    for path in (manifest, audio):
        whole = path.read_bytes()
        end = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
        path.write_bytes(whole[:4] + b"\xff" * (end - 4) + whole[end:])
    for read in (
        lambda: list(read_manifest(manifest)),
        lambda: list(rows_without_audio(audio, ("speaker_id",))),
        lambda: audio_of_row(audio, 0),
    ):
        with pytest.raises(FileError, match=r"\.parquet cannot be read as a Parquet file: "):
            read()
