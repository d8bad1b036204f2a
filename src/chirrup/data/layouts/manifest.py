"""The layout of a folder with a manifest: a corpus, or any table with a column ``path``."""

from collections.abc import Iterator
from pathlib import Path

from chirrup.data.item import KINDS, SPLITS, Item, group_of_name
from chirrup.data.manifest import Entry, find_manifest, read_manifest
from chirrup.errors import FileError

SPLIT_WORDS = {"train": "train", "validation": "validation", "valid": "validation"} | {
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "eval": "test",
}
KIND_WORDS = {kind: kind for kind in KINDS} | {"room": "rir", "rooms": "rir"}


def listed(root: Path) -> Iterator[Item]:
    """A folder with a manifest, a table with a column ``path``.

    Kind and split are taken from the columns of these names, or from the folder in ``path`` such as
    ``speech_train``. The group is taken from ``group``, ``speaker_or_track`` or the file's name.

    Raises:
        FileError: the kind of a recording is not known, or it is in a shard.
    """
    manifest = find_manifest(root)
    for entry in read_manifest(manifest):
        if entry.shard:
            raise FileError(f"{manifest} lists files in shards: prepare from their sources instead")
        yield _item(entry, manifest)


def _item(entry: Entry, manifest: Path) -> Item:
    facts = entry.facts
    folder = entry.path.rpartition("/")[0].rpartition("/")[2].lower()
    parts = folder.replace("-", "_").split("_")
    word = facts.get("kind") or next((w for w in parts if w in KIND_WORDS), "")
    kind = KIND_WORDS.get(word)
    if kind is None:
        raise FileError(
            f"{manifest} does not state the kind of {entry.path}: add a column kind with "
            f"{', '.join(KINDS)}, or put it in a folder such as speech_train"
        )
    split = facts.get("split") or next((SPLIT_WORDS[w] for w in parts if w in SPLIT_WORDS), "")
    if split not in ("", *SPLITS):
        raise FileError(f"{manifest}: {split!r} is not a split: use {', '.join(SPLITS)}")
    path = Path(entry.path)
    either = facts.get("language_or_genre", "")
    return Item(
        str(manifest.parent / path),
        kind,
        facts.get("source") or manifest.parent.name,
        facts.get("group") or facts.get("speaker_or_track") or group_of_name(path),
        gender=facts.get("gender", ""),
        language=facts.get("language") or (either if kind == "speech" else ""),
        category=facts.get("category") or (either if kind != "speech" else ""),
        licence=facts.get("licence") or facts.get("license", ""),
        attribution=facts.get("attribution", ""),
        style=facts.get("style", ""),
        split=split,
        name=path.stem,
        original=facts.get("original") or facts.get("original_path", ""),
    )
