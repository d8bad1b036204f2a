"""Import of the published weights of SpectroStream, which Magenta RealTime 2 ships.

Source: github.com/magenta/magenta-realtime, ``resources/spectrostream``. The folder contains
``encoder.safetensors``, ``decoder.safetensors`` and ``quantizer.safetensors``; the decoder's file
may contain the codebooks too. Keys begin with ``params/`` or ``params/soundstream/``. ``TxF`` is
the kernel's size along time and frequency:

| key | layer |
|---|---|
| ``encoder/base_conv_first`` | first, 7 x 7 |
| ``encoder/encoder_N/conv2d_3x3`` | level N, before the strided layer |
| ``encoder/encoder_N/conv2d_TxF_a`` | level N, strided |
| ``encoder/encoder_N/shortcut_layer/conv1x1`` | level N, its skip, where the width changes |
| ``encoder/bottleneck/conv2d_3x3``, ``…/conv2d_3x3_a`` | bottleneck, first and second |
| ``encoder/output_convs/shortcut_layer/conv1x1_b1``, ``…_b2`` | to the latent, first and second |
| ``encoder/output_convs/conv1x1_last`` | to the latent, parallel to these two |
| ``decoder/input_layer/shortcut_layer/conv1x1_b1``, ``…_b2`` | from the latent, first and second |
| ``decoder/input_layer/conv1x1_first`` | from the latent, parallel to these two |
| ``decoder/input_layers_residual_unit/conv2d_3x3_a``, ``…/conv2d_3x3`` | bottleneck, both |
| ``decoder/decoder_N/conv2dtranspose_TxF`` | level N, transposed |
| ``decoder/decoder_N/conv2d_3x3`` | level N, after the transposed layer |
| ``decoder/decoder_N/shortcut_layer/conv1x1`` | level N, its skip, where the width changes |
| ``decoder/output_layer/base_conv_last`` | last, 7 x 7 |
| ``quantizer/embedding`` | all codebooks ``[levels, entries, dim]`` |

Each layer has ``/conv/kernel``, ``[time, bins, in, out]``, and ``/conv/bias``, ``[out]``. The
kernels of transposed layers are reversed along time and bins.

The table comes from public programs that read these files. Files with these keys and shapes have
exactly the published sizes (`tests/lab/released/test_spectrostream.py`). The audio and the codes
are not verified, because the weights were not available.

The released encoder's first spectrum starts at the first sample; the streaming encoder here starts
one hop, 480 samples, earlier. So, except for the first frames, its codes of the audio from sample
480 on equal the released encoder's codes of the whole audio.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chirrup.lab.models.spectrostream import SpectroStream
from chirrup.lab.nn import ConvTranspose2d, Residual, set_weight
from chirrup.lab.weights import read_tensors

FILES = ("encoder.safetensors", "decoder.safetensors", "quantizer.safetensors")
CODEBOOKS = "quantizer/embedding"
SKIP = "shortcut_layer/conv1x1"


def is_released(folder: Path) -> bool:
    """Return whether a folder contains published weights of SpectroStream."""
    return all((folder / name).is_file() for name in FILES)


@torch.no_grad()
def load_weights(model: SpectroStream, folder: Path) -> None:
    """Load the published weights into ``model``.

    If they do not fit, the model is left partly loaded.

    Raises:
        ValueError: a tensor is missing, has another shape, or is unknown.
    """
    tensors = read(folder)
    misfits = []

    def taken(key: str, shape: list[int]) -> Tensor | None:
        found = tensors.pop(key, None)
        if found is None or list(found.shape) != shape:
            has = "it is missing" if found is None else f"it is {list(found.shape)}"
            misfits.append(f"{key} should be {shape}, {has}")
            return None
        return found.float()

    for key, module in layers(model).items():
        conv: Any = module.get_submodule("conv")
        transposed = isinstance(module, ConvTranspose2d)
        order = (2, 3, 0, 1) if transposed else (3, 2, 0, 1)
        bias: Any = module.bias if transposed else conv.bias
        channels = (conv.in_channels, conv.out_channels)
        size = conv.kernel_size if conv.weight.dim() == 4 else (1, 1)
        kernel = taken(f"{key}/conv/kernel", [*size, *channels])
        offset = taken(f"{key}/conv/bias", [bias.numel()])
        if kernel is not None and offset is not None:
            weight = (kernel.flip(0, 1) if transposed else kernel).permute(order)
            set_weight(conv, weight.reshape(conv.weight.shape))
            bias.copy_(offset.reshape(bias.shape))
    levels = [model.quantizer.trained_levels[index] for index in range(model.codebooks)]
    entries = taken(CODEBOOKS, [len(levels), *levels[0].codebook.shape])
    for index, level in enumerate(levels):
        if entries is not None:
            level.set_entries(torch.arange(len(entries[index])), entries[index])
    misfits += [f"{key} {list(tensor.shape)} is unknown" for key, tensor in tensors.items()]
    if misfits:
        raise ValueError(f"the weights in {folder} do not fit this model: {'; '.join(misfits)}")


def read(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of all files, by the keys of the table above."""
    tensors: dict[str, Tensor] = {}
    for name in FILES:
        found = read_tensors(folder / name)
        tensors |= {re.sub(r"^params/(soundstream/)?", "", key): found[key] for key in found}
    return tensors


def layers(model: SpectroStream) -> dict[str, nn.Module]:
    """Return the layers with weights, by their released keys without ``/conv/…``."""
    named = {
        "encoder/base_conv_first": convolutions(model.encoder)[0],
        "decoder/output_layer/base_conv_last": convolutions(model.decoder)[-1],
    }

    def add(name: str, parts: Sequence[str], unit: Residual) -> None:
        """Add the two layers of a unit, and the layer of its skip connection if there is one."""
        named.update(zip([f"{name}/{part}" for part in parts], convolutions(unit), strict=False))

    *levels, bottleneck, last = units(model.encoder)
    for index, unit in enumerate(levels):
        strided = f"conv2d_{kernel_size(unit, 1)}_a"
        add(f"encoder/encoder_{index}", ("conv2d_3x3", strided, SKIP), unit)
    add("encoder/bottleneck", ("conv2d_3x3", "conv2d_3x3_a"), bottleneck)
    add("encoder/output_convs", (f"{SKIP}_b1", f"{SKIP}_b2", "conv1x1_last"), last)
    first, bottleneck, *levels = units(model.decoder)
    add("decoder/input_layer", (f"{SKIP}_b1", f"{SKIP}_b2", "conv1x1_first"), first)
    add("decoder/input_layers_residual_unit", ("conv2d_3x3_a", "conv2d_3x3"), bottleneck)
    for index, unit in enumerate(levels):
        transposed = f"conv2dtranspose_{kernel_size(unit, 0)}"
        add(f"decoder/decoder_{index}", (transposed, "conv2d_3x3", SKIP), unit)
    return named


def units(part: nn.Module) -> list[Residual]:
    return [module for module in part.modules() if isinstance(module, Residual)]


def convolutions(part: nn.Module) -> list[nn.Module]:
    return [module for module in part.modules() if hasattr(module, "conv")]


def kernel_size(unit: Residual, index: int) -> str:
    conv: Any = convolutions(unit)[index].get_submodule("conv")
    return "x".join(map(str, conv.kernel_size))
