"""Small files that decode to long audio: errors, and the cost of allowed files."""

import io
from math import inf
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.bitstream import Header
from chirrup.bitstream.header import encode_header
from chirrup.bitstream.record import Chunk, End, encode_chunk, encode_end
from chirrup.cli import run
from chirrup.codec import Codec
from chirrup.files import FileError, decode_file
from chirrup.files.limits import most_samples
from chirrup.runtime.graph import Graph
from file_samples import Pipe


def bomb(codec: Codec, rate_hz: int, lost_frames: int = 0) -> bytes:
    """Return an intact file without codes.

    Its end record claims 2^32 - 1 frames, or its only chunk has ``lost_frames``.
    """
    header = Header(
        model=codec.name,
        weights_hash=codec.codes_sha256,
        sample_rate_hz=codec.sample_rate_hz,
        original_sample_rate_hz=rate_hz,
        channels=1,
        original_channels=codec.channels,
        channel_mode="joint" if codec.channels > 1 else "separate",
        codebooks=1,
        bits_per_code=codec.bits_per_code,
        frame_samples=codec.frame_samples,
        delay_samples=codec.delay_samples,
        bitrate_bps=1000,
    )
    data = encode_header(header)
    if lost_frames:
        codes = np.full((1, 1, lost_frames), -1, np.int16)
        data += encode_chunk(header, Chunk(0, codes))
    return data + encode_end(End(frames=lost_frames or 2**32 - 1, sample_count=None, index=[]))


@pytest.mark.parametrize("model", ["iris-t1", "spectro-small", "focal-small"])
@pytest.mark.parametrize("lost_frames", [0, 3000])
def test_lost_frames_do_not_run_the_network(
    model: str, lost_frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of 112 bytes took 17 s of CPU time."""
    codec, decoded, run_graph = chirrup.load(model), 0, Graph.__call__

    def counted(self: Graph, x: np.ndarray, state: dict) -> object:
        nonlocal decoded
        decoded += x.shape[2]
        return run_graph(self, x, state)

    monkeypatch.setattr(Graph, "__call__", counted)
    data, target = bomb(codec, codec.sample_rate_hz, lost_frames), io.BytesIO()
    result = decode_file(codec, io.BytesIO(data), target, max_seconds=inf)
    assert result.seconds > 8
    assert result.samples * 2 * result.channels == len(target.getvalue()) - 44
    assert decoded / codec.frame_rate_hz < 0.5


def test_what_would_be_too_long_is_refused(model_folder: Path, tmp_path: Path) -> None:
    codec, target = chirrup.load(model_folder), tmp_path / "x.wav"
    forged, long = (bomb(codec, 24_000, frames) for frames in (0, 3000))
    with pytest.raises(FileError, match=r"decodes to \d{8} s, more than 86400 s: .* --max-durat"):
        decode_file(codec, io.BytesIO(forged), target)
    with pytest.raises(FileError, match="decodes to 60 s, more than 59 s"):
        decode_file(codec, io.BytesIO(long), target, max_seconds=59)
    assert not list(tmp_path.iterdir())
    for source in (io.BytesIO(long), Pipe(long)):
        result = decode_file(codec, source, target, max_seconds=1, end_seconds=1, force=True)
        assert (result.seconds, result.damage) == (1, [])


def test_a_pipe_that_goes_on_is_kept_so_far(model_folder: Path, tmp_path: Path) -> None:
    """Output to a pipe is not limited, because it may be a radio."""
    codec = chirrup.load(model_folder)
    long = bomb(codec, 24_000, 3000)
    result = decode_file(codec, Pipe(long), tmp_path / "x.wav", max_seconds=59.5)
    assert soundfile.info(tmp_path / "x.wav").duration == result.seconds == 59.5
    assert result.damage[0] == "decoded up to 60 s: allow more with --max-duration"
    assert most_samples(tmp_path / "y.wav", 10, None) == 864_000
    with (tmp_path / "x.wav").open("rb") as file:  # as /dev/stdout of a shell's redirection
        assert most_samples(f"/dev/fd/{file.fileno()}", 10, None) == inf
    assert most_samples(Path("/dev/null"), 10, None) == most_samples(io.BytesIO(), 10, None) == inf


def test_an_implausible_sample_rate_is_only_written_if_asked_for(
    model_folder: Path, tmp_path: Path
) -> None:
    codec, target = chirrup.load(model_folder), tmp_path / "x.wav"
    data = bomb(codec, 192_001, 10)
    with pytest.raises(FileError, match=r"192001 Hz, more than 8 times .* --rate 24000"):
        decode_file(codec, io.BytesIO(data), target)
    assert not list(tmp_path.iterdir())
    assert decode_file(codec, io.BytesIO(data), target, rate_hz=192_001).sample_rate_hz == 192_001
    plausible = bomb(codec, 192_000, 10)
    assert decode_file(codec, io.BytesIO(plausible), tmp_path / "y.wav").sample_rate_hz == 192_000


def test_on_the_command_line(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded, target = tmp_path / "x.chirrup", tmp_path / "x.wav"
    coded.write_bytes(bomb(chirrup.load(model_folder), 1_000_000, 500))
    assert run(["decode", str(coded), str(target)]) == 2
    assert "use --rate" not in capsys.readouterr().err
    line = ["decode", str(coded), str(target), "--rate", "24000", "--max-duration"]
    assert run([*line, "0:09"]) == 2
    assert "allow more with --max-duration" in capsys.readouterr().err
    assert not target.exists()
    assert run([*line, "0:10"]) == 0
    assert soundfile.info(target).duration == pytest.approx(10, abs=0.01)
