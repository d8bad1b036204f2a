"""What a metric is, and what all of them share: why one cannot run, blanks, rates, packages.

A metric takes the reference and the decoded signal at the same rate, of the same length, with the
codec's delay removed. It never changes their level; what a standard or a model does to the level
itself is part of that metric.

A metric that has no answer for a clip (PESQ found no utterance, the clip is digital silence or
too short) gives ``BLANK``; ``chirrup.evaluate.metrics.score`` turns that into None. A blank is
never a zero, because zero would be a score.
"""

import importlib
import math
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np

Score = Callable[[np.ndarray, np.ndarray, int], float]
BLANK = math.nan


class Unavailable(Exception):  # noqa: N818
    """Why a metric cannot run here, and what to install."""


@dataclass(frozen=True)
class Metric:
    name: str
    """Key in files: ``pesq_wb``."""
    label: str
    """Heading in tables: ``PESQ-wb``."""
    unit: str
    """Empty, ``dB``, ``%`` or ``°``."""
    better: Literal["higher", "lower"]
    digits: int
    """After the point, in tables."""
    rate_hz: int | None
    """The rate it is computed at; None: the audio's own."""
    needs_reference: bool
    lowest: float | None
    highest: float | None
    """The ends of the scale; None: there is none. SNR and SI-SDR of equal signals are infinite."""
    score: Score
    """Of ``reference, decoded, sample_rate_hz``, two signals ``[samples]``; may be ``BLANK``."""
    joint: bool = False
    """Whether it hears all channels at once, ``[channels, samples]``."""
    languages: Callable[[], Collection[str]] | None = None
    """ISO 639 codes of the languages that it knows; None: it does not depend on the language."""


def package(module: str, install: str) -> Any:
    """A package that only some installs have.

    ``install`` is what pip is to be told. Raises Unavailable, also where the package is there but
    does not import.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:
        top = module.partition(".")[0]
        why = f"{top} does not import ({type(error).__name__}: {error})".splitlines()[0]
        if isinstance(error, ModuleNotFoundError) and error.name == top:
            why = f"{top} is not installed"
        raise Unavailable(f"{why}; pip install '{install}'") from error


@contextmanager
def stand_ins(**modules: ModuleType) -> Iterator[None]:
    """Puts modules of our own in the place of packages which the import within names at its top
    but which what we call does not use, or of which it uses one function."""
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def at_rate(audio: np.ndarray, sample_rate_hz: int, rate_hz: int) -> np.ndarray:
    """``[samples]`` as float64 at ``rate_hz`` (soxr, high quality)."""
    audio = np.asarray(audio, dtype=np.float64)
    if sample_rate_hz == rate_hz:
        return audio
    import soxr

    return soxr.resample(audio, sample_rate_hz, rate_hz)


def is_silent(audio: np.ndarray) -> bool:
    """Digital silence: every sample is zero."""
    return not np.any(audio)
