"""The functions behind the command ``chirrup export``: from a checkpoint to a model folder."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch

import chirrup
from chirrup.files.drafts import open_scratch
from chirrup.lab.export.decoder_only import export_decoder
from chirrup.lab.export.export import export
from chirrup.lab.export.int8 import export_int8, export_int8_storage
from chirrup.lab.export.parity import Parity
from chirrup.lab.models import build
from chirrup.lab.released import is_released, load_released
from chirrup.lab.training.batches.audio_files import read_mono
from chirrup.lab.training.checkpoints import load_checkpoint, trained_model
from chirrup.lab.training.config import TrainingConfig

UNTRAINED_CARD = {"steps": 0, "untrained": True}
DEMO_CLIP = Path(__file__).parents[2] / "clips" / "joe.flac"


def export_checkpoint(
    checkpoint: Path,
    folder: Path,
    audio: Path | None = None,
    *,
    compact: bool = False,
    pseudo_gray: bool = False,
    like: Path | None = None,
) -> Parity:
    """Export a model to a folder that ``chirrup.load`` opens.

    Args:
        checkpoint: ``checkpoint.pt`` of a training or its folder, whose averaged (EMA) weights are
            exported. Or the folder of a released checkpoint (`lab/released`).
        audio: recording on which the export is compared with the model, by default the bundled
            clip.
        compact: round weights to 8 bits, for half the size. Released weights are not changed.
        pseudo_gray: order the codebooks so that an index with one wrong bit gives a similar entry.
        like: folder of a model with the same codes, whose files the export then decodes.

    Raises:
        FileNotFoundError: there is no checkpoint.
        UsageError: the codes differ from the codes of ``like``.
        ModelError: the file is not a checkpoint, or the graphs would differ from the model.
    """
    if is_released(checkpoint):
        return export_released(checkpoint, folder, audio, pseudo_gray=pseudo_gray, like=like)
    saved = load_checkpoint(checkpoint)
    model, name = trained_model(saved), saved["config"]["model"]
    recipe = saved["config"] | {"data": _without_paths(saved["config"]["data"])}
    card = {"steps": saved["step"], "hours": round(saved["hours"], 2), "recipe": recipe}
    lowest = TrainingConfig.model_validate(saved["config"]).codes.lowest
    clip = excerpt(audio, model.input_rate_hz)
    changes = {"compact": compact, "pseudo_gray": pseudo_gray}
    return export(model, name, folder, clip, card, lowest=lowest, like=like, **changes)


def _without_paths(data: dict[str, Any]) -> dict[str, Any]:
    """Remove the paths of this machine from the data of a recipe."""
    return {key: value for key, value in data.items() if key not in ("manifest", "cache")}


def export_released(
    folder: Path,
    out: Path,
    audio: Path | None = None,
    *,
    pseudo_gray: bool = False,
    like: Path | None = None,
) -> Parity:
    """Export published weights (`lab/released`) without changes to their values.

    Raises:
        ValueError: the files in ``folder`` do not fit a known model.
    """
    released = load_released(folder)
    clip = excerpt(audio, released.model.input_rate_hz)
    changes = {"exact": True, "pseudo_gray": pseudo_gray}
    return export(released.model, released.name, out, clip, released.card, like=like, **changes)


def export_untrained(name: str, folder: Path, audio: Path | None = None) -> Parity:
    """Export a configuration with random weights, to measure its speed and memory.

    Raises:
        ModelError: no configuration has that name, or the graphs would differ from the model.
    """
    with torch.device("meta"):
        clip = excerpt(audio, build(name).input_rate_hz)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return export(build(name).eval().requires_grad_(False), name, folder, clip, UNTRAINED_CARD)


def export_with_int8(
    source: Path,
    folder: Path,
    parts: Collection[str],
    audio: Path | None = None,
    *,
    pseudo_gray: bool = False,
    like: Path | None = None,
) -> Parity:
    """Export a model with 8-bit weights.

    Args:
        source: a model folder, or a source of `export_checkpoint`.
        parts: parts that compute with 8-bit weights (`export_int8`). If empty, all weights are
            stored in 8 bits and computed in float32 (`export_int8_storage`).
        audio: as in `export_checkpoint`.
        pseudo_gray, like: as in `export_checkpoint`; not for a model folder.
    """
    if not (source / "model.json").is_file():
        changes: dict[str, Any] = {"pseudo_gray": pseudo_gray, "like": like}
        if not parts and not is_released(source):
            return export_checkpoint(source, folder, audio, compact=True, **changes)
        with open_scratch(folder) as whole:
            export_checkpoint(source, whole, audio, **changes)
            return export_with_int8(whole, folder, parts, audio)
    clip = excerpt(audio, chirrup.load(source).input_rate_hz)
    if not parts:
        return export_int8_storage(source, folder, clip)
    return export_int8(source, folder, parts, clip)


def export_decoder_only(model: Path, folder: Path, audio: Path | None = None) -> Parity:
    """Export a model folder without its encoder; ``audio`` is as in `export_checkpoint`."""
    return export_decoder(model, folder, excerpt(audio, chirrup.load(model).input_rate_hz))


def excerpt(audio: Path | None, rate_hz: int) -> np.ndarray:
    """Read five seconds of a recording, or of the bundled clip: ``float32 [samples]``."""
    clip = read_mono(audio or DEMO_CLIP, rate_hz)[: 5 * rate_hz]
    if len(clip) < rate_hz // 2:
        raise ValueError(f"{audio} is shorter than half a second: give a longer clip")
    return clip
