"""The sizes of FocalCodec-Stream: the published ones, and our own."""

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class FocalConfig:
    """The published sizes; the codecs of 0.55, 0.60 and 0.80 kbit/s differ in ``bits`` only.

    | | parameters (M) | billion multiplications a second, attention's products left out |
    |---|---|---|
    | features, compressor | 88.71, 42.63 | 6.68, 2.13 |
    | decompressor, waveform | 76.19, 41.51 | 2.55, 2.07 |
    | all | 249.04 | 13.4 |

    Attributes:
        input_rate_hz, sample_rate_hz: of what the encoder hears, and of what the decoder makes.
        chunk_frames: frames that see each other, in attention and refiner; all else is causal. A
            call of encoder or decoder is a whole number of such chunks.
        front_dim: channels of the convolutions on the waveform.
        window_frames: a chunk attends to so many frames at most, itself among them.
        focal_kernels: of focal modulation, each upon the one before.
        whole_frames: whether the convolutions on the waveform hear a frame to its end. The
            published ones hear its first sample only, so that the last 20 ms of each chunk, though
            waited for, are guessed.
        spectra: whether the encoder hears spectra in place of convolutions on the waveform.
        chunk_codes: whether the codes of a chunk say together what all its frames hold. Each of the
            published ones stands for its own frame, though all of a chunk are waited for.
        code_refiners: how many layers that see a chunk at once, as the published refiner does, are
            next to the codes, on either side.
        voice_bands: if there are any, the waveform's last layer controls pulses and noise with so
            many gains each (`nn/harmonic_noise.py`). The published one's makes samples itself, and
            has to learn how phases go on from frame to frame.
    """

    bits: int = 16
    front_dim: int = 512
    front_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    front_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    dim: int = 1024
    layers: int = 6
    heads: int = 16
    hidden_dim: int = 4096
    position_kernel: int = 128
    position_groups: int = 16
    bias_buckets: int = 320
    bias_max_distance: int = 800
    window_frames: int = 512
    focal_dim: int = 1024
    focal_blocks: int = 3
    focal_kernels: tuple[int, ...] = (14, 18, 512)
    waveform_dim: int = 1024
    waveform_hidden_dim: int = 2048
    waveform_blocks: int = 8
    frame_samples: int = 480
    chunk_frames: int = 4
    input_rate_hz: int = 16_000
    sample_rate_hz: int = 24_000
    codebooks: int = 1
    whole_frames: bool = False
    spectra: bool = False
    chunk_codes: bool = False
    code_refiners: int = 0
    voice_bands: int = 0

    def __post_init__(self) -> None:
        stride = prod(self.front_strides)
        if stride * self.sample_rate_hz != self.frame_samples * self.input_rate_hz:
            raise ValueError("a frame must be as long at the decoder as at the encoder")

    @classmethod
    def small(cls) -> "FocalConfig":
        """Not in the paper: for a part of one CPU core, live, and for training without a GPU.

        It looks back 2.6 s, not 10, so that crops of a few seconds teach it all that it will meet.
        """
        return cls(
            dim=256,
            layers=6,
            heads=8,
            hidden_dim=1024,
            bias_buckets=64,
            bias_max_distance=128,
            window_frames=128,
            focal_dim=256,
            focal_kernels=(14, 18, 128),
            spectra=True,
            chunk_codes=True,
            code_refiners=2,
            waveform_dim=256,
            waveform_hidden_dim=1024,
            waveform_blocks=4,
            voice_bands=40,
        )

    @property
    def codebook_size(self) -> int:
        return 2**self.bits
