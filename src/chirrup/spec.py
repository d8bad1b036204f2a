"""A model's specification: rates, frames, bitrates and states, with checked ranges."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GRAPHS = ("encoder", "encoder-frame", "decoder", "decoder-frame")
"""The graphs that every folder has."""

MOST_CODEBOOKS, MOST_CODE_BITS = 128, 16
MOST_FRAME_SAMPLES = 0xFFFF
"""As a ``.chirrup`` file has it, all channels together."""
BLOCK_FRAMES = 50
"""Frames coded at once in a signal or file: most of the speed of large blocks, little memory."""
MOST_CHUNK_FRAMES = BLOCK_FRAMES
"""A block holds whole chunks."""
MOST_PREROLL_FRAMES = 0xFFFF

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
                f"name is {shown(self.name)}, must be 1 to 255 bytes of printable text"
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

    @property
    def block_frames(self) -> int:
        """Frames that are coded at once in a signal or file, a whole number of chunks."""
        return BLOCK_FRAMES - BLOCK_FRAMES % self.chunk_frames

    @property
    def packet_frames(self) -> int:
        """Frames in a packet by default: a chunk, at least 8 bits of each codebook, at most 4."""
        return min(4, max(self.chunk_frames, -(-8 // self.bits_per_code)))

    def streams(self, channels: int) -> int:
        """Return how many streams of codes a signal of so many channels is.

        Raises:
            ValueError: neither one channel nor all that are coded jointly.
        """
        if self.channels > 1 and channels not in (1, self.channels):
            raise ValueError(
                f"{self.name} codes 1 or {self.channels} channels, not {channels}: mix them (--mix)"
            )
        return channels if self.channels == 1 else 1

    def padding_samples(self, samples: int) -> int:
        """Return the silence that the encoder needs after ``samples``, at ``input_rate_hz``, until
        whole chunks have given every sample back."""
        delay = -(-self.delay_samples * self.input_rate_hz // self.sample_rate_hz)
        return delay + -(samples + delay) % (self.chunk_frames * self.input_frame_samples)

    def tensor_elements(self) -> tuple[int, int]:
        """Count the elements of all tensors that are read from the weights, and of all that are
        made: states and Fourier matrices. A tensor that several graphs share counts once."""
        places = {str(place): place for part in self.weights.values() for place in part.values()}
        read = sum(math.prod(place["shape"]) for place in places.values() if "shape" in place)
        states = (*self.encoder_states.values(), *self.decoder_states.values())
        waves = (place["n_fft"] // 2 + 1 for place in places.values() if "n_fft" in place)
        return read, sum(map(math.prod, states)) + sum(side * side for side in waves)


def shown(value: object) -> str:
    """Return a value as an error message shows it."""
    text = repr(value)
    return text if len(text) < 60 else f"{text[:60]}..."
