"""The codec in twenty lines of the documentation."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from chirrup.evaluate.peers import PEERS, Coded, Peer, PeerError, find, register

DOC = Path(__file__).parents[2] / "docs" / "how-to" / "evaluate.md"
LINES = 20


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the file of the documentation. `PEERS` is restored afterwards."""
    (source,) = re.findall(r"^```python\n(.*?)^```", DOC.read_text(), re.MULTILINE | re.DOTALL)
    assert 5 < len([line for line in source.splitlines() if line.strip()]) <= LINES
    (tmp_path / "mulaw.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    before = dict(PEERS)
    importlib.invalidate_caches()
    yield tmp_path
    PEERS.clear()
    PEERS.update(before)
    sys.modules.pop("mulaw", None)


def test_it_codes(folder: Path) -> None:
    peer = find("mulaw:MuLaw")
    assert PEERS["mu-law"] is peer
    assert find("mu-law") is peer
    time = np.arange(48_000) / 48_000
    audio = np.stack([0.5 * np.sin(2 * np.pi * hz * time) for hz in (440, 1000)])
    coded = peer.code(audio.astype(np.float32), 48_000, 64_000)
    assert coded.bits == 2 * 64_000
    assert coded.audio.shape == audio.shape
    noise = np.square(coded.audio - audio).sum() / np.square(audio).sum()
    assert 30 < -10 * np.log10(noise) < 50
    assert coded.encode_seconds > 0


def test_it_can_be_taken_in_twice(folder: Path) -> None:
    first = find("mulaw:MuLaw")
    assert type(find("mulaw:MuLaw")) is type(first)


def test_what_is_no_codec(folder: Path) -> None:
    for name in ("nonsense", "mulaw:Nothing", "no_such_module:Codec", "mulaw:encode"):
        with pytest.raises(ValueError, match="codec"):
            find(name)
    with pytest.raises(ValueError, match="opus, "):
        find("nonsense")
    assert "mu-law" not in PEERS


class Silence(Peer):
    name, label = "silence", "Silence"
    bitrates_bps, sample_rate_hz = (1,), 8000
    gives: tuple[int, ...] = (1, 800)

    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        return Coded(np.zeros(self.gives), 1, 0.0, 0.0)


def test_names(folder: Path) -> None:
    register(Silence())
    peer = Silence()
    for name in ("", "Opus 6", "a/b", "..", "opus\n"):
        peer.name = name
        with pytest.raises(ValueError, match="not a valid name"):
            register(peer)
    peer.name = "opus"
    with pytest.raises(ValueError, match="already"):
        register(peer)
    assert PEERS["opus"].label == "Opus"


@pytest.mark.parametrize("gives", [(800,), (2, 800), (1, 799)])
def test_what_a_codec_gives_is_checked(gives: tuple[int, ...]) -> None:
    peer, audio = Silence(), np.zeros(800, np.float32)
    assert peer.code(audio, 8000, 1).audio.dtype == np.float32
    peer.gives = gives
    with pytest.raises(PeerError, match=r"must return|the end is lost"):
        peer.code(audio, 8000, 1)
