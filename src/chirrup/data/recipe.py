"""The recipe of a corpus: filters, balance, splits and output formats, read from a TOML file.

``recipes/corpora/curated.toml`` states all settings with their defaults.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from chirrup.data.item import KINDS, SPLITS
from chirrup.data.manifest import FIGURES
from chirrup.data.rooms import Simulation
from chirrup.errors import FileError
from chirrup.parsing import parsing

FORMATS = ("flac", "opus", "keep")
MANIFESTS = ("csv", "parquet")
SPEECH = ("read", "studio")
CLASSES = (*SPEECH, *KINDS[1:])
MEASURES = {"seconds", "sample_rate_hz", *FIGURES}
"""Figures that a filter can limit."""
OPUS_RATES_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
NUMBERS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "piece_seconds": (0.1, 1e6),
    "shard_minutes": (1e-3, 1e6),
    "early_ms": (0, 1e4),
    "rate_hz": (1_000, 1_000_000),
    "keep_share": (0, 1),
    "speaker_hours": (1e-6, 1e6),
    "category_ratio": (1e-3, 1e6),
    "validation": (0, 0.5),
    "test": (0, 0.5),
    "rooms": (0, 10**6),
    "smallest_m": (1.1, 100),
    "largest_m": (1.1, 100),
    "rt60_s": (0.01, 10),
}
"""Ranges of numbers by key. The limits of figures have no range, but are finite."""
OFF = {"piece_seconds", "shard_minutes", "speaker_hours", "category_ratio", "rate_hz"}
"""Numbers that may also be 0, which turns the setting off."""


@dataclass(frozen=True)
class Filter:
    """The filter of a class of recordings.

    Attributes:
        min: lower limits of figures. A figure that was not measured passes.
        max: upper limits of figures.
        keep_share: share of the readable hours of speech to keep. The best recordings are kept,
            evenly from languages, genders and speakers.
    """

    min: Mapping[str, float] = field(default_factory=dict)
    max: Mapping[str, float] = field(default_factory=dict)
    keep_share: float = 1.0


@dataclass(frozen=True)
class Balance:
    """Limits on the hours of groups.

    Attributes:
        speaker_hours: most hours of a speaker; 0 sets no limit.
        category_ratio: largest ratio of the hours of a noise category to the median category; 0
            sets no limit.
    """

    speaker_hours: float = 2.0
    category_ratio: float = 3.0


@dataclass(frozen=True)
class Splits:
    """Settings of the splits.

    Attributes:
        given: keep the splits that a source defines.
        overlap: keep recordings in train whose group is also in test, if a source defines it so.
        validation: share of hours for validation from sources without splits, in whole groups.
        test: share of hours for test from sources without splits, in whole groups.
    """

    given: bool = True
    overlap: bool = False
    validation: float = 0.01
    test: float = 0.02


@dataclass(frozen=True)
class Output:
    """The output of a kind of recordings.

    Attributes:
        rate_hz: sample rate; 0 is the rate of the recording.
        mono: mix the channels to one.
        format: ``flac`` or ``opus``. ``keep`` copies the file if nothing else changes, and is
            ``flac`` otherwise.
    """

    rate_hz: int = 0
    mono: bool = True
    format: str = "flac"


@dataclass(frozen=True)
class Facts:
    """A source in the recipe, and facts that its folder does not state; see `Item`."""

    path: str
    source: str = ""
    gender: str = ""
    language: str = ""
    category: str = ""
    licence: str = ""
    attribution: str = ""
    style: str = ""
    split: str = ""


def _filters() -> dict[str, Filter]:
    common = {"clipped_share": 1e-4, "dc_offset": 0.02}
    voice = {"silence_share": 0.8, **common}
    return {
        "read": Filter(
            {"seconds": 1.0, "snr_db": 25.0, "bandwidth_hz": 7000.0, "loudness_lufs": -50.0},
            {"rt60_s": 0.45, **voice},
            0.4,
        ),
        "studio": Filter({"seconds": 1.0}, {}, 1.0),
        "noise": Filter({"seconds": 1.0, "bandwidth_hz": 4000.0, "loudness_lufs": -70.0}, common),
        "music": Filter({"seconds": 1.0, "bandwidth_hz": 15000.0}, common),
        "rir": Filter({}, {"rt60_s": 3.0}),
    }


def _output() -> dict[str, Output]:
    return {
        "speech": Output(24_000),
        "noise": Output(48_000),
        "music": Output(48_000, mono=False),
        "rir": Output(48_000),
    }


@dataclass(frozen=True)
class Recipe:
    """The recipe of a corpus.

    Attributes:
        seed: seed of all random numbers.
        piece_seconds: longest recording. Longer ones are cut into pieces of equal length. 0 cuts
            none.
        shard_minutes: audio in a tar file; 0 writes one file for each recording.
        manifest: ``csv`` or ``parquet``.
        licence_required: refuse recordings without a licence.
        duplicates: keep recordings with the same audio as another one.
        dnsmos: also measure DNSMOS, which takes most of the time.
        classifier: ``module:function`` that returns the category of a noise without one, from
            ``float32 [samples]`` and the sample rate. It is code: read it before you use a recipe
            from somebody else.
        early_ms: length of the early part of a room response, which is written for dry targets.
        filters: filters by class: read or studio speech, noise, music and rir.
        balance: limits on the hours of groups.
        splits: settings of the splits.
        output: outputs by kind.
        rooms: simulated rooms.
        sources: sources besides those on the command line.
    """

    seed: int = 1
    piece_seconds: float = 60.0
    shard_minutes: float = 20.0
    manifest: str = "csv"
    licence_required: bool = True
    duplicates: bool = False
    dnsmos: bool = False
    classifier: str = ""
    early_ms: float = 50.0
    filters: Mapping[str, Filter] = field(default_factory=_filters)
    balance: Balance = Balance()
    splits: Splits = Splits()
    output: Mapping[str, Output] = field(default_factory=_output)
    rooms: Simulation = field(default_factory=Simulation)
    sources: tuple[Facts, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return the recipe as a dictionary of plain values."""
        return asdict(self)


