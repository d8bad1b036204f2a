"""Layouts of data sets on disk. `scan` yields the recordings of a folder.

A layout is a function that yields the `Item`s of a folder, and the names by which such a folder is
recognised. Other data sets need a manifest: a CSV file with a column ``path``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chirrup.data.item import Item
from chirrup.data.layouts import manifest, sounds, speech
from chirrup.data.layouts.files import first_below
from chirrup.data.manifest import NAMES as MANIFESTS
from chirrup.errors import FileError


@dataclass(frozen=True)
class Layout:
    """The layout of a data set.

    Attributes:
        scan: yields the recordings of a folder.
        signs: files or folders, one of which is in such a folder or one level below it. Without
            signs, the layout must be named.
    """

    scan: Callable[[Path], Iterator[Item]]
    signs: tuple[str, ...] = ()


LAYOUTS = {
    "manifest": Layout(manifest.listed, MANIFESTS),
    "libritts": Layout(speech.libritts, tuple(speech.LIBRITTS_SPLITS)),
    "vctk": Layout(speech.vctk, ("wav48_silence_trimmed", "wav48")),
    "ears": Layout(speech.ears, ("speaker_statistics.json",)),
    "mls": Layout(
        speech.mls,
        tuple(f"mls_{name}{end}" for name in speech.MLS_LANGUAGES for end in ("", "_opus")),
    ),
    "globe": Layout(speech.globe),
    "dns-librivox": Layout(speech.dns_speech, ("read_speech",)),
    "common-voice": Layout(speech.common_voice, ("validated.tsv",)),
    "aishell-3": Layout(speech.aishell3, ("spk-info.txt",)),
    "dns-noise": Layout(sounds.dns_noise, ("noise_fullband",)),
    "fsd50k": Layout(sounds.fsd50k, ("FSD50K.dev_audio", "FSD50K.eval_audio")),
    "esc-50": Layout(sounds.esc50, ("meta/esc50.csv",)),
    "musdb": Layout(sounds.musdb),
    "speech": Layout(speech.plain),
    "noise": Layout(sounds.plain_noise),
    "music": Layout(sounds.plain_music),
    "rooms": Layout(sounds.plain_rooms),
}


def parse(source: str) -> tuple[str, Path]:
    """Parse a source such as ``vctk:/data/VCTK``, or a folder whose layout is recognised.

    Returns:
        The name of the layout, and the folder.

    Raises:
        FileError: there is no such folder, or its layout is not recognised.
    """
    name, colon, place = source.partition(":")
    if not colon or name not in LAYOUTS:
        name, place = "", source
    folder = Path(place).expanduser().absolute()
    if not folder.is_dir():
        hint = "" if name or not colon else f", and {source.partition(':')[0]} is not a layout"
        raise FileError(f"{place} is not a folder{hint}: give LAYOUT:FOLDER; see --layouts")
    if not name:
        found = [key for key, layout in LAYOUTS.items() if first_below(folder, *layout.signs)]
        if not found:
            raise FileError(
                f"the layout of {folder} is not recognised: give speech:FOLDER, noise:FOLDER, "
                "music:FOLDER, rooms:FOLDER or the name of a data set; see --layouts"
            )
        name = found[0]
    return name, folder


def scan(layout: str, folder: Path) -> Iterator[Item]:
    """Yield the recordings of a folder, in a fixed order.

    Raises:
        FileError: the folder does not have this layout.
    """
    return LAYOUTS[layout].scan(folder)
