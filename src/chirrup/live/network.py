"""A simulated network, which loses, delays, reorders, duplicates and damages packets.

Tests, benchmarks and ``chirrup evaluate --condition`` share it. It has no clock: the caller gives
the sending time of each packet and receives the arrival times. The same seed gives the same result.
docs/reference/network.md documents the text of conditions, such as ``loss:10%+jitter:40ms``.
"""

import heapq
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from chirrup.errors import FileError, UsageError

VALUES: Final[dict[str, tuple[tuple[str, float], ...]]] = {
    "loss": (("%", 10.0),),
    "bursts": (("%", 10.0), ("", 3.0), ("%", 100.0)),
    "delay": (("ms", 50.0),),
    "jitter": (("ms", 40.0),),
    "reorder": (("%", 5.0), ("ms", 40.0)),
    "duplicate": (("%", 1.0),),
    "bit-errors": (("%", 1.0),),
}
"""Unit and default of each value of an effect."""
TRACE: Final = "trace"
EFFECTS: Final = (*VALUES, TRACE)
_RANGES = {"%": (0.0, 100.0), "ms": (0.0, 60_000.0), "": (1.0, 1_000_000.0)}
_USE = (
    "use loss:10%, bursts:10%,3 (packets), delay:50ms, jitter:40ms, reorder:5%,40ms, duplicate:1%, "
    "bit-errors:1%, trace:FILE, or several with +"
)


@dataclass(frozen=True)
class NetworkConditions:
    """The effects of a network. The default has none: packets arrive at once.

    Attributes:
        effects: the name of each effect, a key of `VALUES`, and its values in per cent, ms or
            packets.
        trace: delay of each packet in ms, or None if it is lost. After the last packet the trace
            begins again.
        trace_name: name of the trace in files and tables.
    """

    effects: tuple[tuple[str, tuple[float, ...]], ...] = ()
    trace: tuple[float | None, ...] = ()
    trace_name: str = ""

    @property
    def name(self) -> str:
        """Name in files and tables, such as ``loss-10+jitter-40``; empty without effects."""
        names = ["-".join([kind, *map("{:g}".format, values)]) for kind, values in self.effects]
        return "+".join([*names, f"{TRACE}-{self.trace_name}"] if self.trace else names)


def parse_network(text: str) -> NetworkConditions:
    """Parse the text of conditions, such as ``bursts:10%,3+jitter:40ms``.

    Raises:
        UsageError: the text is not a condition of a network.
        FileError: the trace cannot be read.
    """
    effects: dict[str, tuple[float, ...]] = {}
    trace: tuple[float | None, ...] = ()
    trace_name = ""
    for part in text.split("+"):
        kind, colon, value = part.partition(":")
        if kind not in EFFECTS or (not value and (colon or kind == TRACE)):
            raise UsageError(f"{part!r} is not a condition of a network: {_USE}")
        if kind in effects or (kind == TRACE and trace):
            raise UsageError(f"{text!r} has {kind} twice: give it once")
        if kind == TRACE:
            trace, trace_name = _read_trace(Path(value))
        else:
            effects[kind] = _values(part, kind, value)
    ordered = tuple((kind, effects[kind]) for kind in VALUES if kind in effects)
    return NetworkConditions(ordered, trace, trace_name)


def _values(part: str, kind: str, text: str) -> tuple[float, ...]:
    forms, given = VALUES[kind], text.split(",") if text else []
    if len(given) > len(forms):
        raise UsageError(f"{part!r} has {len(given)} values, {kind} takes {len(forms)}: {_USE}")
    values = [default for _, default in forms]
    for index, (word, (unit, _)) in enumerate(zip(given, forms, strict=False)):
        try:
            values[index] = float(word.strip().removesuffix(unit))
        except ValueError:
            values[index] = math.nan
        low, high = _RANGES[unit]
        if not low <= values[index] <= high:
            what = {"%": "per cent", "ms": "milliseconds", "": "packets"}[unit]
            raise UsageError(f"{word!r} of {part!r} is not {low:g} to {high:g} {what}: {_USE}")
    if kind == "bursts":
        share, length, inside = values
        if share > inside * length / (length + 1):
            raise UsageError(
                f"bursts of {length:g} packets that lose {inside:g} % lose at most "
                f"{inside * length / (length + 1):.3g} % of all packets, not {share:g} %: "
                "use longer bursts"
            )
    return tuple(values)


