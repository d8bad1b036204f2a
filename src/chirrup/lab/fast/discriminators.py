"""Convolutions of discriminators and the distance of their features.

See `period_conv.cpp`, `thin_conv.cpp` and `feature_distance.cpp`.
"""

from torch import Tensor, nn

from chirrup.lab.fast.extension import extension

LANES = 16
"""The number of outputs of `thin_conv` is a multiple of this."""


def period_conv(x: Tensor, conv: nn.Conv2d, slope: float) -> Tensor:
    """Convolve along time with "same" padding, then apply a leaky ReLU.

    Args:
        x: ``[rows, time, channels]``, float32 or bfloat16; the result has its type.
        conv: a convolution of kernel size ``[odd, 1]``.
        slope: negative slope of the leaky ReLU; 1 for no activation.

    Returns:
        ``[rows, steps, outputs]``, where steps is time / stride, rounded up.
    """
    rows = conv.weight[..., 0].transpose(1, 2).flatten(1)
    return extension().period_conv(x, rows, conv.bias, conv.stride[0], slope)


def takes_thin_conv(conv: nn.Conv2d) -> bool:
    """Return whether `thin_conv` supports a convolution: few planes, no stride, "same" padding."""
    return (
        conv.in_channels <= 4
        and conv.out_channels % LANES == 0
        and conv.stride == conv.dilation == (1, 1)
        and conv.padding == tuple(size // 2 for size in conv.kernel_size)
        and all(size % 2 for size in conv.kernel_size)
    )


def thin_conv(x: Tensor, conv: nn.Conv2d, slope: float, bf16: bool) -> Tensor:
    """Convolve few planes in two dimensions, then apply a leaky ReLU.

    Args:
        x: ``[batch, planes, height, width]``, float32.
        conv: a convolution for which `takes_thin_conv` is true.
        slope: negative slope of the leaky ReLU; 1 for no activation.
        bf16: whether the result is bfloat16; the sums are float32.

    Returns:
        ``[batch, outputs, height, width]`` in the channels-last memory format.
    """
    y = extension().thin_conv(x, conv.weight, conv.bias, slope, bf16)
    return y.permute(0, 3, 1, 2)


def feature_distance(real: Tensor, fake: Tensor, normalise: bool) -> Tensor:
    """Return the mean absolute difference, optionally divided by the mean absolute ``real``.

    Both tensors have equal types and memory layouts. No gradient reaches ``real``.
    """
    return extension().feature_distance(real, fake, normalise)
