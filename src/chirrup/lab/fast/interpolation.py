"""Windowed-sinc interpolation of recordings; see `interpolate.cpp`."""

from torch import Tensor

from chirrup.lab.fast.extension import extension


def interpolate(audio: Tensor, position: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """Read ``audio`` at fractional positions, as `data.interpolate`, on the CPU.

    Args:
        audio: ``int16 [channels, samples]``.
        position: ``float64 [batch, samples]``.
        start: first sample of the recording that a row reads, ``int64 [batch]``.
        stop: the sample after its last one.

    Returns:
        ``float32 [batch, channels, samples]``.
    """
    tables = (tensor.contiguous() for tensor in (audio, position, start, stop))
    return extension().interpolate(*tables)  # type: ignore[no-any-return]
