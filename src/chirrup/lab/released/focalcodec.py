"""Import of FocalCodec-Stream checkpoints, released as `config.json` and `model.safetensors`.

Source: github.com/lucadellalib/focalcodec.
"""

import json
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from chirrup.lab.models.focalcodec import FocalCodec, FocalConfig
from chirrup.lab.weights import build_on_meta, check_numbers, load_weights, read_tensors
from chirrup.parsing import parsing

CONFIG, WEIGHTS = "config.json", "model.safetensors"

PARTS = {
    "encoder_name": "WavLM",
    "compressor_name": "FocalEncoder",
    "decompressor_name": "FocalDecoder",
    "decoder_name": "WaveNeXt",
}

_FOCAL = {
    r"modulation_norm\.alpha": r"0.block.0.alpha",
    r"modulation\.(in|out)_proj\.(\w+)": r"0.block.1.project_\1.linear.\2",
    r"modulation\.context_proj\.(\w+)": r"0.block.1.project_context.linear.\1",
    r"modulation\.layers\.(\d+)\.0\.(\w+)": r"0.block.1.level_\1.conv.\2",
    r"feed_forward_norm\.alpha": r"1.block.0.alpha",
    r"feed_forward\.in_proj\.(\w+)": r"1.block.1.linear.\1",
    r"feed_forward\.out_proj\.(\w+)": r"1.block.3.linear.\1",
}


def is_released(folder: Path) -> bool:
    """Return whether a folder contains a released checkpoint."""
    return (folder / WEIGHTS).is_file() and "encoder_name" in _json(folder / CONFIG)


def from_pretrained(folder: Path) -> FocalCodec:
    """Return a model with the weights of a released checkpoint.

    Raises:
        ValueError: the folder has no checkpoint, the codec does not stream, or the tensors do not
            fit ``config.json``.
    """
    about = _json(folder / CONFIG)
    if not is_released(folder):
        raise ValueError(f"{folder} contains no checkpoint of FocalCodec-Stream: see its {CONFIG}")
    try:
        check_numbers(about)
        config = config_of(about)
        found = read_tensors(folder / WEIGHTS)
        layers = config.layers + config.focal_blocks + config.waveform_blocks
        if layers > len(found):
            raise ValueError(f"it has {len(found)} tensors for {layers} layers")
        tensors = renamed(found, config)
        build_on_meta(lambda: FocalCodec(config), tensors)
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{folder / WEIGHTS} does not fit its {CONFIG}: {error}") from error
    model = FocalCodec(config).eval().requires_grad_(False)
    load_weights(model, tensors, assign=True)
    return model.requires_grad_(False)


def name_of(config: FocalConfig) -> str:
    """Return ``focal-2k``, ``focal-4k`` or ``focal-65k``, named after the number of codes."""
    size = config.codebook_size
    return f"focal-{size // 1000}k" if size >= 1000 else f"focal-{size}"


def config_of(about: dict[str, Any]) -> FocalConfig:
    """Return the configuration of a released ``config.json``.

    Missing fields have the defaults of `FocalConfig`.

    Raises:
        ValueError: the architecture is not supported, such as a codec that does not stream.
    """
    for key, name in PARTS.items():
        if about.get(key) != name:
            raise ValueError(f"{key} is {about.get(key)!r}: only {name!r} is supported")
    encoder, compressor, quantizer, decompressor, decoder = (
        about.get(f"{part}_config") or {}
        for part in ("encoder", "compressor", "quantizer", "decompressor", "decoder")
    )
    for part in (encoder, compressor, decompressor, decoder):
        if not part.get("causal", False):
            raise ValueError("this codec is not causal, so it does not stream")
    paper = FocalConfig()
    size = quantizer.get("codebook_size", paper.codebook_size)
    bits = (size - 1).bit_length()
    front = single_value(encoder.get("hidden_dims", [paper.front_dim]), "encoder's hidden_dims")
    focal = compressor.get("hidden_dims", [paper.focal_dim] * paper.focal_blocks)
    if decompressor.get("hidden_dims", focal) != focal:
        raise ValueError("compressor and decompressor have different hidden_dims")
    windows = [
        part.get(name, paper.focal_kernels[-1])
        for part in (compressor, decompressor)
        for name in ("window_size", "last_window_size")
        if name == "window_size" or name in part
    ]
    return FocalConfig(
        bits=bits,
        front_dim=front,
        dim=encoder.get("dim", paper.dim),
        layers=encoder.get("num_layers", paper.layers),
        heads=encoder.get("num_heads", paper.heads),
        hidden_dim=encoder.get("ffn_dim", paper.hidden_dim),
        position_kernel=encoder.get("conv_pos", paper.position_kernel),
        position_groups=encoder.get("conv_pos_groups", paper.position_groups),
        bias_buckets=encoder.get("num_buckets", paper.bias_buckets),
        bias_max_distance=encoder.get("max_distance", paper.bias_max_distance),
        focal_dim=single_value(focal, "hidden_dims"),
        focal_blocks=len(focal),
        focal_kernels=(*paper.focal_kernels[:-1], single_value(windows, "window sizes")),
        waveform_dim=decoder.get("dim", paper.waveform_dim),
        waveform_hidden_dim=decoder.get("ffn_dim", paper.waveform_hidden_dim),
        waveform_blocks=decoder.get("num_layers", paper.waveform_blocks),
    )


def single_value(values: list[int], what: str) -> int:
    if len(set(values)) != 1:
        raise ValueError(f"the {what} are {values}: only equal ones are supported")
    return values[0]


