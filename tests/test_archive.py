"""Files and packets of earlier versions decode for ever.

``tests/archive/make.py`` made them, with the code of each version. If the weights of a model
change, keep the earlier ones (CONTRIBUTING.md), or nobody can decode these files any more.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.files import decode_file, describe
from chirrup.files.bare import decode_bare
from chirrup.radio import from_messages

ARCHIVE = Path(__file__).parent / "archive"
FILES = sorted(ARCHIVE.glob("*/*.chirrup"))
PACKETS = [
    (path, name) for path in ARCHIVE.glob("*/packets.json") for name in json.loads(path.read_text())
]
RADIO = sorted(ARCHIVE.glob("*/radio.json"))
RADIO_MODEL, RADIO_BITRATE_BPS = "iris-t1", 3000
EARLIER = {
    ("0.1", "iris-t1"): "iris-t1@86e61466",
    ("0.1", "iris-t2"): "iris-t2@63b797d9",
    ("0.1", "lrac-t1"): "lrac-t1@ee11edab",
}
"""Folders of earlier weights, by version and model: packets and bare frames state no weights."""
QUIET_DB = -60.0
"""Level below which the rounding to 16 bits counts."""


def levels_db(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    """Return the level of each 20 ms of all channels, ``[channels, samples]``."""
    size, channels = rate_hz // 50, np.atleast_2d(audio)
    whole = channels[:, : channels.shape[1] // size * size].reshape(len(channels), -1, size)
    return 10 * np.log10(np.square(whole.astype(np.float64)).mean((0, 2)) + 1e-10)


def check(audio: np.ndarray, rate_hz: int, expected_db: list[float]) -> None:
    found, expected = levels_db(audio, rate_hz), np.array(expected_db)
    assert found.shape == expected.shape
    loud = np.maximum(found, expected) > QUIET_DB
    assert loud.sum() > 10
    assert np.abs(found - expected)[loud].max() < 0.2


def codec_of(path: Path, name: str) -> chirrup.Codec:
    return chirrup.load(EARLIER.get((path.parent.name, name), name))


def of_version(path: Path, name: str) -> Any:
    return json.loads((path.parent / name).read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_file_of_an_earlier_version(path: Path, tmp_path: Path) -> None:
    facts = describe(path, check=True)
    assert (facts["damage"], facts["installed"]) == ([], True)
    assert facts["metadata"]["title"] == facts["model"]
    decode_file(None, path, tmp_path / "decoded.wav")
    audio, rate_hz = soundfile.read(tmp_path / "decoded.wav")
    check(audio.T, rate_hz, of_version(path, "files.json")[path.name])


@pytest.mark.parametrize(
    ("path", "name"), PACKETS, ids=lambda x: x if isinstance(x, str) else x.parent.name
)
def test_packets_of_an_earlier_version(path: Path, name: str) -> None:
    codec, sent = codec_of(path, name), of_version(path, "packets.json")[name]
    decoder = codec.decoder()
    audio = [np.atleast_2d(decoder.push(bytes.fromhex(packet))) for packet in sent["packets"]]
    check(np.concatenate(audio, 1), codec.sample_rate_hz, sent["levels_db"])


@pytest.mark.parametrize("path", RADIO, ids=lambda path: path.parent.name)
def test_frames_and_messages_of_an_earlier_version(path: Path, tmp_path: Path) -> None:
    codec, made = codec_of(path, RADIO_MODEL), of_version(path, "radio.json")
    texts: list[str] = []
    decode_bare(
        codec,
        path.with_name("bare.bin"),
        tmp_path / "decoded.wav",
        bitrate_bps=RADIO_BITRATE_BPS,
        bits=made["bare"]["bits"],
        on_text=texts.append,
    )
    audio, rate_hz = soundfile.read(tmp_path / "decoded.wav")
    check(audio, rate_hz, made["bare"]["levels_db"])
    assert set(texts) == {made["bare"]["text"]}
    messages = [bytes.fromhex(message) for message in made["messages"]["messages"]]
    audio, lost = from_messages(codec, messages)
    assert lost == []
    check(audio, codec.sample_rate_hz, made["messages"]["levels_db"])
