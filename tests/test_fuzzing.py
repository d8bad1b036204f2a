"""A few rounds of `fuzzing`, which runs many rounds as a script."""

import subprocess
import sys

import pytest

import fuzzing
import fuzzing_models


@pytest.mark.parametrize(
    ("what", "rounds"),
    [
        ("models", 60),
        ("checkpoints", 8),
        ("manifests shards", 12),
        ("bare text messages noise", 3000),
        ("playout", 500),
        ("packets", 5000),
        ("files", 500),
        ("jitter", 100_000),
        ("datagrams", 20_000),
        ("sealed", 10_000),
        ("connections", 10_000),
    ],
)
def test_tampered_input_raises_the_named_errors_only(what: str, rounds: int) -> None:
    """The script runs in a separate process, because it forks, and threads do not survive a
    fork."""
    command = [sys.executable, fuzzing.__file__, "--what", *what.split(), "--rounds", str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Error" in done.stdout or what in (
        "jitter",
        "playout",
        "connections",
    )  # they accept everything


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda folder: (folder / "x").unlink(), "FileNotFoundError"),
        (lambda folder: (b"x" * (200 << 20)).count(b"y"), "MB for "),
    ],
    ids=["other error", "memory"],
)
def test_a_broken_rule_is_seen(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    use: object,
    words: str,
) -> None:
    """The negative control."""
    monkeypatch.setattr(fuzzing_models.Models, "use", staticmethod(use))  # pyright: ignore
    assert fuzzing.rounds(fuzzing_models.Models(), seed=0, count=1)["broken"] == 1
    assert words in capfd.readouterr().out
