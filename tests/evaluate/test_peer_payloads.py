"""The bits of handmade files; and commands that fail."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from chirrup.evaluate.peers import PEERS, CommandPeer, PeerError, mp3, ogg
from chirrup.evaluate.peers.commands import run
from chirrup.evaluate.peers.lc3 import Lc3
from chirrup.evaluate.peers.mp3 import Mp3
from chirrup.evaluate.peers.peer import from_int16, padded_together, resampled, to_int16

# --- Ogg -----------------------------------------------------------------------------------------


def page(lacing: Sequence[int]) -> bytes:
    return b"OggS" + bytes(22) + bytes([len(lacing), *lacing]) + bytes(sum(lacing))


def test_ogg_packets() -> None:
    data = page([19]) + page([255, 0]) + page([10, 255, 255, 3, 0]) + page([255, 255]) + page([4])
    assert ogg.packet_sizes(data) == [19, 255, 10, 513, 0, 514]
    assert ogg.payload_bits(data, headers=2) == 8 * (10 + 513 + 514)
    assert ogg.packet_sizes(b"") == []


def test_ogg_that_is_damaged() -> None:
    data = page([19]) + page([100])
    for bad in (data[:-1], data[:50], data + b"Ogg", b"RIFF" + data):
        with pytest.raises(ValueError, match="Ogg page"):
            ogg.packet_sizes(bad)


# --- MP3 -----------------------------------------------------------------------------------------

ID3 = b"ID3\x04\x00\x00\x00\x00\x01\x02" + bytes(130)  # a size of 1 * 128 + 2
V1_64K_48K = bytes([0xFF, 0xFB, 0x54, 0xC4])  # 192 bytes
V1_128K_44K = bytes([0xFF, 0xFB, 0x90, 0x64])  # 417, and 418 with padding
V2_32K_22K = bytes([0xFF, 0xF3, 0x40, 0xC4])  # 104
V25_8K_8K = bytes([0xFF, 0xE3, 0x18, 0xC4])  # 72


def frame(header: bytes, size: int, content: bytes = b"") -> bytes:
    return header + content + bytes(size - 4 - len(content))


def test_mp3_frames() -> None:
    info = frame(V1_64K_48K, 192, bytes(17) + b"Info")
    padded = bytes([*V1_128K_44K[:2], V1_128K_44K[2] | 2, V1_128K_44K[3]])
    sound = frame(V1_64K_48K, 192) + frame(V1_128K_44K, 417) + frame(padded, 418)
    sound += frame(V2_32K_22K, 104) + frame(V25_8K_8K, 72)
    sizes = [192, 417, 418, 104, 72]
    assert [len(each) for each in mp3.frames(sound)] == sizes
    for data in (sound, info + sound, ID3 + info + sound, ID3 + sound + b"TAG" + bytes(125)):
        assert Mp3().payload_bits(data) == 8 * sum(sizes)


def test_mp3_that_is_damaged() -> None:
    sound = frame(V1_64K_48K, 192)
    for bad in (sound + b"junk", sound[:-1], b"RIFF" + sound, sound + b"\xff", sound + bytes(4)):
        with pytest.raises(ValueError, match="MP3 frame"):
            Mp3().payload_bits(bad)


# --- LC3, Codec2 ---------------------------------------------------------------------------------


def test_lc3_frames() -> None:
    peer = Lc3("lc3", 16_000, (16_000,))
    header = b"\x1c\xcc\x12\x00" + bytes(14)
    data = header + b"\x14\x00" + bytes(20) + b"\x02\x01" + bytes(258)
    assert peer.payload_bits(data) == 8 * 278
    assert peer.payload_bits(header) == 0
    for bad in (data[:-1], data[:-259], b"\x1c\xcc\x14\x00" + data[4:], b"RIFF" + data):
        with pytest.raises(ValueError, match="LC3"):
            peer.payload_bits(bad)


# --- exact sizes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "bitrate_bps", "frame_samples", "frame_bits", "more"),
    [
        ("codec2", 700, 320, 32, 2),
        ("codec2", 1300, 320, 56, 2),
        ("codec2", 3200, 160, 64, 4),
        ("amr-wb", 6600, 320, 132, 1),
        ("amr-wb", 23_850, 320, 477, 1),
        ("lyra2", 6000, 320, 120, 1),
        ("speex-nb", 2150, 160, 48, 2),
        ("lc3-16k", 16_000, 160, 160, 1),
    ],
)
def test_a_second_takes_the_frames_and_those_of_its_end(
    name: str, bitrate_bps: int, frame_samples: int, frame_bits: int, more: int
) -> None:
    peer = PEERS[name]
    if (lack := peer.missing()) is not None:
        pytest.skip(lack)
    audio = 0.1 * np.sin(np.arange(peer.sample_rate_hz) / 9).astype(np.float32)
    bits = peer.code(audio, peer.sample_rate_hz, bitrate_bps).bits
    frames = len(audio) // frame_samples
    assert bits % frame_bits == 0
    assert frames + more <= bits // frame_bits <= frames + more + 1


@pytest.mark.parametrize("name", ["opus", "vorbis"])
def test_headers_do_not_count(name: str) -> None:
    """At a variable bitrate, silence has almost no bits, and Vorbis has headers of 3 kB."""
    if (lack := PEERS[name].missing()) is not None:
        pytest.skip(lack)
    silence = np.zeros(4800, np.float32)
    assert 0 < PEERS[name].code(silence, 48_000, 64_000).bits < 8 * 100


# --- helpers -------------------------------------------------------------------------------------


def test_sixteen_bits() -> None:
    audio = np.array([[0, 0.5, 1.5, -1, -2, 0.4 / 32768]], np.float32)
    samples = to_int16(audio)
    assert samples.tolist() == [[0, 16384, 32767, -32768, -32768, 0]]
    assert np.array_equal(from_int16(samples)[0, :2], audio[0, :2])


@pytest.mark.parametrize("samples", [1, 2, 4411])
def test_resampling_never_shortens(samples: int) -> None:
    audio = np.ones((2, samples), np.float32)
    for rate_hz in (8000, 11_025, 24_000, 44_100, 48_000):
        there = resampled(audio, 22_050, rate_hz)
        assert there.dtype == np.float32
        assert resampled(there, rate_hz, 22_050).shape[1] >= samples
    assert resampled(audio, 8000, 8000) is audio


def test_channels_of_different_lengths() -> None:
    parts = [np.ones((1, 3), np.float32), np.ones((1, 1), np.float32)]
    assert padded_together(parts).tolist() == [[1, 1, 1], [1, 0, 0]]


# --- commands ------------------------------------------------------------------------------------

FAIL = "import sys; sys.stderr.write('no such bitrate'); sys.exit(3)"


def test_a_failing_command_says_why() -> None:
    with pytest.raises(PeerError, match=r"status 3: no such bitrate"):
        run([sys.executable, "-c", FAIL])
    with pytest.raises(PeerError, match=r"status 1: no output"):
        run([sys.executable, "-c", "raise SystemExit(1)"])
    with pytest.raises(PeerError, match=r"stopped after 0\.2 s"):
        run([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.2)
    with pytest.raises(PeerError, match="cannot be started"):
        run(["no-such-command-anywhere"])
    assert run([sys.executable, "-c", "input() if False else None"]) > 0


class Copy(CommandPeer):
    """A codec without compression, or one that fails."""

    name, label = "copy", "Copy"
    bitrates_bps, sample_rate_hz = (1, 2, 3), 8000
    tools, package, suffix = (sys.executable,), "python3", "wav"
    code_text = "import shutil, sys; shutil.copy(*sys.argv[1:])"

    def encode_command(self, source: Path, coded: Path, bitrate_bps: int) -> Sequence[object]:
        return (sys.executable, "-c", FAIL if bitrate_bps == 2 else self.code_text, source, coded)

    def decode_command(self, coded: Path, decoded: Path, bitrate_bps: int) -> Sequence[object]:
        return (sys.executable, "-c", "" if bitrate_bps == 3 else self.code_text, coded, decoded)

    def payload_bits(self, data: bytes) -> int:
        return 8 * len(data)


def test_files_are_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    audio = np.float32(0.25) * np.ones((1, 80), np.float32)
    coded = Copy().code(audio, 8000, 1)
    assert np.array_equal(coded.audio, audio)
    assert coded.bits == 8 * (44 + 160)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PeerError, match="no such bitrate"):
        Copy().code(audio, 8000, 2)
    with pytest.raises(PeerError, match="cannot be read"):
        Copy().code(audio, 8000, 3)
    assert list(tmp_path.iterdir()) == []
