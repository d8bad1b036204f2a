"""Channel modes of a file, and the conversion of left and right to mid and side."""

from typing import Literal

import numpy as np

from chirrup.bitstream import ChannelMode
from chirrup.codec import Codec
from chirrup.errors import FileError
from chirrup.files.inputs import Source, source_name

Stereo = Literal["separate", "mid-side"]
"""Coding of the two channels of a file."""


def channel_mode(
    codec: Codec, channels: int, mix: bool, stereo: Stereo, source: Source
) -> ChannelMode:
    """Return the channel mode of a source with ``channels`` channels.

    Args:
        codec: the model.
        channels: number of channels of the source.
        mix: average all channels to one.
        stereo: requested coding of two channels.
        source: the source, for the error message.

    Raises:
        FileError: "mid-side" is requested, but the source does not have two channels, they are
            mixed, or the model codes its channels jointly.
    """
    joint = codec.channels > 1
    if stereo == "mid-side":
        if joint:
            raise FileError(f"{codec.name} codes its channels jointly: leave out --stereo mid-side")
        if mix:
            raise FileError("--mix and --stereo mid-side exclude each other: choose one of the two")
        if channels != 2:
            raise FileError(
                f"mid and side need 2 channels, but {source_name(source)} has {channels}: leave "
                "out --stereo mid-side"
            )
        return "mid-side"
    if mix and channels > 1:
        return "downmix"
    return "joint" if joint else "separate"


def mid_side(audio: np.ndarray) -> np.ndarray:
    """Convert left and right ``[2, samples]`` to half their sum and half their difference.

    With the factor of one half, mid and side stay within full scale, for which models are trained,
    and the mid of two equal channels is the channel itself.
    """
    left, right = audio
    return np.stack([left + right, left - right]) * np.float32(0.5)


def left_right(audio: np.ndarray) -> np.ndarray:
    """Convert mid and side ``[2, samples]`` to left and right."""
    mid, side = audio
    return np.stack([mid + side, mid - side])
