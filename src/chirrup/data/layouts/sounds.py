"""Layouts of data sets of noise, music and room responses."""

import re
from collections.abc import Iterator
from pathlib import Path

from chirrup.data.item import Item, group_of_name
from chirrup.data.layouts.files import audio_below, home, table, texts

LICENCES = {
    "publicdomain/zero": "CC0-1.0",
    "licenses/by/": "CC-BY",
    "licenses/by-nc/": "CC-BY-NC",
    "licenses/sampling+/": "CC-Sampling+",
}
"""Licences by parts of the addresses in FSD50K's metadata."""


def plain_noise(root: Path) -> Iterator[Item]:
    """A folder per category. Files of a recording differ after the last ``__`` of their names."""
    for path in audio_below(root):
        below = path.relative_to(root).parts
        recording = "/".join((*below[:-1], group_of_name(path)))
        yield Item(
            str(path),
            "noise",
            root.name,
            f"{root.name}:{recording}",
            category=below[0] if len(below) > 1 else "",
        )


def dns_noise(root: Path) -> Iterator[Item]:
    """DNS Challenge: ``noise_fullband``, at any depth.

    Names of files from Freesound contain the category: ``door_Freesound_validated_458454_3.wav``.
    Other files are from AudioSet.
    """
    for path in audio_below(root):
        match = re.match(r"(.+?)_Freesound_validated_(.+?)(_\d+)?$", path.stem)
        recording = match[2] if match else path.stem
        yield Item(
            str(path),
            "noise",
            "dns-noise",
            f"dns-noise:{recording}",
            category=match[1] if match else "",
            licence="CC0-1.0" if match else "CC-BY-4.0",
            attribution="DNS Challenge, from " + ("Freesound" if match else "AudioSet"),
        )


def fsd50k(root: Path) -> Iterator[Item]:
    """FSD50K: ``FSD50K.dev_audio/64760.wav``, ``FSD50K.eval_audio`` and ``FSD50K.ground_truth``.

    The category is the first label of a file, which is the most specific one. Licences and authors
    are read from ``FSD50K.metadata``.
    """
    root = home(root, "FSD50K", "FSD50K.dev_audio", "FSD50K.eval_audio")
    for part in ("dev", "eval"):
        clips = texts(root / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json")
        rows = table(root / "FSD50K.ground_truth" / f"{part}.csv", ",")
        labels = {row["fname"]: row for row in rows}
        for path in audio_below(root / f"FSD50K.{part}_audio"):
            label, clip = labels.get(path.stem, {}), clips.get(path.stem, {})
            official = {"train": "train", "val": "validation"}.get(label.get("split", ""), "")
            address = clip.get("license", "")
            licence = next((name for key, name in LICENCES.items() if key in address), address)
            uploader = clip.get("uploader", "")
            yield Item(
                str(path),
                "noise",
                "fsd50k",
                f"fsd50k:{uploader or path.stem}",
                category=label.get("labels", "").partition(",")[0],
                licence=licence,
                attribution=f"FSD50K, {uploader or 'Freesound'}",
                split="test" if part == "eval" else official,
            )


def esc50(root: Path) -> Iterator[Item]:
    """ESC-50: ``audio/1-100032-A-0.wav`` and ``meta/esc50.csv``. Clips may share a recording."""
    root = home(root, "ESC-50", "meta/esc50.csv")
    labels = {row["filename"]: row for row in table(root / "meta" / "esc50.csv", ",")}
    for path in audio_below(root / "audio"):
        label = labels.get(path.name, {})
        yield Item(
            str(path),
            "noise",
            "esc-50",
            f"esc-50:{label.get('src_file') or path.stem}",
            category=label.get("category", ""),
            licence="CC-BY-NC-3.0",
            attribution="ESC-50, Piczak 2015, from Freesound",
        )


def plain_music(root: Path) -> Iterator[Item]:
    """A folder per album or artist, or tracks.

    The pieces of a track differ after the last ``__`` of their names.
    """
    for path in audio_below(root):
        below = path.relative_to(root).parts
        track = below[0] if len(below) > 1 else group_of_name(path)
        yield Item(str(path), "music", root.name, f"{root.name}:{track}")


def musdb(root: Path) -> Iterator[Item]:
    """MUSDB18-HQ: ``train/ARTIST - TITLE/mixture.wav``, without the stems."""
    root = home(root, "MUSDB18-HQ", "train", "test")
    for split in ("train", "test"):
        mixtures = (path for path in audio_below(root / split) if path.name == "mixture.wav")
        for path in mixtures:
            yield Item(
                str(path),
                "music",
                "musdb18-hq",
                f"musdb18-hq:{path.parent.name}",
                licence="MUSDB18: education and research only",
                attribution=path.parent.name,
                split=split,
            )


def plain_rooms(root: Path) -> Iterator[Item]:
    """A folder per room. The room of other files is the part of the name before the last ``__``."""
    for path in audio_below(root):
        below = path.relative_to(root).parts
        room = below[0] if len(below) > 1 else group_of_name(path)
        yield Item(str(path), "rir", root.name, f"{root.name}:{room}")
