"""Convolutions of discriminators and the distance of their features.

See `period_conv.cpp`, `thin_conv.cpp` and `feature_distance.cpp`.
"""

from torch import Tensor, nn

from chirrup.lab.fast.extension import extension

LANES = 16
"""`thin_conv` has a multiple of so many outputs."""


def period_conv(x: Tensor, conv: nn.Conv2d, slope: float) -> Tensor:
    """Convolution along time alone, with "same" padding, then a leaky rectifier.

    Args:
        x: ``[rows, time, channels]``, float32 or bfloat16; the result has the same type.
        conv: of kernel size ``[odd, 1]``.
        slope: of the rectifier below 0; 1 for none.

    Returns:
        ``[rows, steps, outputs]``, one step for each begun stride.
    """
    rows = conv.weight[..., 0].transpose(1, 2).flatten(1)
    return extension().period_conv(x, rows, conv.bias, conv.stride[0], slope)


def takes_thin_conv(conv: nn.Conv2d) -> bool:
    """Whether `thin_conv` computes this convolution: few planes, no stride, "same" padding."""
    return (
        conv.in_channels <= 4
        and conv.out_channels % LANES == 0
        and conv.stride == conv.dilation == (1, 1)
        and conv.padding == tuple(size // 2 for size in conv.kernel_size)
        and all(size % 2 for size in conv.kernel_size)
    )


def thin_conv(x: Tensor, conv: nn.Conv2d, slope: float, bf16: bool) -> Tensor:
    """Two-dimensional convolution of few planes, then a leaky rectifier.

    Args:
        x: ``[batch, planes, height, width]``, float32.
        conv: as `takes_thin_conv` has it.
        bf16: whether the result is bfloat16; the sums are float32.

    Returns:
        ``[batch, outputs, height, width]``, channels last in memory.
    """
    y = extension().thin_conv(x, conv.weight, conv.bias, slope, bf16)
    return y.permute(0, 3, 1, 2)


def feature_distance(real: Tensor, fake: Tensor, normalise: bool) -> Tensor:
    """Mean absolute difference, over the mean absolute value of ``real`` if ``normalise`` is set.

    Both tensors have one type and lie alike in memory. No gradient reaches ``real``.
    """
    return extension().feature_distance(real, fake, normalise)
