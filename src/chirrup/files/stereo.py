"""How the channels of a file are coded; two as mid and side: what they share, and what tells them
apart."""

from typing import Literal

import numpy as np

from chirrup.bitstream import ChannelMode
from chirrup.codec import Codec
from chirrup.errors import FileError
from chirrup.files.inputs import Source, source_name

Stereo = Literal["separate", "mid-side"]
"""How the two channels of a file are coded."""


def channel_mode(
    codec: Codec, channels: int, mix: bool, stereo: Stereo, source: Source
) -> ChannelMode:
    """What the header is to say of a source with so many channels.

    Raises:
        FileError: mid and side of what has none.
    """
    joint = codec.channels > 1
    if stereo == "mid-side":
        if joint:
            raise FileError(f"{codec.name} codes its channels jointly: leave mid and side to it")
        if mix:
            raise FileError("mixing leaves no mid and side: choose one of the two")
        if channels != 2:
            raise FileError(
                f"mid and side are of 2 channels, {source_name(source)} has {channels}: code "
                "separate channels, which is the default"
            )
        return "mid-side"
    if mix and channels > 1:
        return "downmix"
    return "joint" if joint else "separate"


def mid_side(audio: np.ndarray) -> np.ndarray:
    """Left and right ``[2, samples]`` to half their sum and half their difference.

    Halves: neither leaves full scale where left and right do not, a model is trained for no more,
    and the mid of two equal channels is the channel.
    """
    left, right = audio
    return np.stack([left + right, left - right]) * np.float32(0.5)


def left_right(audio: np.ndarray) -> np.ndarray:
    """Mid and side ``[2, samples]`` back to left and right."""
    mid, side = audio
    return np.stack([mid + side, mid - side])
