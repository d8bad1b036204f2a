"""A model with a quantizer that no other file of the project imports.

Finite scalar quantization (arXiv 2309.15505): each of a few dimensions is rounded to one of its
levels, and the code numbers all combinations.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from chirrup.lab.models.model import Model
from chirrup.lab.nn import Conv1d, ConvTranspose1d, Sequential, SnakeBeta, fit_scales
from chirrup.lab.quantizers.quantizer import Quantized, Quantizer


class FiniteScalarQuantizer(Quantizer):
    """A quantizer of each dimension i to ``levels[i]`` levels, an odd number, between two
    projections."""

    sizes: Tensor
    places: Tensor

    def __init__(self, dim: int, levels: tuple[int, ...]) -> None:
        super().__init__(prod(levels))
        self.project_in = nn.Linear(dim, len(levels))
        self.project_out = nn.Linear(len(levels), dim)
        sizes = torch.tensor(levels)[:, None]
        places = torch.tensor([prod(levels[:index]) for index in range(len(levels))])[:, None]
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("places", places, persistent=False)

    def forward(self, latent: Tensor, used: Tensor, committed: Tensor | None = None) -> Quantized:
        bounded = self._bounded(latent)
        rounded = bounded + (bounded.round() - bounded).detach()
        nothing = latent.new_zeros(())
        return Quantized(
            latent=self._out(rounded),
            codes=self.encode(latent),
            commitment=nothing,
            codebook=nothing,
            projected=bounded.detach().transpose(1, 2).flatten(0, 1)[None],
        )

    def encode(self, latent: Tensor) -> Tensor:
        digits = (self._bounded(latent).round() + self.sizes // 2).long()
        return (digits * self.places).sum(1, keepdim=True)

    def decode(self, codes: Tensor) -> Tensor:
        digits = codes // self.places % self.sizes - self.sizes // 2
        return torch.where(codes >= 0, self._out(digits.float()), 0.0)

    def macs_per_frame(self, folded: bool | None = None) -> int:
        return self.project_in.weight.numel() + self.project_out.weight.numel()

    def exported(self) -> tuple[nn.Module, nn.Module]:
        return Search(self), Lookup(self)

    def _bounded(self, latent: Tensor) -> Tensor:
        x = self.project_in(latent.transpose(1, 2)).transpose(1, 2)
        return (self.sizes // 2) * x.tanh()

    def _out(self, digits: Tensor) -> Tensor:
        return self.project_out(digits.transpose(1, 2)).transpose(1, 2)


class Search(nn.Module):
    def __init__(self, quantizer: FiniteScalarQuantizer) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, latent: Tensor) -> Tensor:
        return self.quantizer.encode(latent).int()


class Lookup(nn.Module):
    def __init__(self, quantizer: FiniteScalarQuantizer) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, codes: Tensor) -> Tensor:
        return self.quantizer.decode(codes)


@dataclass(frozen=True)
class Config:
    sample_rate_hz: int = 24_000
    frame_samples: int = 240
    codebooks: int = 1
    levels: tuple[int, ...] = (7, 5, 5, 5)
    dim: int = 16

    @property
    def codebook_size(self) -> int:
        return prod(self.levels)


class SmallFSQ(Model):
    def __init__(self, config: Config) -> None:
        dim = config.dim
        encoder = Sequential(
            Conv1d(1, dim, 24, stride=12, normalise_weight=True),
            SnakeBeta(dim),
            Conv1d(dim, dim, 40, stride=20, normalise_weight=True),
        )
        decoder = Sequential(
            ConvTranspose1d(dim, dim, 40, stride=20, normalise_weight=True),
            SnakeBeta(dim),
            ConvTranspose1d(dim, 1, 24, stride=12, normalise_weight=True),
        )
        super().__init__(config, encoder, FiniteScalarQuantizer(dim, config.levels), decoder)

    @torch.no_grad()
    def start(self, audio: Tensor) -> None:
        fit_scales(self.decoder, fit_scales(self.encoder, audio), float(audio.std()))


NAME = "small-fsq"
ENTRY = (SmallFSQ, Config())
"""For `models.CONFIGS`."""