def _read_trace(path: Path) -> tuple[tuple[float | None, ...], str]:
    try:
        data = path.read_bytes()
        lines = data.decode().splitlines()
    except OSError as error:
        raise FileError(f"the trace {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FileError(f"the trace {path} is not text: give a file with a delay a line") from error
    trace: list[float | None] = []
    low, high = _RANGES["ms"]
    for number, line in enumerate(lines, 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        try:
            delay_ms = None if word == "lost" else float(word)
        except ValueError:
            delay_ms = math.nan
        if delay_ms is not None and not low <= delay_ms <= high:
            raise FileError(
                f"line {number} of the trace {path} is {word!r}: write a delay of {low:g} to "
                f"{high:g} ms, or lost"
            )
        trace.append(delay_ms)
    if not trace:
        raise FileError(f"the trace {path} has no packets: write a delay in ms, or lost, a line")
    stem = re.sub(r"[^\w.-]+", "-", path.stem)
    return tuple(trace), f"{stem}-{zlib.crc32(data):08x}"


class Arrival(NamedTuple):
    """A packet that arrived.

    Attributes:
        time_s: arrival time in seconds, on the clock of the sending times.
        number: number of the packet in the order of sending, from 0.
        packet: the packet, with its bit errors.
        label: what was sent with the packet.
    """

    time_s: float
    number: int
    packet: bytes
    label: Any = None


class Network:
    """A simulated network. Each effect has separate random numbers.

    A seed loses the same packets whatever other effects there are, and whatever the packets hold.

    >>> network = Network("loss:10%+jitter:40ms", seed=1)
    >>> for number, packet in enumerate(packets):
    ...     network.send(packet, 0.02 * number)
    >>> arrivals = network.receive()

    Args:
        conditions: the effects, or their text.
    """

    def __init__(self, conditions: NetworkConditions | str, seed: int = 0) -> None:
        if isinstance(conditions, str):
            conditions = parse_network(conditions)
        self.conditions = conditions
        self.sent = 0
        self._effects = dict(conditions.effects)
        self._random = {kind: Random(f"{kind}/{seed}") for kind in self._effects}
        self._under_way: list[tuple[float, int, Arrival]] = []
        self._copies = 0
        self._queue_end_s = -math.inf
        self._in_burst = False
        if "bursts" in self._effects:
            share, _, inside = self._effects["bursts"]
            self._in_burst = inside > 0 and self._random["bursts"].random() < share / inside

    def send(self, packet: bytes, sent_s: float, label: Any = None, *, protected: int = 0) -> None:
        """Send a packet.

        Args:
            packet: the packet.
            sent_s: time in seconds of any clock.
            label: anything that belongs to the packet, such as an address. Its copies keep it.
            protected: number of first bytes, such as a header, that have no bit errors.
        """
        number, self.sent = self.sent, self.sent + 1
        lost, times_s = self._loses(), [self._arrival(sent_s)]
        if self._happens("duplicate"):
            times_s.append(self._arrival(sent_s))
        trace = self.conditions.trace
        traced_ms = trace[number % len(trace)] if trace else 0.0
        if lost or traced_ms is None:
            return
        for time_s in times_s:
            time_s += traced_ms / 1000
            self._copies += 1
            damaged = packet[:protected] + self._with_bit_errors(packet[protected:])
            arrival = Arrival(time_s, number, damaged, label)
            heapq.heappush(self._under_way, (time_s, self._copies, arrival))

    def receive(self, until_s: float = math.inf) -> list[Arrival]:
        """Return the packets that arrive up to ``until_s``, in the order of their arrival."""
        arrived = []
        while self._under_way and self._under_way[0][0] <= until_s:
            arrived.append(heapq.heappop(self._under_way)[2])
        return arrived

    @property
    def next_s(self) -> float | None:
        """Time of the next arrival, or None if no packet is under way."""
        return self._under_way[0][0] if self._under_way else None

    def _happens(self, kind: str) -> bool:
        if kind not in self._effects:
            return False
        return self._random[kind].random() < self._effects[kind][0] / 100

    def _loses(self) -> bool:
        lost = self._happens("loss")
        if "bursts" in self._effects:
            share, length, inside = self._effects["bursts"]
            random = self._random["bursts"]
            lost |= self._in_burst and random.random() < inside / 100
            leaves = 1 / length
            enters = leaves * share / (inside - share) if share else 0.0
            self._in_burst ^= random.random() < (leaves if self._in_burst else enters)
        return lost

    def _arrival(self, sent_s: float) -> float:
        """Draw the arrival time in seconds, without the trace.

        Jitter is a queue: a packet that is held up holds up the packets behind it.
        """
        time_s = sent_s
        if "jitter" in self._effects:
            (mean_ms,) = self._effects["jitter"]
            time_s -= math.log(1 - self._random["jitter"].random()) * mean_ms / 1000
            self._queue_end_s = time_s = max(time_s, self._queue_end_s)
        time_s += self._effects.get("delay", (0.0,))[0] / 1000
        if self._happens("reorder"):
            time_s += self._effects["reorder"][1] / 1000
        return time_s

    def _with_bit_errors(self, packet: bytes) -> bytes:
        share = self._effects.get("bit-errors", (0.0,))[0] / 100
        if share == 0:
            return packet
        damaged, bit, random = bytearray(packet), -1, self._random["bit-errors"]
        while True:
            # The number of whole bits between two errors has a geometric distribution.
            free = math.log(1 - random.random()) / math.log1p(-share) if share < 1 else 0.0
            if bit + 1 + free >= 8 * len(damaged):
                return bytes(damaged)
            bit += 1 + int(free)
            damaged[bit >> 3] ^= 0x80 >> (bit & 7)
