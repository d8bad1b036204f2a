"""Sources on the command line, and facts that the user gives."""

from pathlib import Path

import pytest

from chirrup.data.item import Item, gender_of
from chirrup.data.layouts import parse
from chirrup.errors import FileError


def test_sources_as_a_person_writes_them(tmp_path: Path) -> None:
    assert parse(f"vctk:{tmp_path}") == ("vctk", tmp_path)
    with pytest.raises(FileError, match="speech:FOLDER"):
        parse(str(tmp_path))
    with pytest.raises(FileError, match="vtck is not a layout"):
        parse(f"vtck:{tmp_path}")
    with pytest.raises(FileError, match="is not a folder"):
        parse(str(tmp_path / "none"))


def test_what_a_person_tells_does_not_overrule_the_source() -> None:
    item = Item("/x.wav", "speech", "s", "g", language="de", style="read")
    told = item.with_facts({"language": "en", "licence": "CC0", "style": "studio", "x": "y"})
    assert (told.language, told.licence, told.style) == ("de", "CC0", "studio")


@pytest.mark.parametrize(
    ("text", "gender"),
    [
        ("F", "female"),
        ("male_masculine", "male"),
        (" Female ", "female"),
        ("other", ""),
        (None, ""),
    ],
)
def test_genders(text: str | None, gender: str) -> None:
    assert gender_of(text) == gender
