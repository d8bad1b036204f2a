"""Teachers with random weights, as files."""

import struct
from pathlib import Path

import torch
from torch import Tensor

from chirrup.lab.training.distillation.whisper import WhisperEncoder

KINDS = {torch.float32: 0, torch.int16: 2, torch.float16: 4}


def write_ctranslate2(path: Path, tensors: dict[str, Tensor], version: int = 6) -> None:
    """Write the format of CTranslate2: names, shapes and values, then aliases."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    content = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(tensors))
    for name, tensor in tensors.items():
        data = tensor.numpy().tobytes()
        content += text(name) + struct.pack(f"<B{tensor.dim()}I", tensor.dim(), *tensor.shape)
        content += struct.pack("<BI", KINDS[tensor.dtype], len(data)) + data
    path.write_bytes(content + struct.pack("<I", 0))


def whisper_tensors(dim: int = 40, depth: int = 3, frames: int = 1500) -> dict[str, Tensor]:
    """Return tensors of a Whisper encoder by CTranslate2's names, and one tensor of its decoder."""
    random = torch.Generator().manual_seed(0)

    def values(*shape: int) -> Tensor:
        return (torch.randn(shape, generator=random) * (shape[-1] ** -0.5)).half()

    tensors = {
        "decoder/embeddings/weight": values(10, dim),
        "encoder/num_heads": torch.tensor(4, dtype=torch.int16),
        "encoder/position_encodings/encodings": values(frames, dim),
        "encoder/conv1/weight": values(dim, 80, 3),
        "encoder/conv1/bias": values(dim),
        "encoder/conv2/weight": values(dim, dim, 3),
        "encoder/conv2/bias": values(dim),
        "encoder/layer_norm/gamma": 1 + values(dim),
        "encoder/layer_norm/beta": values(dim),
    }
    for index in range(depth):
        for part, outputs, inputs in (
            ("self_attention/linear_0", 3 * dim, dim),
            ("self_attention/linear_1", dim, dim),
            ("ffn/linear_0", 2 * dim, dim),
            ("ffn/linear_1", dim, 2 * dim),
        ):
            tensors[f"encoder/layer_{index}/{part}/weight"] = values(outputs, inputs)
            tensors[f"encoder/layer_{index}/{part}/bias"] = values(outputs)
        for part in ("self_attention", "ffn"):
            tensors[f"encoder/layer_{index}/{part}/layer_norm/gamma"] = 1 + values(dim)
            tensors[f"encoder/layer_{index}/{part}/layer_norm/beta"] = values(dim)
    return tensors


def write_whisper(folder: Path, **sizes: int) -> Path:
    """Write a Whisper to a folder, by default with three layers of 40 channels."""
    folder.mkdir(parents=True, exist_ok=True)
    write_ctranslate2(folder / "model.bin", whisper_tensors(**sizes))
    return folder


def tiny_whisper(folder: Path, **sizes: int) -> WhisperEncoder:
    return WhisperEncoder.load(write_whisper(folder, **sizes) / "model.bin").eval()
