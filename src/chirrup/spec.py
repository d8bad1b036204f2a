"""A model's specification: what ``model.json`` says of it, with checked types and ranges.

A model's folder may come from anybody, so nothing in it is used before it is checked here: numbers
against their ranges, numbers against each other, and the memory that shapes ask for against the
size of the files.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chirrup.runtime.errors import ModelError
from chirrup.runtime.graph_file import MOST_BYTES as MOST_GRAPH_BYTES
from chirrup.runtime.graph_file import WEIGHTS
from chirrup.runtime.reading import read_bytes, regular_size, sha256_of
from chirrup.runtime.waves import KINDS

FORMATS = (1, 2)
GRAPHS = ("encoder", "encoder-frame", "decoder", "decoder-frame")
"""The graphs that every folder has."""

MOST_JSON_BYTES = 1 << 22
MOST_CODEBOOKS, MOST_CODE_BITS = 128, 16
MOST_FRAME_SAMPLES = 0xFFFF
"""As a ``.chirrup`` file has it, all channels together."""
MOST_CHUNK_FRAMES = 50
"""`codec.BLOCK_FRAMES`: a block holds whole chunks."""
MOST_PREROLL_FRAMES = 0xFFFF
"""In a folder without this figure: a seek then decodes from the beginning."""
MOST_DIMENSIONS = 8
MOST_FFT = 1 << 13
MOST_MADE_BYTES = 1 << 26
"""Memory of states and Fourier matrices beyond `MOST_EXPANSION`."""
MOST_EXPANSION = 20
"""Times the size of the weights' file that all tensors, widened to float32, may take."""

