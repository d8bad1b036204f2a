"""The definition of a metric, and the common parts of all metrics: blanks, rates, packages.

A metric takes the reference and the decoded signal at the same rate and of the same length, with
the codec's delay removed. It does not change their level, unless its standard or model does.

If a metric has no score for a clip (PESQ finds no utterance, or the clip is digital silence or too
short), it returns ``BLANK``, which ``chirrup.evaluate.metrics.score`` turns into None. A blank is
never zero, because zero would be a score.
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

ScoreFunction = Callable[[np.ndarray, np.ndarray, int], float]
BLANK = math.nan


class Unavailable(Exception):  # noqa: N818
    """A metric cannot run here. The message has the reason, and what to install."""


@dataclass(frozen=True)
class Metric:
    name: str
    """Name in files, such as ``pesq_wb``."""
    label: str
    """Heading in tables, such as ``PESQ-wb``."""
    unit: str
    """``dB``, ``%``, ``°`` or empty."""
    better: Literal["higher", "lower"]
    digits: int
    """Digits after the decimal point, in tables."""
    rate_hz: int | None
    """Rate at which the metric is computed; None for the rate of the audio."""
    needs_reference: bool
    lowest: float | None
    highest: float | None
    """Ends of the scale; None if it is open. SNR and SI-SDR of equal signals are infinite."""
    score: ScoreFunction
    """Function of ``reference, decoded, sample_rate_hz``, two signals ``[samples]``."""
    joint: bool = False
    """Whether ``score`` takes all channels at once, ``[channels, samples]``."""
    languages: Callable[[], Collection[str]] | None = None
    """Returns the supported languages as ISO 639 codes; None if the metric needs no language."""


def package(module: str, install: str) -> Any:
    """Import a module of an optional package.

    Args:
        install: requirement for pip, for the message.

    Raises:
        Unavailable: the package is not installed, or cannot be imported.
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
    """Replace modules while a package is imported.

    The package imports the replaced modules at its top, but the functions that are called here use
    none of them, or one function.
    """
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
    """Resample ``[samples]`` to ``rate_hz``, as float64 (soxr, high quality)."""
    audio = np.asarray(audio, dtype=np.float64)
    if sample_rate_hz == rate_hz:
        return audio
    import soxr

    return soxr.resample(audio, sample_rate_hz, rate_hz)


def is_silent(audio: np.ndarray) -> bool:
    """Return whether a signal is digital silence: every sample is zero."""
    return not np.any(audio)
