"""Selection of clips: filters, balance and splits."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chirrup.data import balance, filters, splits
from chirrup.data.recipe import Recipe, recipe_of
from chirrup.data.store import Clip

HOUR = 3600.0


def clip(number: int, seconds: float = 10.0, **facts: Any) -> Clip:
    """Return a clip of good speech, with changes."""
    good = {"snr_db": 50.0, "rt60_s": 0.2, "bandwidth_hz": 12_000.0, "silence_share": 0.2}
    figures = good | {"clipped_share": 0.0, "dc_offset": 0.0, "loudness_lufs": -23.0}
    figures |= {name: facts.pop(name) for name in filters.ORDER if name in facts}
    told = {
        "id": number,
        "kind": "speech",
        "source": "s",
        "filters": "read",
        "group": f"s:{number}",
        "gender": "",
        "language": "",
        "category": "",
        "licensed": True,
        "given_split": "",
        "content": 1_000_003 * (number + 1),
        **facts,
    }
    values = figures | {"seconds": seconds}
    row = tuple(values.get(name, math.nan) for name in filters.ORDER)
    return Clip(seconds=seconds, figures=row, **told)


def kept_hours(clips: Sequence[Clip], name: str) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for one in clips:
        found[getattr(one, name)] += 0 if one.reason else one.seconds / HOUR
    return dict(found)


def recipe(**table: Any) -> Recipe:
    return recipe_of(table)


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "reason", "detail"),
    [
        ({"snr_db": 12.34}, "snr_db", "12.34 is below 25"),
        ({"rt60_s": 0.8}, "rt60_s", "0.8 is above 0.45"),
        ({"bandwidth_hz": 4000.0}, "bandwidth_hz", "4000 is below 7000"),
        ({"clipped_share": 0.01}, "clipped_share", "0.01 is above 0.0001"),
        ({"silence_share": 0.95}, "silence_share", "0.95 is above 0.8"),
        ({"dc_offset": 0.1}, "dc_offset", "0.1 is above 0.02"),
        ({"loudness_lufs": -66.0}, "loudness_lufs", "-66 is below -50"),
        ({"seconds": 0.5}, "seconds", "0.5 is below 1"),
        ({"licensed": False}, "licence", "it has no licence"),
        ({"rt60_s": math.nan}, "", ""),
        ({"snr_db": 12.0, "filters": "studio"}, "", ""),
    ],
)
def test_each_limit_refuses_for_its_own_reason(
    facts: dict[str, Any], reason: str, detail: str
) -> None:
    one = clip(0, facts.pop("seconds", 10.0), **facts)
    filters.refuse_outside_limits([one], Recipe())
    assert one.reason == reason
    assert one.detail.startswith(detail)


def test_the_same_audio_twice() -> None:
    pair = [clip(0, content=7), clip(1, content=7), clip(2, content=8)]
    filters.refuse_outside_limits(pair, Recipe())
    assert [one.reason for one in pair] == ["", "duplicate", ""]
    pair = [clip(0, content=7), clip(1, content=7)]
    filters.refuse_outside_limits(pair, recipe(duplicates=True))
    assert [one.reason for one in pair] == ["", ""]


def test_what_was_refused_is_no_original_of_a_duplicate() -> None:
    pair = [clip(0, content=7, licensed=False), clip(1, content=7)]
    filters.refuse_outside_limits(pair, Recipe())
    assert [one.reason for one in pair] == ["licence", ""]


def test_scores_rank_what_is_good() -> None:
    clips = [
        clip(0, snr_db=20.0, rt60_s=0.6),
        clip(1, snr_db=60.0, rt60_s=0.2),
        clip(2, snr_db=40.0, rt60_s=0.4),
        clip(3, snr_db=40.0, rt60_s=math.nan),
    ]
    bad, best, middle, unknown = filters.scores(clips, 12_000.0)
    assert bad < middle < best
    assert bad < unknown < best
    assert 0 <= bad <= best <= 1


def test_bandwidth_counts_up_to_what_is_written() -> None:
    wide, full, narrow = (
        clip(n, bandwidth_hz=hz) for n, hz in enumerate((24_000.0, 12_000.0, 8_000.0))
    )
    scores = filters.scores([wide, full, narrow], 12_000.0)
    assert scores[0] == scores[1] > scores[2]


# --- shares --------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20), st.floats(0, 500))
def test_a_budget_is_poured_evenly(amounts: list[float], budget: float) -> None:
    shares = balance.even_shares(amounts, budget)
    assert sum(shares) == pytest.approx(min(budget, sum(amounts)), abs=1e-6)
    assert all(0 <= share <= amount + 1e-9 for share, amount in zip(shares, amounts))
    level = max(shares)
    for share, amount in zip(shares, amounts):
        assert share == pytest.approx(min(amount, level), abs=1e-6)


def test_forty_per_cent_of_read_speech_and_all_of_studio_speech() -> None:
    clips = [clip(n, 36.0, group=f"s:{n % 20}", snr_db=30.0 + n % 37) for n in range(1000)]
    clips += [clip(1000 + n, 36.0, filters="studio", snr_db=5.0) for n in range(100)]
    filters.refuse_outside_limits(clips, Recipe())
    balance.speech(clips, Recipe())
    hours = kept_hours(clips, "filters")
    assert hours["read"] == pytest.approx(4.0, rel=0.02)
    assert hours["studio"] == pytest.approx(1.0)
    assert {one.reason for one in clips} == {"", "keep_share"}


def test_the_share_counts_what_the_limits_refused() -> None:
    clips = [clip(n, 36.0, snr_db=50.0 if n % 2 else 10.0) for n in range(1000)]
    filters.refuse_outside_limits(clips, Recipe())
    balance.speech(clips, Recipe())
    assert kept_hours(clips, "filters")["read"] == pytest.approx(4.0, rel=0.02)
    assert Counter(one.reason for one in clips)["snr_db"] == 500


def test_languages_genders_and_speakers_get_even_shares() -> None:
    """The clips are 9 h of English by 25 men and 5 women, and 1 h of Czech by one woman."""
    clips = []
    for n in range(900):
        speaker = n % 30
        gender = "female" if speaker < 5 else "male"
        clips.append(clip(n, 36.0, group=f"en:{speaker}", gender=gender, language="en"))
    clips += [clip(900 + n, 36.0, group="cs:1", gender="female", language="cs") for n in range(100)]
    balance.speech(clips, recipe(balance={"speaker_hours": 0.0}))
    languages = kept_hours(clips, "language")
    assert languages["cs"] == pytest.approx(1.0, rel=0.02)
    assert languages["en"] == pytest.approx(3.0, rel=0.05)
    english = [one for one in clips if one.language == "en"]
    assert kept_hours(english, "gender")["female"] == pytest.approx(1.5, rel=0.05)
    speakers = kept_hours(english, "group")
    assert max(speakers.values()) <= 0.31
    men = [hours for group, hours in speakers.items() if int(group[3:]) >= 5]
    assert max(men) - min(men) <= 0.011


def test_of_a_speaker_the_best_are_kept() -> None:
    clips = [clip(n, 36.0, group="s:1", snr_db=30.0 + n) for n in range(100)]
    balance.speech(clips, Recipe())
    assert [not one.reason for one in clips] == [False] * 60 + [True] * 40


def test_no_speaker_has_more_than_the_limit() -> None:
    clips = [clip(n, 36.0, group=f"s:{n // 500}", filters="studio") for n in range(600)]
    balance.speech(clips, Recipe())
    assert kept_hours(clips, "group") == pytest.approx({"s:0": 2.0, "s:1": 1.0}, abs=0.01)
    assert {one.reason for one in clips} == {"", "speaker_hours"}


def test_frequent_noise_is_thinned() -> None:
    sizes = {"rain": 500, "door": 30, "dog": 20, "bell": 10, "": 400}
    clips, number = [], 0
    for category, size in sizes.items():
        for n in range(size):
            clips.append(
                clip(
                    number,
                    36.0,
                    kind="noise",
                    filters="noise",
                    category=category,
                    group=f"{category}{n // 50}",
                )
            )
            number += 1
    balance.noise(clips, Recipe())
    hours = kept_hours(clips, "category")
    assert hours == pytest.approx({"rain": 0.75, "door": 0.3, "dog": 0.2, "bell": 0.1, "": 4.0})
    recordings = Counter(one.group for one in clips if one.category == "rain" and not one.reason)
    assert len(recordings) == 10
    assert max(recordings.values()) - min(recordings.values()) <= 1


def test_noise_of_one_category_is_left_alone() -> None:
    clips = [clip(n, kind="noise", filters="noise", category="rain") for n in range(9)]
    balance.noise(clips, Recipe())
    assert not any(one.reason for one in clips)


def test_what_is_kept_does_not_depend_on_numbers_in_the_working_file() -> None:
    """Clips arrive in the order in which processes finish."""
    picks = []
    for offset in (0, 5000):
        clips = [clip(n, 36.0, group=f"s:{n % 7}") for n in range(200)]
        for one in clips:
            one.id += offset
        balance.speech(clips, Recipe())
        splits.assign(clips, Recipe())
        picks.append([(one.reason, one.split) for one in clips])
    assert picks[0] == picks[1]


# --- splits --------------------------------------------------------------------------------------


def assigned(clips: list[Clip], **table: Any) -> dict[str, set[str]]:
    """Return the groups of each split."""
    splits.assign(clips, recipe(splits=table))
    found: dict[str, set[str]] = defaultdict(set)
    for one in clips:
        if one.split:
            found[one.split].add(one.group)
    return dict(found)


@given(st.integers(0, 1000), st.integers(1, 40), st.floats(0, 0.4), st.floats(0, 0.4))
@settings(deadline=None, max_examples=40)
def test_no_group_is_in_two_splits(seed: int, groups: int, test: float, validation: float) -> None:
    clips = [
        clip(n, 5.0 + n % 7, group=f"g{(n * n + seed) % groups}", source=f"s{n % 2}")
        for n in range(120)
    ]
    found = assigned(clips, test=test, validation=validation)
    names = [group for part in found.values() for group in part]
    assert len(names) == len(set(names)) == len({one.group for one in clips})
    assert found["train"]
    assert all(one.split for one in clips)


def test_shares_are_about_as_wanted() -> None:
    clips = [clip(n, 36.0, group=f"g{n % 200}") for n in range(2000)]
    assigned(clips, test=0.1, validation=0.05)
    hours = kept_hours(clips, "split")
    assert hours == pytest.approx({"train": 17.0, "validation": 1.0, "test": 2.0}, rel=0.15)


def test_test_and_validation_hear_every_language_and_gender() -> None:
    clips = []
    for n in range(1000):
        speaker = n % 100
        language = "en" if speaker < 80 else "cs"
        gender = "female" if speaker % 5 == 0 else "male"
        clips.append(clip(n, group=f"g{speaker}", language=language, gender=gender))
    assigned(clips, test=0.08, validation=0.08)
    for split in ("test", "validation"):
        strata = {(one.language, one.gender) for one in clips if one.split == split}
        assert len(strata) == 4


def test_a_huge_group_does_not_become_the_test_set() -> None:
    clips = [clip(n, group="huge" if n < 500 else f"g{n}") for n in range(600)]
    assert "huge" in assigned(clips, test=0.05, validation=0.0)["train"]


def test_one_speaker_alone_is_for_training() -> None:
    assert assigned([clip(0, group="a"), clip(1, group="a")], test=0.5) == {"train": {"a"}}


def test_given_splits_stay_and_none_is_drawn_from_such_a_source() -> None:
    clips = [clip(n, group=f"a{n % 10}", source="a") for n in range(100)]
    for one in clips:
        one.given_split = "test" if one.group == "a3" else "train"
    clips += [clip(100 + n, group=f"b{n % 10}", source="b") for n in range(100)]
    found = assigned(clips, test=0.1, validation=0.0)
    assert {group for group in found["test"] if group.startswith("a")} == {"a3"}
    assert {group for group in found["test"] if group.startswith("b")}
    found = assigned(clips, given=False, test=0.1, validation=0.0)
    assert "a3" in found["train"] or len(found["test"]) > 1


def test_a_group_that_its_source_has_in_two_splits() -> None:
    def clips() -> list[Clip]:
        return [
            clip(0, group="a", given_split="train"),
            clip(1, group="a", given_split="test"),
            clip(2, group="a"),
            clip(3, group="b", given_split="train"),
        ]

    strict, loose = clips(), clips()
    assigned(strict, test=0.0, validation=0.0)
    assert [(one.split, one.reason) for one in strict] == [
        ("", "split"),
        ("test", ""),
        ("test", ""),
        ("train", ""),
    ]
    assigned(loose, overlap=True, test=0.0, validation=0.0)
    assert [one.split for one in loose] == ["train", "test", "test", "train"]


def test_another_seed_draws_others() -> None:
    found = []
    for seed in (1, 1, 2):
        clips = [clip(n, group=f"g{n}") for n in range(300)]
        splits.assign(clips, recipe(seed=seed))
        found.append({one.group for one in clips if one.split == "test"})
    assert found[0] == found[1] != found[2]