Shape = tuple[int, ...]
States = Mapping[str, Shape]
Place = Mapping[str, Any]
"""Where a graph's tensor is: see `lab.model_folder.move_weights`."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The specification of one model.

    Raises:
        ValueError: a value is out of range, or contradicts another one.
    """

    name: str
    sample_rate_hz: int
    """Rate of the decoded audio; all counts of samples but ``input_frame_samples`` use it."""
    input_rate_hz: int
    channels: int
    """Channels that are coded jointly."""
    frame_samples: int
    input_frame_samples: int
    chunk_frames: int
    """Frames that a live stream codes at once."""
    delay_samples: int
    latency_samples: int
    codebooks: int
    codebook_size: int
    default_bitrate_bps: int
    lowest_bitrate_bps: int
    """The lowest that the model was trained for; 0 becomes the lowest there is."""
    preroll_frames: int
    """Frames of the past that a seek has to decode before the wanted one."""
    encoder_states: States
    """Shape of each state for one stream, without the batch."""
    decoder_states: States
    weights: Mapping[str, Mapping[str, Place]]
    """The place of each tensor, by graph and by the tensor's name in it."""
    weights_sha256: str
    codes_sha256: str
    """Hash of the weights that files are coded with; another one for weights of 8 bits."""
    graphs_sha256: Mapping[str, str]
    """Hash of each graph; empty in folders that earlier versions exported."""

    def __post_init__(self) -> None:
        rate, most = self.sample_rate_hz, MOST_FRAME_SAMPLES // max(1, self.channels)
        for name, low, high in (
            ("sample_rate_hz", 1_000, 1_000_000),
            ("input_rate_hz", 1_000, 1_000_000),
            ("channels", 1, 16),
            ("frame_samples", 1, min(rate, most)),
            ("input_frame_samples", 1, most),
            ("chunk_frames", 1, MOST_CHUNK_FRAMES),
            ("delay_samples", 0, rate),
            ("latency_samples", 0, 10 * rate),
            ("codebooks", 1, MOST_CODEBOOKS),
            ("codebook_size", 2, 1 << MOST_CODE_BITS),
            ("preroll_frames", 0, MOST_PREROLL_FRAMES),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}, must be from {low} to {high}")
        if not (self.name.isprintable() and 1 <= len(self.name.encode()) <= 255):
            raise ValueError(
                f"name is {_shown(self.name)}, must be 1 to 255 bytes of printable text"
            )
        if self.frame_samples * self.input_rate_hz != self.input_frame_samples * rate:
            raise ValueError(
                f"a frame is {self.frame_samples} samples at {rate} Hz, but "
                f"{self.input_frame_samples} at {self.input_rate_hz} Hz: another duration"
            )
        if self.lowest_bitrate_bps == 0:
            object.__setattr__(self, "lowest_bitrate_bps", self.bitrates_bps[0])
        for name in ("default_bitrate_bps", "lowest_bitrate_bps"):
            if getattr(self, name) not in self.bitrates_bps:
                choices = ", ".join(map(str, self.bitrates_bps))
                raise ValueError(f"{name} is {getattr(self, name)}, must be one of {choices}")
        if missing := [name for name in GRAPHS if name not in self.weights]:
            raise ValueError(f"weights has no {missing[0]}")
        if self.graphs_sha256 and set(self.graphs_sha256) != set(self.weights):
            raise ValueError("graphs_sha256 has other graphs than weights")

    @property
    def bits_per_code(self) -> int:
        return (self.codebook_size - 1).bit_length()

    @property
    def frame_rate_hz(self) -> float:
        return self.sample_rate_hz / self.frame_samples

    @property
    def bitrates_bps(self) -> list[int]:
        """Bitrates of a channel, or of all coded jointly, for each number of codebooks from 1."""
        step = self.bits_per_code * self.frame_rate_hz
        return [round(step * count) for count in range(1, self.codebooks + 1)]

    def tensor_elements(self) -> tuple[int, int]:
        """Count the elements of all tensors that are read from the weights, and of all that are
        made: states and Fourier matrices. A tensor that several graphs share counts once."""
        places = {str(place): place for part in self.weights.values() for place in part.values()}
        read = sum(math.prod(place["shape"]) for place in places.values() if "shape" in place)
        states = (*self.encoder_states.values(), *self.decoder_states.values())
        waves = (place["n_fft"] // 2 + 1 for place in places.values() if "n_fft" in place)
        return read, sum(map(math.prod, states)) + sum(side * side for side in waves)


def read_spec(folder: Path) -> tuple[ModelSpec, dict[str, Any]]:
    """Read and check the specification of a model's folder, and the hashes of its files.

    Returns:
        The specification, and everything in ``model.json``.

    Raises:
        ModelError: the folder is not whole, or a file in it is damaged.
    """
    about = _read_json(folder)
    try:
        spec = _parse(about)
        _check_card(about)
    except ValueError as error:
        raise ModelError(f"{folder} is not a whole model folder: {error}") from error
    _check_files(folder, spec)
    return spec, about


def _read_json(folder: Path) -> dict[str, Any]:
    content = read_bytes(folder / "model.json", MOST_JSON_BYTES)
    try:
        about = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{folder} is not a whole model folder: model.json: {error}") from error
    if not isinstance(about, dict) or "format" not in about:
        raise ModelError(f"{folder} is not a whole model folder: model.json states no format")
    if about["format"] not in FORMATS:
        raise ModelError(
            f"{folder} is of model format {_shown(about['format'])}, this version of chirrup reads "
            "formats 1 and 2: upgrade chirrup"
        )
    return about


def _check_files(folder: Path, spec: ModelSpec) -> None:
    weights, (read, made) = folder / WEIGHTS, spec.tensor_elements()
    most = 8 * read + MOST_JSON_BYTES  # elements of the widest type, and a header
    size = regular_size(weights, most)
    if 4 * (read + made) > MOST_EXPANSION * size + MOST_MADE_BYTES:
        raise ModelError(
            f"{folder} is not a whole model folder: its tensors and states would take "
            f"{4 * (read + made) / 1e6:.0f} MB, but {WEIGHTS} has {size / 1e6:.3f} MB"
        )
    hashes = {WEIGHTS: spec.weights_sha256}
    for name in spec.weights:
        regular_size(folder / f"{name}.onnx", MOST_GRAPH_BYTES)
        if spec.graphs_sha256:
            hashes[f"{name}.onnx"] = spec.graphs_sha256[name]
    for name, sha256 in hashes.items():
        if sha256_of(folder / name, most if name == WEIGHTS else MOST_GRAPH_BYTES) != sha256:
            raise ModelError(f"{folder / name} is damaged: its hash is wrong")


# --- model.json, value by value ------------------------------------------------------------------


def _parse(about: dict[str, Any]) -> ModelSpec:
    rate, frame = _whole(about, "sample_rate_hz"), _whole(about, "frame_samples")
    states = _object(about, "states")
    weights_sha256 = _sha256(about, "weights_sha256")
    graphs_sha256 = _object(about, "graphs_sha256") if "graphs_sha256" in about else {}
    return ModelSpec(
        name=_text(about, "name"),
        sample_rate_hz=rate,
        input_rate_hz=_whole(about, "input_rate_hz", rate),
        channels=_whole(about, "channels"),
        frame_samples=frame,
        input_frame_samples=_whole(about, "input_frame_samples", frame),
        chunk_frames=_whole(about, "chunk_frames", 1),
        delay_samples=_whole(about, "delay_samples"),
        latency_samples=_whole(about, "latency_samples"),
        codebooks=_whole(about, "codebooks"),
        codebook_size=_whole(about, "codebook_size"),
        default_bitrate_bps=_whole(about, "default_bitrate_bps"),
        lowest_bitrate_bps=_whole(about, "lowest_bitrate_bps", 0),
        preroll_frames=_whole(about, "preroll_frames", MOST_PREROLL_FRAMES),
        encoder_states=_states(states, "encoder"),
        decoder_states=_states(states, "decoder"),
        weights={name: _places(part, name) for name, part in _object(about, "weights").items()},
        weights_sha256=weights_sha256,
        codes_sha256=_sha256(about, "codes_sha256", weights_sha256),
        graphs_sha256={name: _sha256(graphs_sha256, name) for name in graphs_sha256},
    )


def _value(about: Mapping[str, Any], key: str, default: Any = None) -> Any:
    if key not in about and default is None:
        raise ValueError(f"model.json has no {_shown(key)}")
    return about.get(key, default)


def _whole(about: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = _value(about, key, default)
    if type(value) is not int or not 0 <= value < 2**32:
        raise ValueError(f"{_shown(key)} is {_shown(value)}, must be a whole number")
    return value


def _text(about: Mapping[str, Any], key: str) -> str:
    value = _value(about, key)
    if not isinstance(value, str):
        raise ValueError(f"{_shown(key)} is {_shown(value)}, must be text")
    return value


def _sha256(about: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = _value(about, key, default)
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"{_shown(key)} is {_shown(value)}, must be 64 hexadecimal digits")
    return value


def _object(about: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = _value(about, key)
    if not isinstance(value, dict):
        raise ValueError(f"{_shown(key)} is {_shown(value)}, must be an object")
    return value


def _shape(about: Mapping[str, Any], key: str) -> Shape:
    value = _value(about, key)
    whole = isinstance(value, list) and all(type(n) is int and 0 <= n < 2**32 for n in value)
    if not whole or len(value) > MOST_DIMENSIONS:
        raise ValueError(
            f"{_shown(key)} is {_shown(value)}, must be the sizes of a tensor's dimensions"
        )
    return tuple(value)


def _states(states: dict[str, Any], part: str) -> States:
    shapes = _object(states, part)
    found = {name: _shape(shapes, name) for name in shapes}
    if () in found.values():
        raise ValueError(f"a state of the {part} has no dimensions")
    return found


def _places(part: Any, graph: str) -> dict[str, Place]:
    if not re.fullmatch("[a-z0-9-]{1,64}", graph):
        raise ValueError(f"weights has a graph {_shown(graph)}")
    if not isinstance(part, dict):
        raise ValueError(f"weights of {graph} are {_shown(part)}, must be an object")
    for name in part:
        place = _object(part, name)
        if "waves" in place:
            n_fft = _whole(place, "n_fft")
            if place["waves"] not in KINDS or n_fft % 2 or not 4 <= n_fft <= MOST_FFT:
                raise ValueError(
                    f"{_shown(name)} of {graph} is {_shown(place)}, no matrix of a transform"
                )
            continue
        _text(place, "tensor")
        shape, swapped = _shape(place, "shape"), _value(place, "swapped")
        if type(swapped) is not bool or (swapped and len(shape) < 2):
            raise ValueError(f"{_shown(name)} of {graph} is {_shown(place)}")
    return part


def _check_card(about: dict[str, Any]) -> None:
    """Check the figures that commands print."""
    if "audit" in about:
        audit = _object(about, "audit")
        parts = _object(audit, "parts")
        for figures in (audit, *(_object(parts, name) for name in parts)):
            _check_numbers({key: x for key, x in figures.items() if x not in (None, parts)})
    if "training" in about:
        scores = _object(about, "training").get("scores", {})
        scores = _object({"scores": scores}, "scores")
        for name in scores.keys() - {"clips"}:
            _check_numbers(_object(scores, name))


def _check_numbers(figures: Mapping[str, Any]) -> None:
    for key, value in figures.items():
        number = type(value) in (int, float) and -1e18 < value < 1e18
        if not number or not (key.isascii() and key.isprintable()):
            raise ValueError(f"{_shown(key)} is {_shown(value)}, must be a number")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:60]}..."
