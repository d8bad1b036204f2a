"""The self-test of a model: the hashes of its files, and codes and levels beside stored ones.

A shipped model's folder has `STORED`: the codes of a few frames of the bundled clip, and the level
of each decoded frame. ``benchmarks/self_test.py`` writes it. The samples of the clip are used at
the rate of the model, because codes of resampled audio would depend on the resampler.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import chirrup
from chirrup.codes import Codes
from chirrup.errors import ChirrupError, ModelError
from chirrup.files.sounds import read_sound
from chirrup.installation.packages import lacking
from chirrup.model_json import check_files, read_spec
from chirrup.parsing import parsing
from chirrup.runtime import native
from chirrup.zoo import FOLDER, load, models

if TYPE_CHECKING:
    from chirrup.codec import Codec

CLIP = Path(chirrup.__file__).parent / "clips" / "joe.flac"
STORED = "self_test.json"
FRAMES = 16
CHANNEL_SAMPLES = 4000
"""Distance in the clip between the excerpts of two channels."""
LEVEL_DB = 0.1
"""Largest difference of a level."""


@dataclass(frozen=True)
class Checked:
    """The result of the self-test of a model.

    Attributes:
        name: name of the model.
        engine: engine that ran it, "native" or "onnx"; "" if none did.
        state: "right", "wrong" (a hash, a code or a level differs), or "not run".
        text: what was compared, or what is wrong.
    """

    name: str
    engine: str
    state: Literal["right", "wrong", "not run"]
    text: str


def check_models() -> list[Checked]:
    """Run the self-test of each shipped model in the engine that `chirrup.load` selects.

    Earlier weights are among them, because files may need them.
    """
    return [check_model(name) for name in models(earlier=True)]


def check_model(name: str, engine: str | None = None) -> Checked:
    """Run the self-test of a model.

    Args:
        engine: "native" or "onnx"; None selects the engine as `chirrup.load` does.
    """
    folder, used, compared = FOLDER / name, "", "hashes, codes and levels"
    try:
        check_hashes(folder)
        if native.library() is None and not any(folder.glob("*.onnx")):
            text = f"only the native engine runs it: {native.load_error()}"
            return Checked(name, "", "not run", text)
        codec = load(name, engine=engine)
        if codec.engine == "onnx" and (missing := lacking("onnx")):
            text = f"missing: {', '.join(missing)}; pip install 'chirrup[onnx]'"
            return Checked(name, "", "not run", text)
        if not (folder / STORED).is_file():
            return Checked(name, codec.engine, "not run", f"{folder / STORED} is missing")
        used = codec.engine
        if not codec.has_encoder:
            compared = "hashes and levels"
        with parsing():
            fault = _difference(json.loads((folder / STORED).read_text()), codec)
    except (ChirrupError, OSError) as error:
        return Checked(name, used, "wrong", str(error))
    except ValueError as error:
        fault = f"the self-test with {folder / STORED} fails: {error}"
    if fault is not None:
        return Checked(name, used, "wrong", f"{fault}: install chirrup again")
    return Checked(name, used, "right", f"{compared} are right")


def check_hashes(folder: Path) -> None:
    """Check the hashes of the program and of the graphs and weights, as far as they are there.

    Raises:
        ModelError: a file is damaged, or there is neither a program nor graphs.
    """
    spec, _ = read_spec(folder)
    present = {"native": (folder / native.PROGRAM).exists(), "onnx": any(folder.glob("*.onnx"))}
    if not any(present.values()):
        raise ModelError(f"{folder} has neither a program nor graphs: install chirrup again")
    for engine, there in present.items():
        if there:
            check_files(folder, spec, engine)


def excerpt(codec: "Codec", start: int) -> np.ndarray:
    """Return samples of the bundled clip, ``float32 [samples]`` or ``[channels, samples]``."""
    clip, size = read_sound(CLIP)[0][:, 0], FRAMES * codec.input_frame_samples
    starts = (start + channel * CHANNEL_SAMPLES for channel in range(codec.channels))
    audio = np.stack([clip[begin : begin + size] for begin in starts])
    return audio if codec.channels > 1 else audio[0]


def measure(codec: "Codec", audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes at the highest bitrate, and the level of each decoded frame in dB."""
    codes = codec.encode(audio, codec.bitrates_bps[-1])
    return np.asarray(codes.data), decoded_levels_db(codec, codes)


def decoded_levels_db(codec: "Codec", codes: Codes) -> np.ndarray:
    """Return the level of each decoded frame in dB."""
    decoded = np.atleast_2d(codec.decode(codes)).astype(np.float64)
    size = codec.frame_samples
    frames = decoded[:, : decoded.shape[1] // size * size].reshape(len(decoded), -1, size)
    return 10 * np.log10(np.square(frames).mean((0, 2)) + 1e-12)


def _difference(stored: dict[str, Any], codec: "Codec") -> str | None:
    """Return how the codes and levels differ from the stored ones, or None.

    A model that only decodes decodes the stored codes.
    """
    wanted = np.array(stored["codes"])
    if codec.has_encoder:
        codes, levels_db = measure(codec, excerpt(codec, stored["start"]))
        if (differ := int((codes != wanted).sum())) > 0:
            verb = "differs" if differ == 1 else "differ"
            return f"{differ} of {codes.size} codes {verb} from the stored ones"
    else:
        levels_db = decoded_levels_db(codec, Codes(wanted, FRAMES * codec.frame_samples))
    error_db = float(np.abs(levels_db - stored["levels_db"]).max())
    if error_db > LEVEL_DB:
        return f"the levels of decoded frames differ from the stored ones by {error_db:.1f} dB"
    return None
