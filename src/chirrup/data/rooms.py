"""Room responses: measurement, simulation of shoebox rooms, direct path and early part."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chirrup.data.item import Item
from chirrup.errors import FileError

DIRECT_S = 0.0025
"""Duration of the direct path before and after its peak. ISO 3382-1 does not define it."""
DECAY_DB = (-5.0, -25.0)
"""Range of the energy decay curve whose slope is the reverberation time (T20, ISO 3382-1)."""
TAIL_DB = -60.0
"""A response ends where the remaining energy is below this level."""
IMAGES = 10
"""Order of reflections by the image source method. Later reflections are traced as rays."""
MARGIN_M = 0.5
"""Least distance of source and microphone from the walls and from each other."""
PREFIX = "shoebox:"


@dataclass(frozen=True)
class Simulation:
    """Settings of shoebox rooms, which pyroomacoustics simulates.

    Attributes:
        rooms: number of rooms.
        rate_hz: sample rate of the responses.
        smallest_m: lower limits of length, width and height, which are drawn uniformly.
        largest_m: upper limits of length, width and height.
        rt60_s: range of the reverberation time, which is drawn uniformly. Values that no absorption
            can produce in the room (Sabine) are drawn again.
        seed: seed of all random numbers.
    """

    rooms: int = 0
    rate_hz: int = 48_000
    smallest_m: tuple[float, ...] = (2.5, 2.5, 2.2)
    largest_m: tuple[float, ...] = (9.0, 7.0, 3.5)
    rt60_s: tuple[float, ...] = (0.15, 0.8)
    seed: int = 1


def simulated(simulation: Simulation) -> Iterator[Item]:
    """Yield the items of all simulated rooms."""
    for number in range(simulation.rooms):
        name = f"shoebox{number:05d}"
        yield Item(
            f"{PREFIX}{number}",
            "rir",
            "simulated",
            f"simulated:{name}",
            licence="CC0-1.0",
            attribution="simulated by chirrup with pyroomacoustics",
            name=f"simulated__{name}",
        )


def shoebox(simulation: Simulation, number: int) -> tuple[np.ndarray, float]:
    """Simulate a room. The result depends only on the arguments.

    Returns:
        The response ``float32 [samples]`` and the requested reverberation time in s.

    Raises:
        FileError: no room of these sizes has such a reverberation time, or pyroomacoustics is not
            installed.
    """
    try:
        import pyroomacoustics as pra
    except ModuleNotFoundError as error:
        raise FileError(
            "simulated rooms need pyroomacoustics, which is not installed: "
            "pip install 'chirrup[data]'"
        ) from error
    random = np.random.default_rng((simulation.seed, number))
    for _ in range(1000):
        size_m = random.uniform(simulation.smallest_m, simulation.largest_m)
        rt60_s = float(random.uniform(simulation.rt60_s[0], simulation.rt60_s[1]))
        places = random.uniform(MARGIN_M, size_m - MARGIN_M, (2, 3))
        near = np.linalg.norm(places[0] - places[1]) < MARGIN_M
        try:
            absorption, _ = pra.inverse_sabine(rt60_s, size_m)
        except ValueError:  # the absorption would exceed 1
            continue
        if not near:
            break
    else:
        raise FileError("rooms: no room of these sizes has such a reverberation time")
    pra.seed(int(random.integers(2**31)))  # for the rays
    pra.constants.set("num_threads", 1)
    room = pra.ShoeBox(
        size_m,
        fs=simulation.rate_hz,
        materials=pra.Material(absorption),
        max_order=IMAGES,
        ray_tracing=True,
        air_absorption=True,
    )
    room.add_source(places[0])
    room.add_microphone(places[1])
    room.compute_rir()
    responses: Any = room.rir
    return np.asarray(responses[0][0], np.float32), rt60_s


def from_direct_path(response: np.ndarray) -> np.ndarray:
    """Cut a response to its direct path and its decay, and scale the direct path to 1.

    The sample of the largest magnitude counts as the direct path, as in training.

    Args:
        response: ``float32 [samples]``, not all zero.
    """
    start = int(np.abs(response).argmax())
    response = response[start:] / response[start]
    left = energy_left_db(response)
    return response[: int(np.flatnonzero(left > TAIL_DB)[-1]) + 1]


def early_part(response: np.ndarray, rate_hz: int, early_ms: float) -> np.ndarray:
    """Return the first ``early_ms`` of a response that begins with its direct path."""
    return response[: round(early_ms * rate_hz / 1000)]


def energy_left_db(response: np.ndarray) -> np.ndarray:
    """Return Schroeder's decay curve: the energy from each sample on, in dB of the total energy."""
    energy = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    return 10 * np.log10(np.maximum(energy / energy[0], 1e-30))


def figures(response: np.ndarray, rate_hz: int) -> dict[str, float]:
    """Measure the direct-to-reverberant ratio and the reverberation time of a response.

    The reverberation time is left out if the decay does not reach 25 dB.

    Args:
        response: ``float32 [samples]``.
        rate_hz: sample rate.
    """
    start = int(np.abs(response).argmax())
    after = response[start:]
    direct = round(DIRECT_S * rate_hz)
    near = np.square(response[max(0, start - direct) : start + direct], dtype=np.float64).sum()
    rest = np.square(after[direct:], dtype=np.float64).sum()
    found = {"direct_to_reverberant_db": float(10 * np.log10(near / max(rest, 1e-12 * near)))}
    left = energy_left_db(after)
    first, last = (int(np.argmax(left < level_db)) for level_db in DECAY_DB)
    if last > first + 1:
        slope = np.polyfit(np.arange(first, last) / rate_hz, left[first:last], 1)[0]
        found["rt60_s"] = float(-60 / slope)
    return found
