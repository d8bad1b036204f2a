"""Batches of signals of different lengths.

A batch is a loop over its signals, so that each gets what it would get alone. The native engine
runs one stream at a time. ONNX Runtime rounds differently in a batch, which can change codes.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from chirrup.codes import as_array

Row = TypeVar("Row")
Result = TypeVar("Result")


def rows(values: Sequence[Any] | np.ndarray, lengths: object | None) -> list[Any]:
    """Return the signals of a batch without their padding.

    Args:
        values: the signals; time is their last axis.
        lengths: length of each signal, ``int [batch]``. None leaves the signals as they are.

    Raises:
        ValueError: the lengths do not fit the signals.
        TypeError: the signals are not a list or an array, or the lengths are not an array.
    """
    try:
        batch = list(values)
    except TypeError as error:
        raise TypeError(
            f"a batch must be a list of signals or an array, got {type(values).__name__}"
        ) from error
    if lengths is None:
        return batch
    counts = as_array(lengths, "lengths", "integers [batch]")
    if counts.shape != (len(batch),) or not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(
            f"lengths must be integers [{len(batch)}], one for each signal; got {counts.dtype} "
            f"{list(counts.shape)}"
        )
    found = []
    for number, (value, count) in enumerate(zip(batch, counts.tolist())):
        array = as_array(value, f"signal {number}", "an array")
        if array.ndim == 0 or not 1 <= count <= array.shape[-1]:
            raise ValueError(
                f"signal {number} has the shape {list(array.shape)}, but its length is {count}"
            )
        found.append(array[..., :count])
    return found


def each(function: Callable[[Row], Result], batch: Sequence[Row], workers: int) -> list[Result]:
    """Return the result of a function for each signal.

    Args:
        function: function of one signal.
        batch: the signals.
        workers: number of threads. The engines run in several threads at once.

    Raises:
        ValueError: the function raised it, or ``workers`` is not a positive integer.
        TypeError: the function raised it.
    """
    if type(workers) is not int or workers < 1:
        raise ValueError(f"workers must be an integer from 1 on, not {workers!r}")

    def one(number: int) -> Result:
        try:
            return function(batch[number])
        except (ValueError, TypeError) as error:
            raise type(error)(f"signal {number}: {error}") from error

    if workers == 1:
        return [one(number) for number in range(len(batch))]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, range(len(batch))))
