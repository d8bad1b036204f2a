"""``chirrup blind-test`` and ``chirrup ratings``: from an evaluation to the table."""

import json
from pathlib import Path

import pytest

from chirrup.cli import run
from chirrup.evaluate.listening_tests.ratings import read_key
from chirrup.serve.ratings import Ratings
from listening_samples import evaluated, submission


def test_from_an_evaluation_to_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    evaluated(Path("results"), ["ann__0", "bob__0"], seconds=0.02)
    assert run(["blind-test", "results", "--out", "test", "--title", "Speech at 1 kbit/s"]) == 0
    assert "test/page: 2 trials; the key is test/key.json" in capsys.readouterr().err
    assert json.loads(Path("test/page/test.json").read_text())["title"] == "Speech at 1 kbit/s"
    assert run(["blind-test", "results", "--out", "test"]) == 2

    key = read_key(Path("test"))
    scores = {"reference": 100, "good-6000": 80, "bad-1000": 30}
    values = [
        submission(
            key,
            listener,
            lambda trial, hidden=hidden: {
                sound: scores.get(key.sounds[sound]["system"], 10) - hidden
                for sound in trial["sounds"]
            },
            "scores",
        )
        for listener, hidden in (("one", 0), ("two", 5), ("deaf", 50 - 40))
    ]
    values[2]["ratings"][0]["scores"] = dict.fromkeys(values[2]["ratings"][0]["scores"], 50)
    Path("sent").mkdir()
    del values[0]["ratings"][1]
    Path("sent/one.json").write_text(json.dumps(values[0]))
    for value in values[1:]:
        Ratings(Path("store.sqlite")).add(key.test, value["listener"], value)
    Path("sent/one-later.json").write_text(json.dumps(values[0]))
    capsys.readouterr()
    assert run(["ratings", "test", "sent/one.json", "sent/one-later.json", "store.sqlite"]) == 0
    printed = capsys.readouterr()
    assert "listener one has 2 submissions: the one with the most ratings counts" in printed.err
    assert "listener one rated 1 of 2 trials" in printed.err
    assert (
        "listener deaf is excluded: scored the hidden reference below 90 in 1 of 2" in printed.err
    )
    assert "2 listeners, 1 excluded" in printed.out
    assert "Good 6k less Bad 1k" in printed.out
    assert "76.7 (75.0 to 80.0)" in printed.out

    Path("empty.sqlite").touch()
    assert run(["ratings", "test", "empty.sqlite"]) == 2
    Path("sent/none.json").write_text(json.dumps(values[1] | {"listener": "none", "ratings": []}))
    capsys.readouterr()
    assert run(["ratings", "test", "sent/none.json"]) == 2
    assert "there are no ratings of the test" in capsys.readouterr().err
    assert run(["ratings", "test", "sent/none.json", "sent/one.json"]) == 0
    printed = capsys.readouterr()
    assert "listener none rated 0 of 2 trials" in printed.err
    assert printed.out.startswith("1 listener, 0 excluded")
    assert " 80.0 │" in printed.out, "one rating has no interval"
    assert run(["ratings", "results", "sent"]) == 2
    assert "name the folder that chirrup blind-test made" in capsys.readouterr().err
