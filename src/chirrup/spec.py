"""The class `ModelSpec`: the rates, frames, bitrates and states of a model, with checked ranges."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

ENCODER_GRAPHS = "encoder", "encoder-frame"
"""Graphs of a model folder, except of one that only decodes."""
DECODER_GRAPHS = "decoder", "decoder-frame"
"""Graphs of every model folder."""

MOST_CODEBOOKS, MOST_CODE_BITS = 128, 16
MOST_FRAME_SAMPLES = 0xFFFF
"""Most samples in a frame, all channels together: the largest value in a ``.chirrup`` file."""
BLOCK_FRAMES = 50
"""Frames coded at once in a signal or file: nearly as fast as larger blocks, with little memory."""
MOST_CHUNK_FRAMES = BLOCK_FRAMES
"""A block holds at least one whole chunk."""
MOST_PREROLL_FRAMES = 0xFFFF
LOST_FRAMES = ("model", "repeat")

Shape = tuple[int, ...]
States = Mapping[str, Shape]
Place = Mapping[str, Any]
"""The place of a graph's tensor in the weight file; see `lab.export.model_folder.move_weights`."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The specification of one model. `LoadedModel` documents the fields that it shares.

    Raises:
        ValueError: a value is out of range or contradicts another value.
    """

    name: str
    sample_rate_hz: int
    """Rate of the decoded audio. All sample counts use it, except ``input_frame_samples``."""
    input_rate_hz: int
    channels: int
    """Number of channels that are coded jointly."""
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
    """Lowest bitrate that the model was trained for; 0 becomes the lowest of ``bitrates_bps``."""
    preroll_frames: int
    """Frames that a seek decodes before the first frame that it returns."""
    lost_frames: str
    """How lost frames are concealed: "model" or "repeat", see `concealment.ConcealingDecoder`."""
    encoder_states: States
    """Shape of each state tensor for one stream, without the batch dimension."""
    decoder_states: States
    weights: Mapping[str, Mapping[str, Place]]
    """Place of each tensor, by graph and by the tensor's name in the graph."""
    weights_sha256: str
    codes_sha256: str
    """SHA-256 of the weights that produced the codes; see `LoadedModel`."""
    graphs_sha256: Mapping[str, str]
    """SHA-256 of each graph; empty in folders that earlier versions exported."""
    program_sha256: str
    """SHA-256 of the program of the native engine; empty if the model has none."""
    binary_codes: bool = False
    """Whether a code is the signs of the dimensions of a vector, the first the highest bit."""

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
        if self.binary_codes and (self.codebooks, self.codebook_size) != (
            1,
            1 << self.bits_per_code,
        ):
            raise ValueError("binary_codes is true, but there is not one codebook of 2^n codes")
        if self.lost_frames not in LOST_FRAMES:
            choices = " or ".join(LOST_FRAMES)
            raise ValueError(f"lost_frames is {shown(self.lost_frames)}, must be {choices}")
        needed = (*(ENCODER_GRAPHS if self.has_encoder else ()), *DECODER_GRAPHS)
        if missing := [name for name in needed if name not in self.weights]:
            raise ValueError(f"weights has no {missing[0]}")
        if self.graphs_sha256 and set(self.graphs_sha256) != set(self.weights):
            raise ValueError("graphs_sha256 has other graphs than weights")
        if self.program_sha256 and self.channels > 1:
            raise ValueError(f"a program codes one channel, but channels is {self.channels}")

    @property
    def has_encoder(self) -> bool:
        """Whether the model encodes; else it only decodes."""
        return any(name in self.weights for name in ENCODER_GRAPHS)

    @property
    def bits_per_code(self) -> int:
        """Bits of a code in files and packets."""
        return (self.codebook_size - 1).bit_length()

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.sample_rate_hz / self.frame_samples

    @property
    def bitrates_bps(self) -> list[int]:
        """Bitrates in bit/s of one stream of codes, for 1, 2, ... codebooks."""
        step = self.bits_per_code * self.frame_rate_hz
        return [round(step * count) for count in range(1, self.codebooks + 1)]

    def codebooks_at(self, bitrate_bps: float) -> int:
        """Return the number of codebooks of a bitrate; `Codec.codebooks_at` describes it."""
        if bitrate_bps not in self.bitrates_bps:
            raise self.no_bitrate(bitrate_bps)
        return self.bitrates_bps.index(int(bitrate_bps)) + 1

    def no_bitrate(self, bitrate_bps: object) -> ValueError | TypeError:
        """Return the error for a bitrate that the model does not have."""
        if not isinstance(bitrate_bps, Real):
            return TypeError(f"bitrate_bps must be in bit/s, such as 6000; got {bitrate_bps!r}")
        choices = ", ".join(map(str, self.bitrates_bps))
        return ValueError(
            f"{self.name} has no bitrate of {bitrate_bps:.9g} bit/s; it has {choices}"
        )

    @property
    def block_frames(self) -> int:
        """Frames that are coded at once in a signal or file: a whole number of chunks."""
        return BLOCK_FRAMES - BLOCK_FRAMES % self.chunk_frames

    @property
    def packet_frames(self) -> int:
        """Default frames in a packet: a chunk, and at least 8 bits of each codebook; at most 4."""
        return min(4, max(self.chunk_frames, -(-8 // self.bits_per_code)))

    def streams(self, channels: int) -> int:
        """Return the number of streams of codes of a signal with ``channels`` channels.

        Raises:
            ValueError: the model codes several channels jointly, and ``channels`` is neither 1 nor
                their number.
        """
        if self.channels > 1 and channels not in (1, self.channels):
            raise ValueError(
                f"{self.name} codes 1 or {self.channels} channels, not {channels}: mix them (--mix)"
            )
        return channels if self.channels == 1 else 1

    def padding_samples(self, samples: int) -> int:
        """Return the length of the silence that follows a signal before the encoder.

        With it, the signal and the decoder's delay fill whole chunks.

        Args:
            samples: length of the signal at ``input_rate_hz``.
        """
        delay = -(-self.delay_samples * self.input_rate_hz // self.sample_rate_hz)
        return delay + -(samples + delay) % (self.chunk_frames * self.input_frame_samples)

    def frames_within(self, duration_ms: float) -> int:
        """Return the most frames, in whole chunks and at least one chunk, that last so long.

        Raises:
            ValueError: the duration is not a positive number.
        """
        if not 0 < duration_ms < math.inf:
            raise ValueError(f"a chunk of {duration_ms:g} ms is not possible: use 20 ms or more")
        chunk_ms = 1000 * self.chunk_frames * self.frame_samples / self.sample_rate_hz
        return max(1, math.floor(duration_ms / chunk_ms + 1e-9)) * self.chunk_frames

    def tensor_elements(self) -> tuple[int, int]:
        """Count the elements of tensors; a tensor that several graphs share counts once.

        Returns:
            The elements that are read from the weight file, and the elements of the states and
            Fourier matrices, which are computed.
        """
        places = {str(place): place for part in self.weights.values() for place in part.values()}
        read = sum(math.prod(place["shape"]) for place in places.values() if "shape" in place)
        states = (*self.encoder_states.values(), *self.decoder_states.values())
        waves = (place["n_fft"] // 2 + 1 for place in places.values() if "n_fft" in place)
        return read, sum(map(math.prod, states)) + sum(side * side for side in waves)


def shown(value: object) -> str:
    """Format a value for an error message, at most about 60 characters."""
    text = repr(value)
    return text if len(text) < 60 else f"{text[:60]}..."