def load_corpus_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        FileError: the file cannot be read, or it has an unknown key or a wrong value.
    """
    try:
        with parsing():
            table = tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise FileError(f"recipe {path}: {error}") from error
    return recipe_of(table, f"recipe {path}")


def recipe_of(table: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """Return the recipe of a table, with defaults for missing keys.

    Args:
        table: the content of a TOML file.
        where: name of the recipe in error messages.

    Raises:
        FileError: the table has an unknown key or a wrong value.
    """
    recipe = _made(Recipe, table, Recipe(), where)
    _one_of(recipe.manifest, MANIFESTS, f"{where}: manifest")
    for name, wanted in recipe.filters.items():
        _one_of(name, CLASSES, f"{where}: filters")
        for measure in (*wanted.min, *wanted.max):
            _one_of(measure, sorted(MEASURES), f"{where}: filters.{name}")
        if name not in SPEECH and wanted.keep_share != 1:
            raise FileError(f"{where}: filters.{name}.keep_share is for speech only: leave it out")
    for kind, output in recipe.output.items():
        _one_of(kind, KINDS, f"{where}: output")
        _one_of(output.format, FORMATS, f"{where}: output.{kind}.format")
        if output.format == "opus" and output.rate_hz not in OPUS_RATES_HZ:
            rates = ", ".join(map(str, OPUS_RATES_HZ))
            raise FileError(f"{where}: output.{kind}.rate_hz is {output.rate_hz}: Opus has {rates}")
    for source in recipe.sources:
        _one_of(source.split, ("", *SPLITS), f"{where}: sources.split")
        _one_of(source.style, ("", *SPEECH), f"{where}: sources.style")
    rooms = recipe.rooms
    if not rooms.rate_hz:
        raise FileError(f"{where}: rooms: rate_hz is 0: give the sample rate of the responses")
    for key, count in (("smallest_m", 3), ("largest_m", 3), ("rt60_s", 2)):
        if len(getattr(rooms, key)) != count:
            raise FileError(f"{where}: rooms: {key} must have {count} numbers")
    return recipe


def _made(kind: type, table: Any, default: Any, where: str) -> Any:
    """Return a dataclass from a table, with the values of ``default`` for missing keys."""
    if not isinstance(table, Mapping):
        raise FileError(f"{where} must be a table")
    hints = get_type_hints(kind)
    unknown = set(table) - set(hints)
    if unknown:
        known = [item.name for item in fields(kind)]
        near = get_close_matches(min(unknown), known, 3, 0.5) or known
        raise FileError(f"{where} has no {min(unknown)!r}: use {', '.join(near)}")
    given = {} if default is None else {name: getattr(default, name) for name in hints}
    for name, value in table.items():
        given[name] = _value(hints[name], value, given.get(name), f"{where}: {name}")
    for item in fields(kind):
        if item.name not in given and item.default is item.default_factory is MISSING:
            raise FileError(f"{where} needs {item.name}")
    return kind(**given)


def _value(hint: Any, value: Any, default: Any, where: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return _made(hint, value, default, where)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise FileError(f"{where} must be a table")
        inner = arguments[1]
        before = default if is_dataclass(inner) else {}
        new = {
            key: _value(inner, item, before.get(key) or _empty(inner), f"{where}.{key}")
            for key, item in value.items()
        }
        return {**before, **new}
    if origin is tuple:
        if not isinstance(value, list):
            raise FileError(f"{where} must be a list")
        return tuple(_value(arguments[0], item, None, where) for item in value)
    if hint in (int, float) and type(value) in (int, hint):
        return hint(_number(value, where))
    if type(value) is not hint:
        name = getattr(hint, "__name__", hint)
        raise FileError(f"{where} must be of the type {name}, not {value!r}")
    return value


def _empty(kind: Any) -> Any:
    return kind() if is_dataclass(kind) and isinstance(kind, type) else None


def _one_of(value: str, choices: Any, where: str) -> None:
    if value not in choices:
        raise FileError(f"{where} has no {value!r}: use {', '.join(c for c in choices if c)}")


def _number(value: float, where: str) -> float:
    """Return a number if it is in the range of its key."""
    key = where.rpartition(" ")[2]
    low, high = NUMBERS.get(key, (-1e9, 1e9))
    if not (low <= value <= high or (value == 0 and key in OFF)):
        zero = ", or 0" * (key in OFF)
        text = f"{value!r:.40}"
        raise FileError(f"{where} is {text}: give a number from {low:.15g} to {high:.15g}{zero}")
    return value
