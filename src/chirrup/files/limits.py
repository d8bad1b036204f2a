"""Limits on the output of a decoder.

A ``.chirrup`` file of a hundred bytes can decode to minutes of silence and state any sample rate.
Without limits, a small file from a stranger could fill a disk.
"""

from collections.abc import Iterator
from math import inf
from pathlib import Path

import numpy as np

from chirrup.bitstream import Header
from chirrup.errors import FileError
from chirrup.files.inputs import Source, source_name
from chirrup.files.names import names_file
from chirrup.files.outputs import Player, Target
from chirrup.resampling import RATES_HZ

MAX_SECONDS = 24 * 3600.0
"""Default for the longest output to a file, in s."""
MAX_RATE_RATIO = 8
"""Highest ratio of the original sample rate to the model's."""


def output_rate(header: Header, rate_hz: int | None, source: Source) -> int:
    """Return the sample rate of the output, in Hz.

    Args:
        header: header of the ``.chirrup`` file.
        rate_hz: the requested rate. None is the original rate.
        source: the ``.chirrup`` file, for the error message.

    Raises:
        FileError: the original rate is implausibly high, or the rate is not supported.
    """
    if rate_hz is None:
        rate_hz, native_hz = header.original_sample_rate_hz, header.sample_rate_hz
        if rate_hz > MAX_RATE_RATIO * native_hz:
            raise FileError(
                f"{source_name(source)} has an original sample rate of {rate_hz} Hz, more than "
                f"{MAX_RATE_RATIO} times the {native_hz} Hz of its model: choose a rate, for "
                f"example --rate {native_hz}"
            )
    low, high = RATES_HZ
    if not low <= rate_hz <= high:
        raise FileError(
            f"a sample rate of {rate_hz} Hz is not supported: use --rate with {low} to {high}"
        )
    return rate_hz


def most_samples(target: Target | Player, rate_hz: int, max_seconds: float | None) -> float:
    """Return the longest output in samples: by default `MAX_SECONDS` to a file, else no limit."""
    if max_seconds is None:
        to_file = isinstance(target, (str, Path)) and names_file(Path(target))
        max_seconds = MAX_SECONDS if to_file else inf
    return max_seconds * rate_hz


def check_length(samples: int | None, most: float, rate_hz: int, source: Source) -> None:
    """Raise FileError if the output is known to be longer than ``most`` samples."""
    if samples is not None and samples > most:
        raise FileError(
            f"{source_name(source)} decodes to {samples / rate_hz:.0f} s, more than "
            f"{most / rate_hz:.0f} s: allow more with --max-duration, or decode a part with --from "
            "and --to"
        )


def up_to(
    blocks: Iterator[np.ndarray], most: float, rate_hz: int, notes: list[str]
) -> Iterator[np.ndarray]:
    """Yield the first ``most`` samples of audio, and add a note if there are more.

    Args:
        blocks: ``[channels, any number of samples]``.
    """
    done = 0
    for block in blocks:
        yield block[:, : int(min(block.shape[1], most - done))]
        done += block.shape[1]
        if done > most:
            notes.append(f"decoded up to {most / rate_hz:.0f} s: allow more with --max-duration")
            return
