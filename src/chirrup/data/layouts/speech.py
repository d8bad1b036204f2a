"""Layouts of data sets of speech.

Each function yields the recordings in the folder of a data set. If a file of metadata is missing,
its facts stay empty.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from chirrup.data.item import SPLITS, Item, gender_of, group_of_name
from chirrup.data.layouts.files import (
    audio_below,
    first_below,
    folders_in,
    home,
    table,
    texts,
    words,
)
from chirrup.errors import FileError
from chirrup.files.walking import files_below

LIBRITTS_SPLITS = {
    "train-clean-100": "train",
    "train-clean-360": "train",
    "train-other-500": "train",
    "dev-clean": "validation",
    "dev-other": "validation",
    "test-clean": "test",
    "test-other": "test",
}
MLS_LANGUAGES = {
    "english": "en",
    "german": "de",
    "dutch": "nl",
    "french": "fr",
    "spanish": "es",
    "italian": "it",
    "portuguese": "pt",
    "polish": "pl",
}
OFFICIAL = {"train": "train", "dev": "validation", "test": "test"}


def plain(root: Path) -> Iterator[Item]:
    """A folder per speaker.

    The speaker of other files is the part of the name before the last ``__``.
    """
    for path in audio_below(root):
        below = path.relative_to(root).parts
        speaker = below[0] if len(below) > 1 else group_of_name(path)
        yield Item(str(path), "speech", root.name, f"{root.name}:{speaker}")


def libritts(root: Path) -> Iterator[Item]:
    """LibriTTS: ``train-clean-100/SPEAKER/CHAPTER/*.wav``, ``speakers.tsv`` (openslr.org/60)."""
    root = home(root, "LibriTTS", *LIBRITTS_SPLITS)
    genders = {
        cells[0]: gender_of(cells[1])
        for cells in words(root / "speakers.tsv")
        if len(cells) > 1 and cells[0].isdigit()
    }
    for subset, split in LIBRITTS_SPLITS.items():
        for path in audio_below(root / subset):
            speaker = path.relative_to(root / subset).parts[0]
            yield Item(
                str(path),
                "speech",
                "libritts",
                f"libritts:{speaker}",
                gender=genders.get(speaker, ""),
                language="en",
                licence="CC-BY-4.0",
                attribution="LibriTTS, Zen et al. 2019, from LibriVox",
                style="read",
                split=split,
            )


def vctk(root: Path) -> Iterator[Item]:
    """VCTK 0.92: ``wav48_silence_trimmed/p225/p225_001_mic1.flac`` and ``speaker-info.txt``.

    Both microphones are used. VCTK 0.80 has ``wav48/p225/p225_001.wav``.
    """
    root = home(root, "VCTK", "wav48_silence_trimmed", "wav48")
    genders = {  # 0.80 writes p225 as 225
        ("p" + cells[0] if cells[0].isdigit() else cells[0]): gender_of(cells[2])
        for cells in words(root / "speaker-info.txt")
        if len(cells) > 2 and cells[0] != "ID"
    }
    new = (root / "wav48_silence_trimmed").is_dir()
    audio = root / ("wav48_silence_trimmed" if new else "wav48")
    for path in audio_below(audio):
        speaker = path.relative_to(audio).parts[0]
        yield Item(
            str(path),
            "speech",
            "vctk",
            f"vctk:{speaker}",
            gender=genders.get(speaker, ""),
            language="en",
            licence="CC-BY-4.0" if new else "ODC-By-1.0",
            attribution="CSTR VCTK Corpus, Yamagishi, Veaux and MacDonald",
            style="read",
        )


def ears(root: Path) -> Iterator[Item]:
    """EARS (github.com/facebookresearch/ears_dataset): ``p001/*.wav``, ``speaker_statistics.json``.

    It is anechoic, so its style is ``studio``. Files without speech, such as coughing, are left
    out.
    """
    root = home(root, "EARS", "p001", "speaker_statistics.json")
    speakers = texts(root / "speaker_statistics.json")
    for path in audio_below(root):
        speaker = path.relative_to(root).parts[0]
        if re.fullmatch(r"p\d{3}", speaker) and not path.stem.startswith(
            ("vegetative", "nonverbal")
        ):
            yield Item(
                str(path),
                "speech",
                "ears",
                f"ears:{speaker}",
                gender=gender_of(speakers.get(speaker, {}).get("gender")),
                language="en",
                licence="CC-BY-NC-4.0",
                attribution="EARS, Richter et al. 2024",
                style="studio",
            )


def mls(root: Path) -> Iterator[Item]:
    """Multilingual LibriSpeech (openslr.org/94), the folder of one language or of several.

    ``mls_german/train/audio/SPEAKER/BOOK/*.flac`` (or ``mls_german_opus``) and ``metainfo.txt``.
    """
    folders = [folder for folder in folders_in(root) if _mls_language(folder)]
    if not folders:
        raise FileError(f"{root} does not look like MLS: it has no folder such as mls_german")
    for folder in folders:
        genders = {
            row["SPEAKER"]: gender_of(row.get("GENDER"))
            for row in table(folder / "metainfo.txt", "|")
        }
        for part, split in OFFICIAL.items():
            audio = folder / part / "audio"
            for path in audio_below(audio):
                speaker = path.relative_to(audio).parts[0]
                yield Item(
                    str(path),
                    "speech",
                    "mls",
                    f"mls:{speaker}",
                    gender=genders.get(speaker, ""),
                    language=_mls_language(folder),
                    licence="CC-BY-4.0",
                    attribution="Multilingual LibriSpeech, Pratap et al. 2020, from LibriVox",
                    style="read",
                    split=split,
                )


def _mls_language(folder: Path) -> str:
    match = re.fullmatch(r"mls_([a-z]+?)(_opus)?", folder.name)
    return MLS_LANGUAGES.get(match[1], "") if match else ""


def globe(root: Path) -> Iterator[Item]:
    """GLOBE (huggingface.co/datasets/MushanW/GLOBE): Parquet files of audio.

    The columns are ``audio`` (bytes), ``speaker_id`` and ``gender``. The split is in the name of
    the file or its folder.
    """
    from chirrup.data.parquet import rows_without_audio

    for path in sorted(path for path in files_below(root) if path.suffix == ".parquet"):
        place = path.relative_to(root).as_posix().lower()
        match = re.search(r"(?:^|/)(train|val|test)", place)
        split = match[1].replace("val", "validation") if match else ""
        for number, row in enumerate(rows_without_audio(path, ("speaker_id", "gender"))):
            yield Item(
                str(path),
                "speech",
                "globe",
                f"globe:{row['speaker_id']}",
                row=number,
                gender=gender_of(row.get("gender")),
                language="en",
                licence="CC0-1.0",
                attribution="GLOBE, Wang, Song and Jha 2024, from Common Voice",
                style="read",
                split=split,
            )


def dns_speech(root: Path) -> Iterator[Item]:
    """DNS Challenge, the speech from LibriVox: ``read_speech``, at any depth.

    Names contain the reader: ``book_00000_chp_0009_reader_06709_0_seg_1.wav``.
    """
    for path in audio_below(root):
        if match := re.search(r"book_\d+_chp_\d+_reader_(\d+)_", path.name):
            yield Item(
                str(path),
                "speech",
                "dns-librivox",
                f"dns-librivox:{match[1]}",
                language="en",
                licence="public domain (LibriVox)",
                attribution="DNS Challenge, Dubey et al. 2023, from LibriVox",
                style="read",
            )


def common_voice(root: Path) -> Iterator[Item]:
    """Common Voice, the folder of one language or of several.

    ``de/clips/*.mp3``, ``de/validated.tsv``, and the splits ``train.tsv``, ``dev.tsv``,
    ``test.tsv``.
    """
    folders = [folder for folder in folders_in(root) if os.path.isfile(folder / "validated.tsv")]
    if not folders:
        raise FileError(f"{root} does not look like Common Voice: it has no validated.tsv")
    for folder in folders:
        splits = {
            row["path"]: split
            for part, split in OFFICIAL.items()
            for row in table(folder / f"{part}.tsv")
        }
        for row in table(folder / "validated.tsv"):
            name = row["path"] if Path(row["path"]).suffix else row["path"] + ".mp3"
            yield Item(
                str(folder / "clips" / name),
                "speech",
                "common-voice",
                f"common-voice:{row['client_id'][:16]}",
                gender=gender_of(row.get("gender")),
                language=(row.get("locale") or folder.name).partition("-")[0],
                licence="CC0-1.0",
                attribution="Mozilla Common Voice",
                style="read",
                split=splits.get(row["path"], ""),
            )


def aishell3(root: Path) -> Iterator[Item]:
    """AISHELL-3 (openslr.org/93): ``train/wav/SSB0005/*.wav``, ``test/wav``, ``spk-info.txt``."""
    found = first_below(root, "spk-info.txt") or home(root, "AISHELL-3", "train/wav", "test/wav")
    genders = {
        cells[0]: gender_of(cells[2]) for cells in words(found / "spk-info.txt") if len(cells) > 2
    }
    for split in (SPLITS[0], SPLITS[2]):
        audio = found / split / "wav"
        for path in audio_below(audio):
            speaker = path.relative_to(audio).parts[0]
            yield Item(
                str(path),
                "speech",
                "aishell-3",
                f"aishell-3:{speaker}",
                gender=genders.get(speaker, ""),
                language="zh",
                licence="Apache-2.0",
                attribution="AISHELL-3, Shi et al. 2020",
                style="read",
                split=split,
            )
