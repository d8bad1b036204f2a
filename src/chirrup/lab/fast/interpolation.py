"""Windowed-sinc interpolation of recordings; see `interpolate.cpp`."""

from torch import Tensor

from chirrup.lab.fast.extension import extension


def interpolate(
    audio: Tensor, position: Tensor, cutoff: Tensor, start: Tensor, stop: Tensor
) -> Tensor:
    """Interpolate ``audio`` at fractional positions on the CPU.

    The plain form is `interpolate` in ``lab/training/batches``.

    Args:
        audio: all recordings, ``int16 [channels, samples]``.
        position: positions to read, ``float64 [batch, samples]``.
        cutoff: share of the band that passes, at most 1, ``[batch, 1]``.
        start: first sample of each row's recording, ``int64 [batch]``.
        stop: end of each row's recording, exclusive, ``int64 [batch]``.

    Returns:
        ``float32 [batch, channels, samples]``.
    """
    tables = (tensor.contiguous() for tensor in (audio, position, cutoff.float(), start, stop))
    return extension().interpolate(*tables)  # type: ignore[no-any-return]
