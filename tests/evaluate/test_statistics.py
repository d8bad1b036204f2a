"""Means and intervals."""

import numpy as np
import pytest

from chirrup.evaluate.metrics import METRICS
from chirrup.evaluate.statistics import interval, paired
from chirrup.evaluate.tables import cell


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    speakers = [f"s{index // 2}" for index in range(60)]
    inside = 0
    for _ in range(200):
        each = np.repeat(random.standard_normal(30), 2)  # clips of a speaker are alike
        found = interval(5 + each, speakers)
        assert found is not None
        inside += found.low <= 5 <= found.high
    assert inside / 200 == pytest.approx(0.94, abs=0.04)


def test_blanks_are_left_out() -> None:
    found = interval(np.array([1.0, np.nan, 3.0]), ["a", "b", "c"])
    assert found is not None
    assert found.mean == 2.0
    assert interval(np.array([np.nan]), ["a"]) is None


def test_clips_of_one_speaker_still_have_an_interval() -> None:
    found = interval(np.array([1.0, 2.0, 3.0]), ["a", "a", "a"])
    assert found is not None
    assert found.low < 2.0 < found.high


def test_one_clip_has_no_interval() -> None:
    found = interval(np.array([1.0, np.nan]), ["a", "b"])
    assert found is not None
    assert not found.known
    assert cell(found, METRICS["snr"]) == "1.0"


def test_a_paired_difference_is_surer_than_two_means() -> None:
    random = np.random.default_rng(1)
    clips, speakers = random.standard_normal(30), [str(index) for index in range(30)]
    gain = paired(list(clips + 0.1), [*clips[:-1], None], speakers)
    assert gain is not None
    assert (gain.mean, gain.low, gain.high) == pytest.approx((0.1, 0.1, 0.1))
