"""Work for the tests of `chirrup.data.workers`: other processes import it."""

import os


def double(job: str) -> str:
    return job * 2


def double_or_die(job: str) -> str:
    """Ends its process on the job ``die``."""
    if job == "die":
        os._exit(9)
    return job * 2


def died(job: str) -> str:
    return f"{job} died"
