"""Fixtures of all tests."""

import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from chirrup.zoo import FOLDER

settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")

# Background jobs of a shell ignore SIGINT and nohup ignores SIGHUP, and children inherit it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)  # children begin with the default

GROUPS = {
    "tests/test_no_torch.py": "environment",
    "tests/test_chunked_codec.py": "small_focal",
    "tests/test_voice.py": "small_focal",
    "tests/test_joint_stereo.py": "small_spectro",
    "tests/cli/test_stereo.py": "small_spectro",
    "tests/lab/export/test_export.py": "small_lrac",
}
"""Modules whose tests one process runs, by the slow fixture that they share."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute single tests, and the modules of each of `GROUPS` to one process.

    The groups of ``xdist_group`` have no effect with pytest 9.2 and pytest-xdist 3.8.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return GROUPS.get(nodeid.partition("::")[0], nodeid)

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The folder of iris-t1."""
    return FOLDER / "iris-t1"


@pytest.fixture
def limited_size() -> Iterator[Callable[[int], None]]:
    """A function that limits the size of files in bytes, to simulate a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)
