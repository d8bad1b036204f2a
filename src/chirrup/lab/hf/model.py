"""Codecs as models of transformers, with their configuration and outputs."""

import re
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from transformers import PretrainedConfig
from transformers.modeling_utils import PreTrainedAudioTokenizerBase
from transformers.utils import ModelOutput

import chirrup
from chirrup.codes import ABSENT
from chirrup.lab.hf.features import (
    ChirrupFeatureExtractor,
    array_of,
    lengths_of,
    padded,
)

Array = Tensor | np.ndarray
"""A batch, which may also be an array of NumPy."""
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


@dataclass
class ChirrupEncoderOutput(ModelOutput):
    """Codes of a batch.

    Attributes:
        audio_codes: ``int64 [batch, codebooks, frames]``; -1 in the padding.
        audio_codes_mask: ``bool [batch, frames]``, False in the padding.
    """

    audio_codes: Tensor | None = None
    audio_codes_mask: Tensor | None = None


@dataclass
class ChirrupDecoderOutput(ModelOutput):
    """Audio of a batch.

    Attributes:
        audio_values: ``float32 [batch, channels, samples]``; zeros in the padding.
    """

    audio_values: Tensor | None = None


@dataclass
class ChirrupOutput(ModelOutput):
    """Codes and audio of a batch, as in `ChirrupEncoderOutput` and `ChirrupDecoderOutput`."""

    audio_codes: Tensor | None = None
    audio_codes_mask: Tensor | None = None
    audio_values: Tensor | None = None


class ChirrupConfig(PretrainedConfig):
    """Figures of a codec. ``name_or_path`` is the codec's name, folder or address.

    Attributes:
        sampling_rate: sample rate of the input, in Hz.
        output_sampling_rate: sample rate of the decoded audio, in Hz.
        audio_channels: number of channels of the input and of the decoded audio.
        num_quantizers: number of codebooks.
        codebook_size: number of values of a code.
        frame_size: samples of the input in a frame.
        frame_rate: frames per second.
        target_bandwidths: bitrates in kbit/s.
    """

    model_type = "chirrup"

    def __init__(
        self,
        sampling_rate: int = 24_000,
        output_sampling_rate: int = 24_000,
        audio_channels: int = 1,
        num_quantizers: int = 1,
        codebook_size: int = 1024,
        frame_size: int = 480,
        frame_rate: float = 50.0,
        target_bandwidths: tuple[float, ...] = (),
        **kwargs: Any,
    ) -> None:
        self.sampling_rate, self.output_sampling_rate = sampling_rate, output_sampling_rate
        self.audio_channels, self.num_quantizers = audio_channels, num_quantizers
        self.codebook_size, self.frame_size = codebook_size, frame_size
        self.frame_rate, self.target_bandwidths = frame_rate, list(target_bandwidths)
        super().__init__(**kwargs)

    @classmethod
    def of(cls, codec: chirrup.Codec) -> Self:
        """Return the configuration of a codec."""
        return cls(
            sampling_rate=codec.input_rate_hz,
            output_sampling_rate=codec.sample_rate_hz,
            audio_channels=codec.channels,
            num_quantizers=codec.codebooks,
            codebook_size=codec.codebook_size,
            frame_size=codec.input_frame_samples,
            frame_rate=codec.frame_rate_hz,
            target_bandwidths=tuple(rate / 1000 for rate in codec.bitrates_bps),
            name_or_path=str(codec.folder),
        )


