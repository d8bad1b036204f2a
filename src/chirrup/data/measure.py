"""Measurement of one file in a worker process.

A job and its result are JSON, so that they can be sent to other processes and machines.
"""

import hashlib
import importlib
import json
import math
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from chirrup.data import quality, rooms
from chirrup.data.audio import BadAudioError, opened, read, simulated_room, source_of
from chirrup.data.item import Item
from chirrup.data.recipe import Recipe, recipe_of
from chirrup.errors import FileError

SILENT = 1e-4
"""Peak below which a recording counts as silence: 3 of 16 bits."""
CRASHED = "its process ended: the decoder crashed, or there was too little memory"


def job(number: int, item: Item, settings: dict[str, Any]) -> str:
    """Return a job for `run`, with the settings that `settings_of` returns."""
    return json.dumps({"number": number, "item": item.as_json(), "settings": settings})


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Return the part of a recipe on which the measurement depends."""
    plain = recipe.plain()
    return {name: plain[name] for name in ("piece_seconds", "dnsmos", "classifier", "rooms")}


def run(job: str) -> str:
    """Measure a file.

    Returns:
        ``{"number": ..., "records": [...]}``. A record has the range of samples, the figures and a
        hash of the samples. If the file cannot be used, its only record has ``reason`` and
        ``detail``. If an error must end all jobs, such as a missing package, the result is
        ``{"error": ...}``.
    """
    given = json.loads(job)
    try:
        item, recipe = Item(**given["item"]), recipe_of(given["settings"])
        records = list(_records(item, recipe))
    except BadAudioError as error:
        records = [{"reason": error.reason, "detail": error.detail}]
    except FileError as error:
        return json.dumps({"error": str(error)})
    return json.dumps({"number": given["number"], "records": records})


def crashed(job: str) -> str:
    """Return the result of a file that ended its worker process."""
    record = {"reason": "damaged", "detail": CRASHED}
    return json.dumps({"number": json.loads(job)["number"], "records": [record]})


def _records(item: Item, recipe: Recipe) -> Iterator[dict[str, Any]]:
    if item.path.startswith(rooms.PREFIX):
        rate_hz = recipe.rooms.rate_hz
        yield _response(simulated_room(item, recipe.rooms)[0], rate_hz, 0) | {"pieces": 1}
        return
    with opened(source_of(item)) as file:
        if file.frames == 0:
            raise BadAudioError("empty", "it has no samples")
        if item.kind == "rir":
            for number, channel in enumerate(read(file)):
                record = _response(channel, file.samplerate, number)
                yield record | {"pieces": file.channels}
            return
        pieces = 1
        if recipe.piece_seconds:
            pieces = math.ceil(file.frames / (recipe.piece_seconds * file.samplerate))
        edges = (round(file.frames * number / pieces) for number in range(pieces + 1))
        for start, stop in pairwise(edges):
            record = _record(item, read(file, start, stop), file.samplerate, start, recipe)
            yield record | {"pieces": pieces}


def _record(
    item: Item, audio: np.ndarray, rate_hz: int, start: int, recipe: Recipe
) -> dict[str, Any]:
    record = _head(audio, rate_hz, start)
    if np.abs(audio).max() < SILENT:
        return record | {"reason": "silent", "detail": "it has no sound above -80 dB"}
    found = quality.figures(audio, rate_hz, speech=item.kind == "speech")
    if recipe.dnsmos and item.kind == "speech":
        from chirrup.evaluate import metrics

        value = metrics.score("dnsmos", None, audio, rate_hz)
        found |= {} if value is None else {"dnsmos": value}
    if recipe.classifier and item.kind == "noise" and not item.category:
        record["category"] = str(classifier(recipe.classifier)(audio.mean(axis=0), rate_hz))
    return record | {name: float(f"{value:.6g}") for name, value in found.items()}


def _response(response: np.ndarray, rate_hz: int, channel: int) -> dict[str, Any]:
    record = _head(response[None], rate_hz, 0) | {"channel": channel}
    if np.abs(response).max() < SILENT:
        return record | {"reason": "silent", "detail": "it has no sound above -80 dB"}
    found = rooms.figures(response, rate_hz)
    return record | {name: float(f"{value:.6g}") for name, value in found.items()}


def _head(audio: np.ndarray, rate_hz: int, start: int) -> dict[str, Any]:
    channels, samples = audio.shape
    whole = (audio * 32768).round().astype("<i4")
    return {
        "start": start,
        "stop": start + samples,
        "seconds": samples / rate_hz,
        "sample_rate_hz": rate_hz,
        "channels": channels,
        "content": hashlib.sha256(whole.tobytes() + str(rate_hz).encode()).hexdigest(),
    }


@cache
def classifier(name: str) -> Callable[[np.ndarray, int], object]:
    """Import the function that ``module:function`` names.

    Raises:
        FileError: there is no such function.
    """
    module, colon, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function) if colon else None
    except (ImportError, AttributeError) as error:
        raise FileError(f"classifier {name!r} cannot be imported: {error}") from error
    if not callable(found):
        raise FileError(f"classifier {name!r} is not of the form module:function")
    return found
