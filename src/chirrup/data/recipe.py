"""The recipe of a corpus: what is kept, in which shares and splits, and how it is written.

A TOML file (``recipes/corpora/curated.toml`` spells out all of it); the defaults here are the same.
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

FORMATS = ("flac", "opus", "keep")
MANIFESTS = ("csv", "parquet")
SPEECH = ("read", "studio")
CLASSES = (*SPEECH, *KINDS[1:])
MEASURES = {"seconds", "sample_rate_hz", *FIGURES}
"""What a filter can ask for."""
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
"""Ranges of numbers by their keys; limits of figures, which have no range, are finite."""
OFF = {"piece_seconds", "shard_minutes", "speaker_hours", "category_ratio", "rate_hz"}
"""Numbers that may also be 0, which means never, or no limit."""


@dataclass(frozen=True)
class Filter:
    """What a recording of a class must have.

    Attributes:
        min, max: limits of what `quality` measures; a figure that could not be measured passes.
        keep_share: of speech, of the hours that could be read; the best are kept, evenly over
            languages, genders and speakers.
    """

    min: Mapping[str, float] = field(default_factory=dict)
    max: Mapping[str, float] = field(default_factory=dict)
    keep_share: float = 1.0


@dataclass(frozen=True)
class Balance:
    """
    Attributes:
        speaker_hours: most of one speaker; 0: no limit.
        category_ratio: most hours of a noise category, over those of the median one; 0: no limit.
    """

    speaker_hours: float = 2.0
    category_ratio: float = 3.0


@dataclass(frozen=True)
class Splits:
    """
    Attributes:
        given: keep the splits that a source has itself.
        overlap: keep what is in train although its group is in test, where a source has it so.
        validation, test: shares of the hours of the sources that have none, in whole groups.
    """

    given: bool = True
    overlap: bool = False
    validation: float = 0.01
    test: float = 0.02


@dataclass(frozen=True)
class Output:
    """
    Attributes:
        rate_hz: 0: as it is.
        mono: mix channels to one.
        format: ``flac``, ``opus``, or ``keep``: the file itself where nothing is changed.
    """

    rate_hz: int = 0
    mono: bool = True
    format: str = "flac"


@dataclass(frozen=True)
class Facts:
    """A source in the recipe: the folder, and what the folder does not tell."""

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
    """
    Attributes:
        seed: of all that is drawn.
        piece_seconds: longer recordings are cut into pieces of equal length up to this; 0: never.
        shard_minutes: of audio in a tar file; 0: no shards but a file for each recording.
        manifest: ``csv`` or ``parquet``.
        licence_required: refuse what no source gives a licence for.
        duplicates: keep what is the same audio as another recording.
        dnsmos: also measure DNSMOS, which takes most of the time then.
        classifier: ``module:function`` that names the category of a noise that has none, from
            ``float32 [samples]`` and its rate. It runs code: look at it before you use a recipe
            from somebody else.
        early_ms: of a room response, beside it for targets.
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
        """As a table of TOML or JSON."""
        return asdict(self)


def load_recipe(path: Path) -> Recipe:
    """
    Raises:
        FileError: the file cannot be read, or names an unknown key or a wrong value.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"recipe {path}: {error}") from error
    return recipe_of(table, f"recipe {path}")


def recipe_of(table: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """The recipe of a table; what it does not name has its default."""
    recipe = _made(Recipe, table, Recipe(), where)
    _one_of(recipe.manifest, MANIFESTS, f"{where}: manifest")
    for name, wanted in recipe.filters.items():
        _one_of(name, CLASSES, f"{where}: filters")
        for measure in (*wanted.min, *wanted.max):
            _one_of(measure, sorted(MEASURES), f"{where}: filters.{name}")
        if name not in SPEECH and wanted.keep_share != 1:
            raise FileError(f"{where}: filters.{name}.keep_share is for speech only")
    for kind, output in recipe.output.items():
        _one_of(kind, KINDS, f"{where}: output")
        _one_of(output.format, FORMATS, f"{where}: output.{kind}.format")
        if output.format == "opus" and output.rate_hz not in OPUS_RATES_HZ:
            rates = ", ".join(map(str, OPUS_RATES_HZ))
            raise FileError(f"{where}: output.{kind}.rate_hz: Opus has {rates} only")
    for source in recipe.sources:
        _one_of(source.split, ("", *SPLITS), f"{where}: sources.split")
        _one_of(source.style, ("", *SPEECH), f"{where}: sources.style")
    rooms = recipe.rooms
    if not rooms.rate_hz:
        raise FileError(f"{where}: rooms: rate_hz is 0: give that of the responses")
    for key, count in (("smallest_m", 3), ("largest_m", 3), ("rt60_s", 2)):
        if len(getattr(rooms, key)) != count:
            raise FileError(f"{where}: rooms: {key} must have {count} numbers")
    return recipe


def _made(kind: type, table: Any, default: Any, where: str) -> Any:
    """A dataclass of a table; ``default`` gives what the table leaves out."""
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
    """The value, if it is in the range of its key."""
    key = where.rpartition(" ")[2]
    low, high = NUMBERS.get(key, (-1e9, 1e9))
    if not (low <= value <= high or (value == 0 and key in OFF)):
        zero = ", or 0" * (key in OFF)
        text = f"{value!r:.40}"
        raise FileError(f"{where} is {text}: give a number from {low:.15g} to {high:.15g}{zero}")
    return value
