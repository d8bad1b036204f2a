"""A folder with a manifest: a corpus of this project, or any table with a column ``path``."""

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
    """Kind and split come from columns of these names or from the folder in ``path``, such as
    ``speech_train``; the group from ``group``, ``speaker_or_track``, or the file's name.

    Raises:
        FileError: a file's kind is told nowhere, or it lies in a shard.
    """
    manifest = find_manifest(root)
    for entry in read_manifest(manifest):
        if entry.shard:
            raise FileError(
                f"{manifest} lists files in shards: prepare from what they were made of"
            )
        yield _item(entry, manifest)


def _item(entry: Entry, manifest: Path) -> Item:
    facts = entry.facts
    folder = entry.path.rpartition("/")[0].rpartition("/")[2].lower()
    parts = folder.replace("-", "_").split("_")
    told = facts.get("kind") or next((w for w in parts if w in KIND_WORDS), "")
    kind = KIND_WORDS.get(told)
    if kind is None:
        raise FileError(
            f"{manifest} does not say what {entry.path} is: add a column kind, with "
            f"{', '.join(KINDS)}, or put it in a folder such as speech_train"
        )
    split = facts.get("split") or next((SPLIT_WORDS[w] for w in parts if w in SPLIT_WORDS), "")
    if split not in ("", *SPLITS):
        raise FileError(f"{manifest}: {split!r} is no split: use {', '.join(SPLITS)}")
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
