"""What a manifest says of recordings beside it."""

from pathlib import Path

import pytest

from chirrup.data.manifest import languages


def test_the_languages_of_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a manifest beside or above them; a genre is none, and a damaged manifest tells none."""
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
