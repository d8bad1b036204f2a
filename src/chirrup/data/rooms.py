"""Room responses: measured ones from their direct path on, simulated shoeboxes, the early part."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chirrup.data.item import Item
from chirrup.errors import FileError

DIRECT_S = 0.0025
"""What counts as the direct path, before and after its peak (ISO 3382-1 leaves it open)."""
DECAY_DB = (-5.0, -25.0)
"""Range of the energy decay curve whose slope is the reverberation time (T20, ISO 3382-1)."""
TAIL_DB = -60.0
"""A response ends where less than this of its energy is left."""
IMAGES = 10
"""Reflections by the image source method; the rest of the decay comes from rays."""
MARGIN_M = 0.5
"""Least distance of source and microphone from walls and from each other."""
PREFIX = "shoebox:"


@dataclass(frozen=True)
class Simulation:
    """Shoebox rooms of `pyroomacoustics`, by the image source method and ray tracing.

    Attributes:
        rooms: how many.
        rate_hz: of the responses.
        smallest_m, largest_m: length, width and height, drawn evenly between.
        rt60_s: range of the reverberation time, drawn evenly; what the room's absorption cannot
            give (Sabine) is drawn anew.
    """

    rooms: int = 0
    rate_hz: int = 48_000
    smallest_m: tuple[float, ...] = (2.5, 2.5, 2.2)
    largest_m: tuple[float, ...] = (9.0, 7.0, 3.5)
    rt60_s: tuple[float, ...] = (0.15, 0.8)
    seed: int = 1


def simulated(simulation: Simulation) -> Iterator[Item]:
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
    """Response ``float32 [samples]`` of room ``number``, and the reverberation time asked for.

    The same for the same arguments, whatever was drawn before.

    Raises:
        FileError: no room of these sizes has such a reverberation time, or `pyroomacoustics` is
            not installed.
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
        except ValueError:  # walls would have to absorb more than all
            continue
        if not near:
            break
    else:
        raise FileError("rooms: no room of these sizes has such a reverberation time")
    pra.seed(int(random.integers(2**31)))  # of the rays
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
    """A response that begins with its direct path, of value 1, and ends when all has died away.

    The strongest sample counts as the direct path, as it does in training.

    Args:
        response: ``float32 [samples]``, not all zero.
    """
    start = int(np.abs(response).argmax())
    response = response[start:] / response[start]
    left = energy_left_db(response)
    return response[: int(np.flatnonzero(left > TAIL_DB)[-1]) + 1]


def early_part(response: np.ndarray, rate_hz: int, early_ms: float) -> np.ndarray:
    """What a dry target keeps of a response that begins with its direct path."""
    return response[: round(early_ms * rate_hz / 1000)]


def energy_left_db(response: np.ndarray) -> np.ndarray:
    """Schroeder's decay curve: energy from each sample on, 0 dB at the first."""
    energy = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    return 10 * np.log10(np.maximum(energy / energy[0], 1e-30))


def figures(response: np.ndarray, rate_hz: int) -> dict[str, float]:
    """Reverberation time and direct-to-reverberant ratio, of any response ``float32 [samples]``.

    The time is left out where the decay does not reach 25 dB.
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
