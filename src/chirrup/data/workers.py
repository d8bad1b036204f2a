"""Runners of jobs in processes of this machine or on a Ray cluster. Jobs and results are JSON."""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any

from chirrup.errors import FileError
from chirrup.files.processes import open_pool
from chirrup.files.several import WAIT_SECONDS

WAITING = 4
"""Waiting jobs per process, which keep it busy with little memory."""
RAY_JOBS = 4096
"""Jobs in a Ray data set. Its results are stored before the next one starts."""

Work = Callable[[str], str]
Run = Callable[[Work, Iterable[str], Work | None], Iterator[str]]
"""A function that runs jobs and yields their results as they are completed.

Its arguments are the function to run, the jobs, and a function that returns the result of a job
that ended its process. If it is None, such a job raises FileError."""


def processes(count: int) -> Run:
    """Return a runner with ``count`` processes of this machine.

    If a job ends its process, as a decoder may with a damaged file, the other jobs continue.
    """

    def run(work: Work, jobs: Iterable[str], crashed: Work | None = None) -> Iterator[str]:
        rest = iter(jobs)
        while True:
            waiting: dict[Future[str], str] = {}
            try:
                with open_pool(count) as pool:
                    yield from _in_pool(pool, work, rest, waiting, count * WAITING)
                return
            except BrokenProcessPool as error:
                if crashed is None:
                    raise FileError("a process was killed: is there enough memory?") from error
                for job in waiting.values():
                    yield _alone(work, job, crashed)

    return run


def _in_pool(
    pool: ProcessPoolExecutor,
    work: Work,
    jobs: Iterator[str],
    waiting: dict[Future[str], str],
    most: int,
) -> Iterator[str]:
    """Run jobs in a pool. ``waiting`` always holds the jobs without a result."""
    while True:
        for job in islice(jobs, most - len(waiting)):
            try:
                waiting[pool.submit(work, job)] = job
            except BrokenProcessPool:
                waiting[Future()] = job
                raise
        if not waiting:
            return
        for future in wait(waiting, WAIT_SECONDS, FIRST_COMPLETED).done:
            result = future.result()
            del waiting[future]
            yield result


def _alone(work: Work, job: str, crashed: Work) -> str:
    """Run a job that may have ended its process, in a separate process."""
    with open_pool(1) as pool:
        try:
            return pool.submit(work, job).result()
        except BrokenProcessPool:
            return crashed(job)


def on_ray(address: str | None, count: int | None = None) -> Run:
    """Return a runner on a Ray cluster, which uses Ray Data.

    Every machine needs this package, and the sources and the corpus under the same paths.

    Args:
        address: address of the cluster. None starts a cluster on this machine.
        count: number of processors of a cluster on this machine.

    Raises:
        FileError: Ray is not installed or does not start. The runner raises it if Ray fails.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.data  # pyright: ignore[reportMissingImports]
        import ray.exceptions  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise FileError(
            "--ray needs Ray, which is not installed: pip install 'chirrup[scale]'"
        ) from error
    if not ray.is_initialized():
        local = {} if address else {"num_cpus": count, "include_dashboard": False}
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **local)
        except Exception as error:  # Ray raises some errors as a bare Exception
            raise FileError(f"Ray does not start: {error}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False

    def run(work: Work, jobs: Iterable[str], crashed: Work | None = None) -> Iterator[str]:
        def row(given: dict[str, Any]) -> dict[str, Any]:
            return {"result": work(given["job"])}

        rest = iter(jobs)
        while part := [{"job": job} for job in islice(rest, RAY_JOBS)]:
            try:
                for done in ray.data.from_items(part).map(row).iter_rows():
                    yield done["result"]
            except ray.exceptions.RayError as error:
                raise FileError(
                    f"Ray could not run all jobs: {error}; run the command again to continue, and "
                    "without --ray if a file crashes a decoder"
                ) from error

    return run
