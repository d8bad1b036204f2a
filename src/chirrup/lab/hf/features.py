"""The feature extractor of codecs for transformers: padding of signals and masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.feature_extraction_utils import BatchFeature, FeatureExtractionMixin


class ChirrupFeatureExtractor(FeatureExtractionMixin):
    """Pads signals to a batch.

    It has the names and results of ``EncodecFeatureExtractor``, whose module cannot be imported if
    torchaudio does not fit torch.

    Args:
        feature_size: number of channels of a signal.
        sampling_rate: sample rate of the signals, in Hz.
    """

    model_input_names = ("input_values", "padding_mask")

    def __init__(self, feature_size: int = 1, sampling_rate: int = 24_000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.feature_size, self.sampling_rate = feature_size, sampling_rate

    def __call__(
        self,
        raw_audio: np.ndarray | Sequence[Any],
        sampling_rate: int | None = None,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """Pad signals at the end to the longest.

        Args:
            raw_audio: a signal or a list of signals, ``[samples]`` or ``[channels, samples]``.
            sampling_rate: sample rate of the signals, in Hz, as a check.
            return_tensors: "pt" or "np".

        Returns:
            ``input_values``, ``float32 [batch, channels, samples]``, and ``padding_mask``,
            ``int [batch, samples]``, 0 in the padding.

        Raises:
            ValueError: the sample rate or the number of channels is not the model's.
        """
        if sampling_rate not in (None, self.sampling_rate):
            raise ValueError(
                f"the sampling rate is {sampling_rate} Hz, but the model takes "
                f"{self.sampling_rate} Hz: resample the audio"
            )
        several = isinstance(raw_audio, (list, tuple)) and np.ndim(raw_audio[0]) > 0
        batch = raw_audio if several else [raw_audio]
        rows = [np.atleast_2d(np.asarray(signal, np.float32)) for signal in batch]
        for row in rows:
            if row.ndim != 2 or len(row) != self.feature_size:
                raise ValueError(
                    f"a signal has the shape {list(row.shape)}, must be "
                    f"[{self.feature_size}, samples]"
                )
        mask = padded([np.ones((1, row.shape[1]), np.int64) for row in rows], 0)[:, 0]
        values = {"input_values": padded(rows, 0.0), "padding_mask": mask}
        return BatchFeature(values, tensor_type=return_tensors)


def lengths_of(mask: Tensor) -> Tensor:
    """Return the length of each row of a mask, ``int64 [batch]``.

    Raises:
        ValueError: a row has padding before its end.
    """
    rows = mask.detach().cpu().bool()
    rows = rows[:, 0] if rows.dim() == 3 else rows
    lengths = rows.sum(dim=1)
    if not torch.equal(rows, torch.arange(rows.shape[1]) < lengths[:, None]):
        raise ValueError("the mask has padding before the end of a signal: pad at the end")
    return lengths


def padded(rows: list[np.ndarray], value: float) -> np.ndarray:
    """Return arrays ``[any, time]`` as one array, padded at the end to the longest."""
    longest = max((row.shape[1] for row in rows), default=0)
    padding = (((0, 0), (0, longest - row.shape[1])) for row in rows)
    return np.stack([np.pad(row, pad, constant_values=value) for row, pad in zip(rows, padding)])