class ChirrupModel(PreTrainedAudioTokenizerBase):
    """A codec as an audio tokenizer of transformers.

    Args:
        config: a configuration that `ChirrupConfig.of` returned.
        codec: the codec; by default the one in ``config.name_or_path``.
    """

    config_class = ChirrupConfig
    base_model_prefix = "codec"
    main_input_name = "input_values"

    def __init__(self, config: ChirrupConfig, codec: chirrup.Codec | None = None) -> None:
        super().__init__(config)
        self.codec = codec or chirrup.load(str(config.name_or_path))
        # The base class looks up its device and its type in a weight, and this model has none.
        self.register_buffer("place", torch.zeros(()), persistent=False)
        self.post_init()

    @property
    def device(self) -> torch.device:
        return self.get_buffer("place").device

    @property
    def dtype(self) -> torch.dtype:
        return self.get_buffer("place").dtype

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, name: str | Path, *_: Any, revision: str | None = None, **__: Any
    ) -> Self:
        """Load a codec.

        Args:
            name: a name, folder or address as in `chirrup.load`, or a repository ``owner/name`` of
                the hub, as transformers takes it.
            revision: branch, tag or commit of the repository.

        Other arguments of transformers have no effect.
        """
        model = str(name)
        if REPOSITORY.fullmatch(model) and not Path(model).exists():
            model = f"hf://{model}" + (f"@{revision}" if revision else "")
        codec = chirrup.load(model)
        return cls(ChirrupConfig.of(codec), codec)

    def save_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, folder: str | Path, *_: Any, push_to_hub: bool = False, **__: Any
    ) -> None:
        """Write a model folder, with the files from which the classes ``Auto...`` load it.

        Other arguments of transformers have no effect.

        Raises:
            ValueError: ``push_to_hub`` is true.
        """
        if push_to_hub:
            raise ValueError(f"save_pretrained uploads nothing: run hf upload owner/name {folder}")
        self.codec.save_pretrained(folder)
        self.config.save_pretrained(folder)
        self.feature_extractor().save_pretrained(folder)

    def feature_extractor(self) -> ChirrupFeatureExtractor:
        """Return the feature extractor, which pads signals and makes ``padding_mask``."""
        channels, rate_hz = self.codec.channels, self.codec.input_rate_hz
        return ChirrupFeatureExtractor(feature_size=channels, sampling_rate=rate_hz)

    # --- coding ----------------------------------------------------------------------------------

    def encode(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        input_values: Array,
        padding_mask: Array | None = None,
        num_quantizers: int | None = None,
        bandwidth: float | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Encode a batch; each row gets the codes that it would get alone.

        Args:
            input_values: ``float [batch, channels, samples]`` at ``config.sampling_rate``.
            padding_mask: ``[batch, samples]`` or ``[batch, channels, samples]``, 0 in the padding,
                which is at the end.
            num_quantizers: number of codebooks. None is the number at the default bitrate.
            bandwidth: bitrate in kbit/s, one of ``config.target_bandwidths``, instead of
                ``num_quantizers``.
            return_dict: as in transformers; False gives a tuple.

        Returns:
            `ChirrupEncoderOutput`.

        Raises:
            ValueError: a shape is wrong, the batch is empty, the samples are not floating point or
                not finite, or the codec does not have the bitrate.
        """
        channels, input_values = self.codec.channels, torch.as_tensor(input_values)
        if input_values.dim() != 3 or input_values.shape[1] != channels:
            raise ValueError(
                f"input_values must be [batch, {channels}, samples] for {self.codec.name}, got "
                f"{list(input_values.shape)}"
                + (": put channels into the batch" if channels == 1 else "")
            )
        bitrate_bps = self._bitrate_bps(num_quantizers, bandwidth)
        if not len(input_values):
            raise ValueError("input_values have no signals")
        signals, lengths = array_of(input_values), None
        if padding_mask is not None:
            lengths = lengths_of(padding_mask, "padding_mask", len(signals), signals.shape[2])
        coded = self.codec.encode_batch(
            signals if channels > 1 else signals[:, 0],
            bitrate_bps,
            lengths=None if lengths is None else lengths.numpy(),
        )
        rows = [codes.data.reshape(codes.codebooks, codes.frames) for codes in coded]
        frames = torch.tensor([row.shape[1] for row in rows])
        codes = torch.from_numpy(padded(rows, ABSENT)).long()
        mask = torch.arange(codes.shape[2]) < frames[:, None]
        device = input_values.device
        return self._result(ChirrupEncoderOutput(codes.to(device), mask.to(device)), return_dict)

    def decode(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        audio_codes: Array,
        padding_mask: Array | None = None,
        audio_codes_mask: Array | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Decode a batch; each row gets the audio that it would get alone.

        Args:
            audio_codes: ``int [batch, codebooks, frames]``. Higher codebooks may be left out.
            padding_mask: mask of the encoded signals. It cuts the audio to their lengths.
            audio_codes_mask: ``[batch, frames]``, 0 in the padding, which is at the end. Without
                it, the padding is the last frames of -1.
            return_dict: as in transformers; False gives a tuple.

        Returns:
            `ChirrupDecoderOutput`.

        Raises:
            ValueError: a shape is wrong, or a code is out of range.
        """
        audio_codes = torch.as_tensor(audio_codes)
        if audio_codes.dim() != 3 or 0 in audio_codes.shape:
            raise ValueError(
                "audio_codes must be [batch, codebooks, frames], not empty; got "
                f"{list(audio_codes.shape)}"
            )
        codes = audio_codes.detach().cpu()
        batch, _, count = codes.shape
        if audio_codes_mask is None:
            last = torch.arange(1, count + 1) * (codes != ABSENT).any(dim=1)
            frames = last.amax(dim=1).clamp(min=1)
        else:
            frames = lengths_of(audio_codes_mask, "audio_codes_mask", batch, count)
        decoded = self.codec.decode_batch(codes.numpy(), lengths=frames.numpy())
        rows = [np.atleast_2d(row) for row in decoded]
        if padding_mask is not None:
            rates_hz = self.codec.sample_rate_hz, self.codec.input_rate_hz
            lengths = lengths_of(padding_mask, "padding_mask", batch, None)
            ends = [-(-int(n) * rates_hz[0] // rates_hz[1]) for n in lengths]
            rows = [row[:, :end] for row, end in zip(rows, ends, strict=True)]
        audio = torch.from_numpy(padded(rows, 0.0))
        return self._result(ChirrupDecoderOutput(audio.to(audio_codes.device)), return_dict)

    def forward(
        self,
        input_values: Array,
        padding_mask: Array | None = None,
        num_quantizers: int | None = None,
        bandwidth: float | None = None,
        audio_codes: Array | None = None,
        audio_codes_mask: Array | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Encode and decode a batch: `ChirrupOutput`. Given ``audio_codes`` are only decoded."""
        if audio_codes is None:
            asked = num_quantizers, bandwidth
            coded = self.encode(input_values, padding_mask, *asked, return_dict=True)
            codes, present = coded.audio_codes, coded.audio_codes_mask
        else:
            codes = torch.as_tensor(audio_codes)
            present = None if audio_codes_mask is None else torch.as_tensor(audio_codes_mask)
        mask = torch.ones(input_values.shape) if padding_mask is None else padding_mask
        decoded = self.decode(codes, mask, present, return_dict=True)
        output = ChirrupOutput(codes, present, decoded.audio_values)
        return self._result(output, return_dict)

    def _bitrate_bps(self, num_quantizers: int | None, bandwidth: float | None) -> float | None:
        if num_quantizers is None:
            if bandwidth is None:
                return None
            if not isinstance(bandwidth, Real) or not isfinite(bandwidth):
                raise ValueError(f"bandwidth is {bandwidth!r}, must be a number in kbit/s")
            return round(1000 * bandwidth)
        if bandwidth is not None:
            raise ValueError("num_quantizers and bandwidth are given: give one of them")
        if num_quantizers not in range(1, self.codec.codebooks + 1):
            raise ValueError(
                f"num_quantizers is {num_quantizers!r}, must be from 1 to {self.codec.codebooks}"
            )
        return self.codec.bitrates_bps[int(num_quantizers) - 1]

    def _result(self, output: Any, return_dict: bool | None) -> Any:
        wanted = self.config.return_dict if return_dict is None else return_dict
        return output if wanted else output.to_tuple()
