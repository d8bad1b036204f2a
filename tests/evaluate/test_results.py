"""``results.jsonl`` is JSON, whatever value a metric returns."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from chirrup.evaluate.results import Results, Row, total_kbps

ROW = Row("x", "X", False, "", 6000, "clean", "a\\infinite", "a", 1.0, 6000, 0.1, 0.1, 0.0)


def test_the_bitrate_of_short_and_long_clips_is_that_of_all_audio() -> None:
    short = replace(ROW, seconds=0.1, bits=6000)  # 60 kbit/s, mostly the header
    assert total_kbps([short, replace(ROW, seconds=9.9, bits=54_000)]) == 6


def refused(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def test_no_score_and_an_infinite_one(tmp_path: Path) -> None:
    scores = {"snr": math.inf, "si_sdr": -math.inf, "pesq_wb": math.nan, "lsd": 1.5, "wer": None}
    Results({}, [replace(ROW, scores=scores)]).write(tmp_path / "results.jsonl")
    for line in (tmp_path / "results.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refused)
    (row,) = Results.read(tmp_path / "results.jsonl").rows
    assert row == replace(ROW, scores=scores | {"pesq_wb": None})


def test_other_values_are_finite(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Results({}, [replace(ROW, delay_ms=math.nan)]).write(tmp_path / "results.jsonl")
    assert not list(tmp_path.iterdir())
