"""Recordings of a corpus, decoded once and kept in memory."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from chirrup.lab.fast.interpolation import interpolate as fast_interpolate
from chirrup.lab.training.batches import audio_cache
from chirrup.lab.training.batches.audio_files import (
    check_length,
    list_recordings,
    read_channels,
    read_jointly,
    read_mono,
)
from chirrup.words import counted

SINC_TAPS = 32
"""Taps of the interpolation that changes speed and pitch."""
PASSED = 0.92
"""Cutoff of the interpolation, as a share of the band that a change of speed leaves."""


@dataclass(frozen=True)
class Recordings:
    """Recordings of one kind, concatenated.

    Attributes:
        audio: ``int16 [channels, samples]``, on the training device.
        start: first sample of each recording, ``int64 [recordings]``.
        length: samples of each recording, ``int64 [recordings]``.
    """

    audio: Tensor
    start: Tensor
    length: Tensor

    def to(self, device: torch.device) -> "Recordings":
        return Recordings(self.audio.to(device), self.start.to(device), self.length.to(device))

    def locate(self, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find the recording of each row of positions ``[batch, samples]``.

        Returns:
            Index of the recording, its first sample, and the sample after its last one, each
            ``[batch]``.
        """
        which = torch.searchsorted(self.start, position[:, 0].long(), right=True) - 1
        start = self.start[which]
        return which, start, start + self.length[which]

    def read(self, position: Tensor, speed: Tensor, fast: bool = False) -> Tensor:
        """Read samples at positions in ``audio``, ``[batch, samples]``.

        Args:
            position: each row lies within one recording.
            speed: samples of the recording per sample that is read, ``[batch, 1]``. If all are 1,
                nothing is interpolated: the fractions of positions are cut off.
            fast: interpolate by the fast form if the recordings are on the CPU.

        Returns:
            ``float32 [batch, channels, samples]``.
        """
        if bool((speed == 1).all()):
            return self.audio[:, position.long()].transpose(0, 1).float() / 32768
        if fast and self.audio.device.type == "cpu":
            _, start, stop = self.locate(position)
            return fast_interpolate(self.audio, position, cutoff_at(speed), start, stop)
        return interpolate(self, position, cutoff_at(speed))


def load_recordings(
    manifest: Path | None,
    folder: str,
    sample_rate_hz: int,
    cache: Path,
    *,
    each_channel: bool = False,
    channels: int | None = None,
    leave_out: Sequence[str] = (),
    licences: Sequence[str] = (),
) -> Recordings:
    """Decode all recordings in a folder of the manifest, and store the result in ``cache``.

    They are decoded again if the list of recordings has changed, if a recording has changed, or if
    the stored result is damaged.

    Args:
        each_channel: make a recording of every channel.
        channels: keep this number of channels of every recording (`match_channels`). By default the
            channels are averaged.
        leave_out, licences: patterns of file names and licences, see `list_recordings`.
    """
    entries = list_recordings(manifest, folder, leave_out, licences)
    kind = "each-" if each_channel else f"{channels}-channels-" if channels else ""
    name = f"{folder.replace('/', '_')}-{sample_rate_hz}-{kind}{audio_cache.key(entries)}.npz"
    path = cache / name
    found = audio_cache.load(path, entries, sample_rate_hz, each_channel)
    if found is None:
        logging.getLogger(__name__).info(
            "decoding %s of %s at %d Hz into %s",
            *(counted(len(entries), "recording"), folder, sample_rate_hz, cache),
        )
        audio: list[np.ndarray] = []
        screen = Console(stderr=True)
        bar = {"console": screen, "disable": not screen.is_terminal}
        for entry in track(entries, f"decoding {folder}", **bar):
            if each_channel:
                decoded = read_channels(entry, sample_rate_hz)
            elif channels:
                decoded = read_jointly(entry, sample_rate_hz, channels)
            else:
                decoded = read_mono(entry, sample_rate_hz)[None]
            check_length(entry, decoded.shape[1])
            decoded = (decoded.clip(-1, 1) * 32767).astype(np.int16)
            audio += np.split(decoded, len(decoded)) if each_channel else [decoded]
        found = audio_cache.save(path, audio)
    signal, length = map(torch.from_numpy, found)
    return Recordings(signal, length.cumsum(0) - length, length)


def cutoff_at(speed: Tensor) -> Tensor:
    """Return the cutoff of a change of speed, as a share of the recording's band, ``[batch, 1]``.

    A faster recording has less of its band left: the frequencies above it would alias.
    """
    return PASSED / speed.clamp(min=1)


def interpolate(recordings: Recordings, position: Tensor, cutoff: Tensor) -> Tensor:
    """Read fractional positions in ``audio``, ``[batch, samples]``, by windowed sinc.

    Beyond the ends of a recording, its first or last sample is repeated.

    Args:
        cutoff: share of the band that passes, ``[batch, 1]`` (`cutoff_at`).

    Returns:
        ``[batch, channels, samples]``.
    """
    _, start, stop = recordings.locate(position)
    whole = position.floor()
    taps = torch.arange(SINC_TAPS, device=position.device) - (SINC_TAPS // 2 - 1)
    low, high = start[:, None, None], stop[:, None, None] - 1
    index = (whole.long()[..., None] + taps).clamp(low, high)
    offset = taps - (position - whole).float()[..., None]
    window = 0.5 + 0.5 * torch.cos(torch.pi * offset / (SINC_TAPS // 2))
    share = cutoff[..., None].float()
    weight = share * torch.sinc(share * offset) * window / 32768
    return (recordings.audio[:, index].float() * weight).sum(3).transpose(0, 1)
