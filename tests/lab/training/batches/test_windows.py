"""Windows slide over the recordings of an epoch, each once, and depend on seed and step alone."""

from collections import Counter

import torch

from chirrup.lab.training.batches.windows import SlidingWindows

LENGTH = torch.tensor([101, 150, 151, 350, 90, 251])
COUNTS = [1, 1, 2, 5, 1, 4]
"""Windows of 100 samples in steps of 50. The last sample of a recording is not read."""


def windows(process: int = 0, processes: int = 1, recordings: int = 4, seed: int = 3):
    return SlidingWindows(
        LENGTH,
        100,
        recordings=recordings,
        batch=2,
        seed=seed,
        process=process,
        processes=processes,
    )


def drawn(made: SlidingWindows, steps: range) -> list[tuple[int, int]]:
    return [pair for step in steps for pair in zip(*(x.tolist() for x in made.places(step)))]


def test_an_epoch_has_every_window_of_its_recordings() -> None:
    for recordings in (4, 100):
        made = windows(recordings=recordings)
        start = 0
        chosen = []
        for _ in range(3):
            made.places(start)
            steps, epoch = made.steps, set(made.chosen.tolist())
            assert len(epoch) == min(recordings, len(LENGTH))
            found = Counter(drawn(made, range(start, start + steps)))
            expected = {(index, 50 * k) for index in epoch for k in range(COUNTS[index])}
            assert set(found) == expected
            assert found.total() - len(expected) < 2, "the last step is filled"
            start += steps
            chosen.append(found)
        assert chosen[0] != chosen[1] or recordings == 100


def test_windows_depend_on_seed_and_step_alone() -> None:
    steps = range(40)
    expected = drawn(windows(), steps)
    for step in (39, 0, 17, 16):
        assert drawn(windows(), range(step, step + 1)) == expected[2 * step : 2 * step + 2]
    made = windows()
    assert drawn(made, range(39, 40)) + drawn(made, range(3, 4)) == expected[78:] + expected[6:8]
    assert drawn(windows(seed=4), steps) != expected


def test_processes_share_an_epoch() -> None:
    both = [windows(process, 2) for process in range(2)]
    both[0].places(0)
    steps = range(both[0].steps)
    found = Counter(drawn(both[0], steps)) + Counter(drawn(both[1], steps))
    epoch = both[0].chosen.tolist()
    assert set(found) == {(index, 50 * k) for index in epoch for k in range(COUNTS[index])}
    assert found.total() == 4 * len(steps)
