"""The configuration of FocalCodec-Stream (arXiv 2509.16195): published sizes, a smaller model."""

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class FocalConfig:
    """The published sizes. The codecs of 0.55, 0.60 and 0.80 kbit/s differ in ``bits`` only.

    Attributes:
        input_rate_hz: sample rate of the encoder's input.
        sample_rate_hz: sample rate of the decoded audio.
        chunk_frames: number of frames in a chunk. Attention and the refiner see the whole chunk;
            all other layers are causal. A call of encoder or decoder takes a multiple of it.
        front_dim: channels of the convolutions on the waveform.
        window_frames: a chunk attends to at most this many frames, itself included.
        focal_kernels: kernel sizes of the stacked convolutions in focal modulation.
        whole_frames: whether the convolutions on the waveform see a frame up to its last sample.
            The published ones see its first sample only, so the model has to guess the last 20 ms
            of each chunk, although it waits for them.
        spectra: whether log spectra replace the convolutions on the waveform.
        chunk_codes: whether the codes of a chunk describe all its frames jointly. In the published
            codecs each code describes its own frame, although decoding waits for the whole chunk.
        code_refiners: number of extra refiners, layers that see a whole chunk, before and after
            the codes.
        voice_bands: number of gains of each filter if the last layer is a harmonic-plus-noise
            synthesizer (`nn/harmonic_noise.py`). With 0, the published value, the last layer
            returns samples, and training has to find out how phases continue from frame to frame.
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
            raise ValueError(
                f"a frame of {self.frame_samples} samples must be as long as the encoder's {stride}"
            )

    @classmethod
    def small(cls) -> "FocalConfig":
        """A small model for live use on one CPU core and for training without a GPU.

        It is not in the paper. Attention reaches back 2.6 s instead of 10 s, so a training crop of
        a few seconds covers it.
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
