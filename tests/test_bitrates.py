"""Requested bitrates, and the bitrates that are used."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from chirrup.cli import run
from chirrup.codec import Codec
from chirrup.zoo import load


@pytest.fixture(scope="module")
def music() -> Codec:
    """A codec with 20 codebooks of 6201.5625 bit/s."""
    return load("tq-small")


def test_bitrates_that_are_no_whole_numbers(music: Codec) -> None:
    rates = music.bitrates_bps
    assert rates[:3] == [6202, 12_403, 18_605]
    assert (rates[4], rates[9], rates[19]) == (31_008, 62_016, 124_031)
    for count, rate in enumerate(rates, 1):
        assert music.codebooks_at(rate) == music.codebooks_within(rate) == count
        assert music.codebooks_within(rate + 0.5) == count
    assert music.codebooks_within(None) == music.codebooks_at(None) == 20


@pytest.mark.parametrize(
    ("asked", "codebooks"), [(32_000, 5), (64_000, 10), (128_000, 20), (12_402, 1), (130_232, 20)]
)
def test_next_lower_bitrate(music: Codec, asked: float, codebooks: int) -> None:
    assert music.codebooks_within(asked) == codebooks
    with pytest.raises(ValueError, match="tq-small has no bitrate of"):
        music.codebooks_at(asked)


@pytest.mark.parametrize("asked", [-1, 0, 6201, 130_233, 1e12, float("nan")])
def test_bitrates_out_of_reach(music: Codec, asked: float) -> None:
    with pytest.raises(ValueError, match=r"tq-small has no bitrate of .*; it has 6202, 12403"):
        music.codebooks_within(asked)


def test_command_says_what_it_took(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "a.wav", tmp_path / "a.chirrup"
    soundfile.write(source, 0.1 * np.random.default_rng(0).standard_normal((9600, 2)), 24_000)
    assert run(["encode", str(source), str(target), "-b", "1.2k"]) == 0
    said = capsys.readouterr().err
    assert "no bitrate of 1200 bit/s: each channel is coded at the next lower bitrate, 1000" in said
    assert run(["info", str(target)]) == 0
    assert "2 kbit/s of codes" in capsys.readouterr().out
    assert run(["encode", str(source), str(target), "-f", "-b", "1k"]) == 0
    assert "next lower" not in capsys.readouterr().err
    assert run(["encode", str(source), str(target), "-fq", "-b", "1.2k"]) == 0
    assert capsys.readouterr().err == ""
