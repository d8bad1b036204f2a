"""The speech features of FocalCodec-Stream (arXiv 2509.16195), the first part of its encoder."""

from math import prod
from typing import cast

import torch
from torch import Tensor, nn

from chirrup.lab.models.focal_config import FocalConfig
from chirrup.lab.nn import (
    LayerNorm,
    Linear,
    LogSpectra,
    ReplicatedConv1d,
    Residual,
    Sequential,
    Stateless,
    Streaming,
    Transformer,
)
from chirrup.lab.nn.attention import TransformerLayer


class Features(Sequential):
    """A causal WavLM (arXiv 2110.13900): its convolutions and first transformer layers.

    Audio ``[batch, 1, samples]`` to features ``[batch, dim, frames]``.
    """

    def __init__(self, config: FocalConfig) -> None:
        layers: list[Streaming] = []
        if config.spectra:
            spectra = LogSpectra(prod(config.front_strides))
            channels = spectra.channels
            layers.append(spectra)
        else:
            channels = 1
            for kernel, stride in zip(config.front_kernels, config.front_strides, strict=True):
                ahead = stride - 1 if config.whole_frames else 0
                conv = ReplicatedConv1d(
                    channels, config.front_dim, kernel, stride=stride, bias=False, ahead=ahead
                )
                channels = config.front_dim
                layers += [conv, LayerNorm(channels), Stateless(nn.GELU())]
            layers.append(LayerNorm(channels))
        position = ReplicatedConv1d(
            config.dim, config.dim, config.position_kernel, groups=config.position_groups
        )
        super().__init__(
            *layers,
            Linear(channels, config.dim),
            Residual(config.dim, Sequential(position, Stateless(nn.GELU()))),
            Transformer(
                config.dim,
                layers=config.layers,
                heads=config.heads,
                hidden=config.hidden_dim,
                chunk=config.chunk_frames,
                window=config.window_frames,
                buckets=config.bias_buckets,
                max_distance=config.bias_max_distance,
            ),
        )

    @torch.no_grad()
    def start(self, audio: Tensor) -> None:
        """Initialise the features as the principal components of the log spectra of ``audio``.

        This needs ``config.spectra``. The residual blocks start at zero. A component's standard
        deviation, relative to a channel's, is replaced by its square root if it exceeds 1, so that
        loudness does not dominate, and by its square if it is below 1: weak components are mostly
        noise, which is not worth any code.

        Args:
            audio: ``[batch, 1, samples]``.
        """
        spectra, linear, positions, transformer = self.layers
        cast(LogSpectra, spectra).fit(audio)
        rows = spectra.offline(audio).transpose(1, 2).flatten(0, 1)
        project = cast(Linear, linear).linear
        values, vectors = torch.linalg.eigh(torch.cov(rows.T.double()))
        dim = project.out_features
        values, vectors = values.flip(0)[:dim].clamp(min=1e-6), vectors.flip(1)[:, :dim]
        deviations = values.sqrt()
        evened = deviations.sqrt().minimum(deviations.square())
        project.weight.copy_((vectors * (evened / deviations)).T / evened.square().mean().sqrt())
        blocks = cast(Transformer, transformer).layers
        for module in (positions, *blocks):
            for last in _last_of_branches(module):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(cast(Tensor, last.bias))


def _last_of_branches(module: nn.Module) -> list[nn.Conv1d | nn.Linear]:
    """Return the last layers of all residual branches in ``module``."""
    if isinstance(module, TransformerLayer):
        *_, contract = cast(Sequential, module.feed_forward.block).layers
        return [module.attention.project_out, cast(Linear, contract).linear]
    return [part for part in module.modules() if isinstance(part, nn.Conv1d)]
