"""Batches of signals of different lengths."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

import chirrup
from small_model import FRAME, Exported, speech_like

pytest_plugins = ["models_fixture"]

LENGTHS = [1, 3 * FRAME, 24_000, 24_001, 60 * FRAME]
PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "tokens.md"
SIGNALS = [speech_like(samples, seed) for seed, samples in enumerate(LENGTHS)]


@pytest.fixture(params=["native", "onnx"])
def codec(request: pytest.FixtureRequest, small_export: Exported) -> chirrup.Codec:
    return chirrup.load(small_export.folder, engine=request.param)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_of_a_batch_gets_what_it_gets_alone(codec: chirrup.Codec, workers: int) -> None:
    alone = [codec.encode(signal, 800) for signal in SIGNALS]
    padded = pad_sequence([torch.from_numpy(signal) for signal in SIGNALS], batch_first=True)
    assert codec.encode_batch(SIGNALS, 800, workers=workers) == alone
    lengths: Any = torch.tensor(LENGTHS)
    batch: Any = padded
    assert codec.encode_batch(batch, 800, lengths=lengths, workers=workers) == alone

    sounds = codec.decode_batch(alone, workers=workers)
    assert all(map(np.array_equal, sounds, map(codec.decode, alone)))
    columns = [torch.from_numpy(codes.data.T) for codes in alone]
    data = pad_sequence(columns, batch_first=True, padding_value=-1).transpose(1, 2).numpy()
    sounds = codec.decode_batch(data, lengths=[codes.frames for codes in alone], workers=workers)
    assert all(map(np.array_equal, sounds, [codec.decode(codes.data) for codes in alone]))


def test_rows_may_have_channels_and_another_sample_rate(codec: chirrup.Codec) -> None:
    stereo = np.stack([SIGNALS[2], -SIGNALS[2]])
    codes = codec.encode_batch(np.stack([stereo, 2 * stereo]), sample_rate_hz=44_100)
    assert codes[0] == codec.encode(stereo, sample_rate_hz=44_100)
    assert [sound.shape for sound in codec.decode_batch(codes)] == 2 * [(2, codes[0].samples)]
    assert codec.encode_batch([]) == codec.decode_batch([]) == []


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"lengths": [1, 2]}, ValueError, r"integers \[5\], one for each signal; got int64 \[2\]"),
    ({"lengths": LENGTHS[::-1]}, ValueError, r"signal 0 .* \[1\], but its length is 28800"),
    ({"lengths": [0, *LENGTHS[1:]]}, ValueError, "signal 0 .* its length is 0"),
    ({"bitrate_bps": 7}, ValueError, "^small has no bitrate of 7"),
    ({"sample_rate_hz": 44.1}, TypeError, "^a sample rate must be"),
    ({"workers": 0}, ValueError, "workers must be an integer from 1 on, not 0"),
    ({"workers": 1.5}, ValueError, "workers must be an integer from 1 on, not 1.5"),
    ({"workers": "2"}, ValueError, "workers must be an integer from 1 on, not '2'"),
    ({"audio": None}, TypeError, "a batch must be a list of signals or an array, got NoneType"),
    ({"audio": None, "lengths": [1]}, TypeError, "a batch must be a list of signals"),
    ({"audio": [SIGNALS[0], np.full(9, np.nan)]}, ValueError, "signal 1: audio has samples that"),
]


@pytest.mark.parametrize(("given", "error", "words"), WRONG)
def test_a_wrong_batch_is_named(
    small_codec: chirrup.Codec, given: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        small_codec.encode_batch(**{"audio": SIGNALS, **given})


@pytest.mark.slow  # three processes import torch
def test_the_data_loader_of_the_page_runs(tmp_path: Path) -> None:
    """Spawned workers pickle the codec."""
    blocks = re.findall(r"^```py(?:thon)?\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (program,) = [block for block in blocks if "DataLoader" in block]
    check = "        assert [len(signal) for signal in audio] == [9_840, 24_240]\n"
    (tmp_path / "program.py").write_text(blocks[0] + program + check)
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
