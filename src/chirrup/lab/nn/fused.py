"""The residual unit of the IRIS encoder as one operation on the CPU, see `residual_unit.cpp`.

The pure layers say what it computes; this says it faster, for training. The C++ part is compiled
at the first use, for the processor at hand, and kept in ``~/.cache/chirrup``.
"""

import hashlib
import importlib.util
import logging
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from chirrup.lab.nn.activations import SnakeBeta
from chirrup.lab.nn.conv import Conv1d

_NAME = "chirrup_residual_unit"
_FLAGS = "-O3 -march=native -mprefer-vector-width=512 -fno-math-errno -fno-trapping-math -fopenmp"


@cache
def _extension() -> Any:
    """The compiled functions, or None where they cannot be compiled."""
    try:
        return _load(Path(__file__).with_name("residual_unit.cpp"), _cache_folder())
    except Exception as error:  # no compiler, no ninja, no writable cache: all the same to us
        reason = str(error).partition("\n")[0]
        logging.getLogger(__name__).warning("no fused residual unit, the pure one runs: %s", reason)
        return None


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chirrup"


def _load(source: Path, kept: Path) -> Any:
    """The functions of ``source``, from a library in ``kept`` or compiled into it.

    Every process compiles in a folder of its own, and a whole library takes its place in one step:
    `cpp_extension.load` by itself would wait for ever for the lock of a process that was killed.
    """
    about = source.read_bytes() + f"{_FLAGS} {torch.__version__}".encode()
    library = kept / hashlib.sha256(about).hexdigest()[:16] / f"{_NAME}.so"
    if not library.exists():
        from torch.utils.cpp_extension import load

        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept, ignore_cleanup_errors=True) as folder:
            load(
                _NAME,
                [str(source)],
                extra_cflags=_FLAGS.split(),
                build_directory=folder,
                is_python_module=False,
            )
            os.replace(Path(folder) / library.name, library)
    spec = importlib.util.spec_from_file_location(_NAME, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def available() -> bool:
    """Whether the fused operation can be used here. Compiles it at the first call (a minute)."""
    return _extension() is not None


class _ResidualUnit(torch.autograd.Function):
    """Saves its inputs only: the backward computes everything between them and the output again."""

    @staticmethod
    def forward(ctx: Any, dilation: int, groups: int, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        tensors = tuple(tensor.contiguous() for tensor in tensors)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors[:-1])
        ctx.dilation, ctx.groups = dilation, groups
        y, after = _extension().forward(*tensors, dilation, groups)
        return y, after

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor | None, d_after: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        x, past, *parameters = ctx.saved_tensors
        dy = torch.zeros_like(x) if dy is None else dy.contiguous()
        d_after = None if d_after is None else d_after.contiguous()
        gradients = _extension().backward(
            dy, d_after, ctx.needs_input_grad[3], x, past, *parameters, ctx.dilation, ctx.groups
        )
        return (None, None, *gradients)


def residual_unit(
    x: Tensor, past: Tensor, snake_1: SnakeBeta, conv_1: Conv1d, snake_2: SnakeBeta, conv_2: Conv1d
) -> tuple[Tensor, Tensor]:
    """``x + conv_2(snake_2(conv_1([past, snake_1(x)])))`` and the new past, float32 on the CPU.

    ``conv_1`` has kernel size 5 or 7, any dilation and any number of output channels; ``conv_2``
    has kernel size 1; both have biases and the same groups. First gradients exist, with respect to
    the state too; second ones do not.

    Args:
        x: ``[batch, channels, time]``.
        past: the state of ``conv_1``, its last inputs, ``[batch, channels, context]``.

    Returns:
        Tensors of the same shapes.
    """
    inner, outer = conv_1.conv, conv_2.conv
    kernels = (inner.kernel_size, outer.kernel_size)
    if kernels not in (((5,), (1,)), ((7,), (1,))) or inner.groups != outer.groups:
        raise ValueError("the fused unit has kernel sizes 5 or 7 and 1, and groups in common")
    return _ResidualUnit.apply(  # type: ignore[no-any-return]
        inner.dilation[0],
        inner.groups,
        x,
        past,
        snake_1.log_alpha.exp().flatten(),
        (-snake_1.log_beta).exp().flatten(),
        inner.weight,
        inner.bias,
        snake_2.log_alpha.exp().flatten(),
        (-snake_2.log_beta).exp().flatten(),
        outer.weight,
        outer.bias,
    )
