"""The feature extractor of codecs for transformers: padding of signals and masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.feature_extraction_utils import BatchFeature, FeatureExtractionMixin

from chirrup.codes import checked


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
        raw_audio: np.ndarray | Tensor | Sequence[Any],
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
            ValueError: the sample rate or the number of channels is not the model's, there is no
                signal, or a signal is empty, not floating point or not finite.
            TypeError: a signal is not an array.
        """
        if sampling_rate not in (None, self.sampling_rate):
            raise ValueError(
                f"the sampling rate is {sampling_rate} Hz, but the model takes "
                f"{self.sampling_rate} Hz: resample the audio"
            )
        is_list = isinstance(raw_audio, (list, tuple))
        several = is_list and all(np.ndim(array_of(signal)) > 0 for signal in raw_audio)
        rows = [checked(array_of(signal)) for signal in (raw_audio if several else [raw_audio])]
        if not rows:
            raise ValueError("the batch has no signals")
        for row in rows:
            if len(row) != self.feature_size:
                raise ValueError(
                    f"a signal has the shape {list(row.shape)}, must be "
                    f"[{self.feature_size}, samples]"
                )
        mask = padded([np.ones((1, row.shape[1]), np.int64) for row in rows], 0)[:, 0]
        values = {"input_values": padded(rows, 0.0), "padding_mask": mask}
        return BatchFeature(values, tensor_type=return_tensors)


def array_of(value: Tensor | Any) -> Any:
    """Return a tensor as an array, in float32 if NumPy does not have its type."""
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def lengths_of(mask: Tensor | np.ndarray, name: str, batch: int, time: int | None) -> Tensor:
    """Return the length of each row of a mask, ``int64 [batch]``.

    Args:
        mask: ``[batch, time]`` or ``[batch, channels, time]``.
        name: name of the mask in error messages.
        batch: number of rows that it must have.
        time: size of its last axis; None is any.

    Raises:
        ValueError: the mask has another shape, or a row has padding before its end.
    """
    rows = torch.as_tensor(mask).detach().cpu().bool()
    rows = rows[:, 0] if rows.dim() == 3 and rows.shape[1] else rows
    if rows.dim() != 2 or len(rows) != batch or time not in (None, rows.shape[1]):
        raise ValueError(
            f"{name} must be [{batch}, {'time' if time is None else time}], got {list(rows.shape)}"
        )
    lengths = rows.sum(dim=1)
    if not torch.equal(rows, torch.arange(rows.shape[1]) < lengths[:, None]):
        raise ValueError(f"{name} has padding before the end of a signal: pad at the end")
    return lengths


def padded(rows: list[np.ndarray], value: float) -> np.ndarray:
    """Return arrays ``[any, time]`` as one array, padded at the end to the longest."""
    longest = max((row.shape[1] for row in rows), default=0)
    padding = (((0, 0), (0, longest - row.shape[1])) for row in rows)
    return np.stack([np.pad(row, pad, constant_values=value) for row, pad in zip(rows, padding)])