def renamed(released: dict[str, Tensor], config: FocalConfig) -> dict[str, Tensor]:
    """Return the tensors of a released checkpoint under this package's names."""
    rules = names(config)
    tensors = {}
    for source, tensor in released.items():
        name = source
        for pattern, target in rules.items():
            match = re.fullmatch(pattern, source)
            if match:
                name = match.expand(target)
                break
        if name.endswith("linear.weight") and tensor.dim() == 3:  # a 1x1 convolution
            transposed = source.endswith("upscale.upscale.weight")  # its first axis is the input
            tensor = tensor[:, :, 0].T.contiguous() if transposed else tensor[:, :, 0]
        elif source.endswith("gru_rel_pos_const"):
            tensor = tensor[0]
        elif source.endswith("gamma"):
            tensor = tensor[:, None]
        tensors[name] = tensor
    return tensors


def names(config: FocalConfig) -> dict[str, str]:
    """Return patterns of released names, and the names of this package.

    The layers of a `Sequential` are numbered.
    """
    front, focal, blocks = len(config.front_kernels), config.focal_blocks, config.waveform_blocks
    features, compressor = "encoder.0", "encoder.1"
    decompressor, waveform = "decoder.0", "decoder.1"
    transformer = f"{features}.{3 * front + 3}"
    rules: dict[str, str] = {}

    def rule(pattern: str, target: str) -> None:
        rules[pattern] = target

    def norm(pattern: str, target: str) -> None:
        rule(rf"{pattern}\.weight", f"{target}.gain")
        rule(rf"{pattern}\.bias", f"{target}.bias")

    def linear(pattern: str, target: str) -> None:
        rule(rf"{pattern}\.(weight|bias)", rf"{target}.linear.\1")

    for index in range(front):
        source = rf"encoder\.feature_extractor\.layers\.{index}"
        rule(rf"{source}\.conv\.weight", f"{features}.{3 * index}.conv.weight")
        norm(rf"{source}\.norm", f"{features}.{3 * index + 1}")
    norm(r"encoder\.norm", f"{features}.{3 * front}")
    linear(r"encoder\.feature_proj", f"{features}.{3 * front + 1}")
    source = r"encoder\.encoder"
    position = rf"{features}.{3 * front + 2}.block.0.conv.\1"
    rule(rf"{source}\.positional_embedding\.conv\.(\w+)", position)
    rule(rf"{source}\.relative_embedding\.weight", f"{transformer}.bias.table.weight")
    for index in range(config.layers):
        source, target = rf"encoder\.encoder\.layers\.{index}", f"{transformer}.layers.{index}"
        norm(rf"{source}\.attention_norm", f"{target}.norm")
        attention = rf"{source}\.attention"
        rule(rf"{attention}\.gru_rel_pos_const", f"{target}.attention.scale")
        rule(rf"{attention}\.gru_rel_pos_linear\.(\w+)", rf"{target}.attention.gates.\1")
        rule(rf"{attention}\.qkv_proj\.(\w+)", rf"{target}.attention.project_in.\1")
        rule(rf"{attention}\.out_proj\.(\w+)", rf"{target}.attention.project_out.\1")
        norm(rf"{source}\.feed_forward_norm", f"{target}.feed_forward.block.0")
        linear(rf"{source}\.feed_forward\.in_proj", f"{target}.feed_forward.block.1")
        linear(rf"{source}\.feed_forward\.out_proj", f"{target}.feed_forward.block.3")
    for index in range(focal):
        down, up = rf"compressor\.layers\.{index}", rf"decompressor\.layers\.{index}"
        linear(rf"{down}\.downscale\.downscale", f"{compressor}.{3 * index}")
        rule(rf"{down}\.downscale\.activation\.alpha", f"{compressor}.{3 * index + 1}.alpha")
        rule(rf"{up}\.upscale\.activation\.alpha", f"{decompressor}.{3 * index + 2}.alpha")
        linear(rf"{up}\.upscale\.upscale", f"{decompressor}.{3 * index + 3}")
        for pattern, target in _FOCAL.items():
            rule(rf"{down}\.focal_block\.{pattern}", f"{compressor}.{3 * index + 2}.{target}")
            rule(rf"{up}\.focal_block\.{pattern}", f"{decompressor}.{3 * index + 1}.{target}")
    linear(r"compressor\.out_proj", f"{compressor}.{3 * focal}")
    linear(r"decompressor\.in_proj", f"{decompressor}.0")
    refiner = f"{decompressor}.{3 * focal + 1}"
    rule(r"decompressor\.refiner\.in_proj\.(\w+)", rf"{refiner}.expand.\1")
    rule(r"decompressor\.refiner\.out_proj\.(\w+)", rf"{refiner}.contract.\1")
    rule(r"decoder\.backbone\.embedding\.(\w+)", rf"{waveform}.0.conv.\1")
    norm(r"decoder\.backbone\.input_norm", f"{waveform}.1")
    for index in range(blocks):
        source, target = rf"decoder\.backbone\.layers\.{index}", f"{waveform}.{index + 2}.block"
        rule(rf"{source}\.dwconv\.(\w+)", rf"{target}.0.conv.\1")
        norm(rf"{source}\.norm", f"{target}.1")
        linear(rf"{source}\.pwconv1", f"{target}.2")
        linear(rf"{source}\.pwconv2", f"{target}.4")
        rule(rf"{source}\.gamma", f"{target}.5.gain")
    norm(r"decoder\.backbone\.output_norm", f"{waveform}.{blocks + 2}")
    linear(r"decoder\.head\.proj", f"{waveform}.{blocks + 3}")
    return rules


def _json(path: Path) -> dict[str, Any]:
    try:
        with parsing():
            about = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}
