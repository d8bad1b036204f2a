"""Opening a corpus for a recipe: which folders are read, in memory or as a stream."""

import logging
import os
from collections.abc import Collection
from pathlib import Path

import torch

from chirrup.lab.training.batches.audio_files import has_recordings, list_recordings
from chirrup.lab.training.batches.recordings import Recordings, load_recordings
from chirrup.lab.training.batches.sampler import Sampler
from chirrup.lab.training.batches.streamed import StreamedRecordings, entry_seconds
from chirrup.lab.training.data_config import NEEDS_NOISE, NEEDS_ROOMS, DataConfig

MEMORY_SHARE = 0.5
"""Share of the free memory that recordings of one kind may take."""


def build_sampler(
    data: DataConfig,
    sample_rate_hz: int,
    chunk_samples: int,
    generator: torch.Generator,
    device: torch.device,
    channels: int = 1,
) -> Sampler:
    """Build the sampler of a recipe.

    Noise and rooms are read only if a condition needs them and the corpus has them.

    Args:
        chunk_samples: a crop has a whole number of such chunks, at least one.
        channels: number of channels that the model codes jointly.
    """
    chunks = max(1, round(data.crop_seconds * sample_rate_hz / chunk_samples))

    def load(folder: str, keep: int | None = None) -> Recordings:
        return open_recordings(data, folder, sample_rate_hz, device, keep)

    def load_if_needed(folder: str, needed_by: Collection[str]) -> Recordings | None:
        wanted = data.conditions.used & set(needed_by) and has_recordings(data.manifest, folder)
        return load(folder) if wanted else None

    return Sampler(
        load(data.speech, channels if data.channels == "keep" else None),
        load_if_needed(data.noise, NEEDS_NOISE),
        load_if_needed(data.rooms, NEEDS_ROOMS),
        sample_rate_hz=sample_rate_hz,
        crop_samples=chunks * chunk_samples,
        conditions=data.conditions,
        enhance=data.enhance,
        speed_range=data.speed_range,
        level_db=data.level_db,
        keep_level=data.keep_level,
        noise_snr_db=data.noise_snr_db,
        generator=generator,
    )


def warn_of_missing(data: DataConfig, sampler: Sampler) -> None:
    """Log what the corpus lacks: noise and rooms for conditions, recordings for validation."""
    log = logging.getLogger(__name__)
    for folder, recordings, needed_by in (
        (data.noise, sampler.noise, NEEDS_NOISE),
        (data.rooms, sampler.rooms, NEEDS_ROOMS),
    ):
        names = [name.replace("_", " ") for name in needed_by if name in data.conditions.used]
        if names and recordings is None:
            log.warning(
                "%s has no recordings in %s/: training goes without %s speech",
                *(data.manifest, folder, ", ".join(names)),
            )
    if not data.validation_clips:
        return
    if not has_recordings(data.manifest, data.validation):
        log.warning(
            "%s has no recordings in %s/: training goes without validation; name another folder "
            "with data.validation",
            *(data.manifest, data.validation),
        )
    elif data.enhance and not has_recordings(data.manifest, data.validation_noise):
        log.warning(
            "%s has no recordings in %s/: validation goes without noisy clips; name another folder "
            "with data.validation_noise",
            *(data.manifest, data.validation_noise),
        )


def open_recordings(
    data: DataConfig,
    folder: str,
    sample_rate_hz: int,
    device: torch.device,
    channels: int | None = None,
) -> Recordings:
    """Open all recordings in a folder of the manifest, decoded or streamed.

    Room responses, which are short, are always decoded.

    Args:
        channels: number of channels to keep of every recording. By default ``data.channels``
            decides.

    Raises:
        ModelError: there are no recordings, or one cannot be read.
    """
    each = data.channels == "each"
    if folder != data.rooms:
        entries = list_recordings(data.manifest, folder, data.leave_out, data.licences)
        if data.memory_gb is None:
            limit = free_bytes(device) * MEMORY_SHARE
        else:
            limit = data.memory_gb * 1e9
        seconds = sum(entry_seconds(entry, each) for entry in entries) * (channels or 1)
        if 2 * sample_rate_hz * seconds > limit:
            return StreamedRecordings.of(
                entries, sample_rate_hz, device, each_channel=each, channels=channels
            )
    return load_recordings(
        data.manifest,
        folder,
        sample_rate_hz,
        data.cache,
        each_channel=each,
        channels=channels,
        leave_out=data.leave_out,
        licences=data.licences,
    ).to(device)


def free_bytes(device: torch.device) -> float:
    """Return the free memory of a device. Processes of one machine share its memory evenly."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(1024 * int(x.split()[1]) for x in lines if x.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # other systems than Linux
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    return free / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
