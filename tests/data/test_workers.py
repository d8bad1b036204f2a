"""Jobs in processes of this machine and on a local Ray."""

from collections.abc import Iterator

import pytest

import data_jobs
from chirrup.data.workers import WAITING, on_ray, processes
from chirrup.errors import FileError


def test_every_job_has_its_result() -> None:
    jobs = [str(number) for number in range(40)]
    results = processes(2)(data_jobs.double, jobs, None)
    assert sorted(results) == sorted(job * 2 for job in jobs)


def test_jobs_are_drawn_as_they_are_needed() -> None:
    """Memory does not grow with the number of jobs."""
    drawn = 0

    def jobs() -> Iterator[str]:
        nonlocal drawn
        for number in range(100):
            drawn += 1
            yield str(number)

    results = processes(1)(data_jobs.double, jobs(), None)
    next(results)
    assert drawn <= WAITING + 1
    assert len(list(results)) == 99


def test_a_job_that_ends_its_process_ends_no_other() -> None:
    jobs = ["a", "die", "b", "c", "d", "die", "e", "f"]
    results = processes(2)(data_jobs.double_or_die, jobs, data_jobs.died)
    assert sorted(results) == sorted(["die died"] * 2 + [2 * job for job in "abcdef"])


def test_a_process_that_ends_where_none_may() -> None:
    with pytest.raises(FileError, match="a process was killed"):
        list(processes(1)(data_jobs.double_or_die, ["die"], None))


def test_no_jobs() -> None:
    assert list(processes(2)(data_jobs.double, [], None)) == []


def test_without_ray_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(FileError, match=r"pip install 'chirrup\[scale\]'"):
        on_ray(None)
