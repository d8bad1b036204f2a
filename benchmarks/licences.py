"""Write the tables of the page on the licences of the training data.

It reads the corpus that the shipped models were trained on, which is not part of the project, and
the recipe in each model's ``model.json``.
"""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from chirrup.data.manifest import Entry, find_manifest, read_manifest
from chirrup.lab.training.data_config import NEEDS_NOISE, NEEDS_ROOMS, Conditions
from chirrup.zoo import FOLDER, models

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "licences.md"
FOLDERS = ("speech_train", "noise_train", "rir", "music_train")
"""Folders of the corpus that models are trained on."""
COPYLEFT, ATTRIBUTION, FREE = KINDS = ("copyleft", "attribution", "none")
WORDS = {
    COPYLEFT: re.compile(r"GPL|FDL|BY-SA|SHARE ALIKE|FREEART", re.I),
    ATTRIBUTION: re.compile(r"CC.BY|ATTRIBUTION|MIT|APACHE", re.I),
    FREE: re.compile(r"CC0|PUBLIC DOMAIN|GENERATED HERE", re.I),
}
"""Words of licences, the strictest first: a text with several licences has the strictest kind."""

BROKEN = {"JakÅtys": "Jakštys", "Martin ¦ín": "Martin Šín"}
"""Names in the manifest whose encoding was lost."""


def kind_of(licence: str) -> str:
    """Return the strictest kind of the licences in a text.

    Raises:
        ValueError: no licence of the text is known.
    """
    found = next((kind for kind, words in WORDS.items() if words.search(licence)), None)
    if found is None:
        raise ValueError(f"no kind is known for the licence {licence!r}: add it to WORDS")
    return found


def minutes(entries: Iterable[Entry]) -> float:
    return sum(float(entry.facts["seconds"]) for entry in entries) / 60


def by_kind(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {kind: [] for kind in KINDS}
    for entry in entries:
        found[kind_of(entry.facts["licence"])].append(entry)
    return found


def trained_on(entries: Iterable[Entry], data: dict[str, Any]) -> dict[str, list[Entry]]:
    """Return the recordings of each folder that a recipe reads."""
    used = Conditions.model_validate(data["conditions"]).used
    folders = [data["speech"]]
    folders += [data["noise"]] if used & set(NEEDS_NOISE) else []
    folders += [data["rooms"]] if used & set(NEEDS_ROOMS) else []
    left_out = data.get("leave_out", [])
    return {
        folder: [
            entry
            for entry in entries
            if entry.path.startswith(f"{folder}/")
            and not any(map(Path(entry.path).match, left_out))
        ]
        for folder in folders
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def of_models(entries: Sequence[Entry]) -> str:
    """Return the table of the models: minutes of each kind in each folder."""
    rows = []
    for name in models():
        data = json.loads((FOLDER / name / "model.json").read_text())["training"]["recipe"]["data"]
        for folder, found in trained_on(entries, data).items():
            kinds = by_kind(found)
            cells = [f"{minutes(kinds[kind]):.1f}" for kind in KINDS]
            rows.append((f"`{name}`", f"`{folder}`", str(len(found)), *cells))
    head = ("model", "folder", "files", *(f"{kind}, minutes" for kind in KINDS))
    return table(head, rows)


def of_sources(entries: Iterable[Entry]) -> str:
    """Return the table of the sources, and the list of their authors."""
    sources: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        sources[entry.facts["source"]].append(entry)
    rows, authors = [], []
    for source, found in sorted(sources.items()):
        folders = sorted({entry.path.partition("/")[0] for entry in found})
        licences = sorted({shortened(entry.facts["licence"]) for entry in found})
        kind = min((kind_of(entry.facts["licence"]) for entry in found), key=KINDS.index)
        cells = [source, ", ".join(f"`{folder}`" for folder in folders), f"{minutes(found):.1f}"]
        rows.append((*cells, "; ".join(licences), kind))
        names = sorted({author(entry.facts.get("attribution", "")) for entry in found} - {""})
        if names:
            authors.append(f"- {source}: {'; '.join(names)}\n")
    head = ("source", "folders", "minutes", "licences", "strictest kind")
    return f"{table(head, rows)}\nAuthors:\n\n{''.join(authors)}"


def shortened(licence: str) -> str:
    """Return a licence without the place where it is stated."""
    return re.sub(r" \((?:GCompris-voices LICENSE|see Debian copyright|repo)\)", "", licence)


def author(attribution: str) -> str:
    """Return the names and addresses of an attribution without the description of a recording."""
    text = re.sub(r" - \S+@\S+$", "", attribution.partition(' "')[0].strip())
    for broken, name in BROKEN.items():
        text = text.replace(broken, name)
    return "" if text in ("", "-") else text


def left(entries: Iterable[Entry]) -> str:
    """Return the table of what remains without copyleft, and its licences."""
    rows = []
    for folder in FOLDERS:
        kinds = by_kind(entry for entry in entries if entry.path.startswith(f"{folder}/"))
        free = [*kinds[ATTRIBUTION], *kinds[FREE]]
        licences = sorted({entry.facts["licence"] for entry in free})
        total = minutes(free) + minutes(kinds[COPYLEFT])
        cells = [f"{minutes(free):.1f}", f"{total:.1f}"]
        rows.append((f"`{folder}`", *cells, ", ".join(f"`{text}`" for text in licences)))
    return table(("folder", "minutes left", "of", "licences"), rows)


def filled(text: str, entries: Iterable[Entry]) -> str:
    """Return the text of the page with current tables between its marks."""
    used = [entry for entry in entries if entry.path.partition("/")[0] in FOLDERS]
    tables = {"models": of_models, "left": left, "sources": of_sources}

    def current(mark: re.Match[str]) -> str:
        inner = tables[mark[1]](used)
        return f"<!-- licences {mark[1]} -->\n{inner}<!-- end of licences -->"

    marked = r"<!-- licences (\w+) -->.*?<!-- end of licences -->"
    return re.sub(marked, current, text, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, help="folder of the corpus")
    corpus = parser.parse_args().corpus
    PAGE.write_text(filled(PAGE.read_text(), read_manifest(find_manifest(corpus))))


if __name__ == "__main__":
    main()
