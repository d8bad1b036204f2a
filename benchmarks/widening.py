"""Embed a trained IRIS model in a wider one, which starts with the same codes and similar audio.

Some channels of every layer are the trained ones. The others are copies of trained channels with
noise, and the weights by which trained channels read them start at zero. Only the layer
normalisations of the decoder include them, so its audio changes slightly. `carry_over.py` uses this
to start iris-t2 from iris-t1.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chirrup.lab.models.iris import Iris, ResidualUnit
from chirrup.lab.nn import SnakeBeta, set_weight

NOISE = 0.5
"""Length of the noise in a copied channel's weights, relative to their length."""


@dataclass(frozen=True)
class Channels:
    """Channels of a widened layer.

    Attributes:
        source: the trained channel from which each channel is copied, ``[channels]``.
        trained: whether a channel is the trained one itself, ``[channels]``.
    """

    source: Tensor
    trained: Tensor

    @property
    def places(self) -> Tensor:
        """Indices of the trained channels."""
        return self.trained.nonzero()[:, 0]

    def spread(self, values: Tensor) -> Tensor:
        """Return values of the trained channels, ``[old, ...]``, for all channels."""
        return values[self.source]

    def rows(self, weight: Tensor, into: Tensor, width: int) -> Tensor:
        """Return a weight whose rows compute these channels.

        Args:
            weight: the trained weight, ``[old, inputs, ...]``.
            into: places of its inputs among ``width`` inputs.
        """
        rows = weight.new_zeros(len(self.source), width, *weight.shape[2:])
        rows[:, into] = self.spread(weight)
        copies = rows[~self.trained]
        noise = torch.randn_like(copies)
        noisy = copies + NOISE * lengths(copies) / lengths(noise) * noise
        rows[~self.trained] = noisy * lengths(copies) / lengths(noisy)
        return rows


def lengths(rows: Tensor) -> Tensor:
    """Return the norm of each row, with the other dimensions of size 1."""
    return torch.linalg.vector_norm(rows, dim=tuple(range(1, rows.dim())), keepdim=True)


def channels(old: int, new: int, old_groups: int = 1, new_groups: int = 1) -> Channels:
    """Assign every channel of a wider layer a trained channel.

    The first channels of each group are a trained group; the rest are drawn from it. Groups beyond
    the trained ones are copies too.
    """
    before, after = old // old_groups, new // new_groups
    place = torch.cat([torch.arange(before), torch.randint(before, (after - before,))])
    group = torch.arange(new_groups)
    source = (group % old_groups)[:, None] * before + place
    trained = (group < old_groups)[:, None] & (torch.arange(after) < before)
    return Channels(source.flatten(), trained.flatten())


def widen_conv(old: Any, new: Any, out: Channels, into: Channels | None) -> None:
    """Fill a `Conv1d`; ``into`` is None if its channels are in groups."""
    weight, width = old.conv.weight, new.conv.weight.shape[1]
    places = torch.arange(weight.shape[1]) if into is None else into.places
    set_weight(new.conv, out.rows(weight, places, width))
    new.conv.bias.copy_(out.spread(old.conv.bias))


def widen_vectors(old: Any, new: Any, out: Channels, *names: str) -> None:
    """Fill parameters that have one value for each channel."""
    for name in names:
        new.get_parameter(name).copy_(out.spread(old.get_parameter(name)))


def widen_gru(old: nn.GRU, new: nn.GRU, out: Channels) -> None:
    """Fill a GRU whose input and hidden vector both have the channels ``out``."""
    for name, value in old.named_parameters():
        gates = [
            out.rows(gate, out.places, len(out.source)) if gate.dim() == 2 else out.spread(gate)
            for gate in value.chunk(3)
        ]
        new.get_parameter(name).copy_(torch.cat(gates))


def widen_unit(old: Any, new: Any, level: Channels, groups: tuple[int, int]) -> None:
    """Fill a `ResidualUnit`."""
    layers: list[tuple[Any, Any]] = list(zip(old.block.layers, new.block.layers, strict=True))
    snake_1, inner, snake_2, outer = layers
    hidden = channels(inner[0].conv.out_channels, inner[1].conv.out_channels, *groups)
    widen_vectors(*snake_1, level, "log_alpha", "log_beta")
    widen_conv(*inner, hidden, None)
    widen_vectors(*snake_2, hidden, "log_alpha", "log_beta")
    widen_conv(*outer, level, None)


def widen_encoder(old: Iris, new: Iris, latent: Channels) -> None:
    groups = old.config.encoder_groups, new.config.encoder_groups
    layers: list[tuple[Any, Any]] = list(zip(old.encoder.layers, new.encoder.layers, strict=True))
    first, *middle, last, residual = layers
    level = channels(old.config.encoder_dim, new.config.encoder_dim, *groups)
    widen_conv(*first, level, channels(1, 1))
    for before, after in middle:
        if isinstance(before, ResidualUnit):
            widen_unit(before, after, level, groups)
        elif isinstance(before, SnakeBeta):
            widen_vectors(before, after, level, "log_alpha", "log_beta")
        else:
            deeper = channels(before.conv.out_channels, after.conv.out_channels, *groups)
            widen_conv(before, after, deeper, level)
            level = deeper
    widen_conv(*last, latent, level)
    widen_gru(residual[0].block.rnn, residual[1].block.rnn, latent)


def widen_quantizer(old: Iris, new: Iris, latent: Channels) -> None:
    """Fill the quantizer, whose codebooks keep their size."""
    levels = zip(old.quantizer.trained_levels, new.quantizer.trained_levels, strict=True)
    for level, wide in levels:
        code = channels(level.codebook.shape[1], level.codebook.shape[1])
        wide.codebook.copy_(level.codebook)
        width = len(latent.source)
        set_weight(wide.project_in, code.rows(level.project_in.weight, latent.places, width))
        set_weight(
            wide.project_out, latent.rows(level.project_out.weight, code.places, len(code.source))
        )
        widen_vectors(level, wide, code, "project_in.bias")
        widen_vectors(level, wide, latent, "project_out.bias")


def widen_block(old: Any, new: Any, dim: Channels) -> None:
    """Fill a `Conv2FormerBlock`, whose feed-forward part has two groups."""
    hidden = channels(old.expand.conv.out_channels, new.expand.conv.out_channels, 2, 2)
    widen_vectors(old, new, dim, "norm_1.gain", "norm_1.bias", "norm_2.gain", "norm_2.bias")
    widen_vectors(old, new, dim, "scale_1", "scale_2")
    widen_conv(old.gate, new.gate, dim, None)
    widen_conv(old.project, new.project, dim, dim)
    widen_conv(old.expand, new.expand, hidden, None)
    widen_conv(old.contract, new.contract, dim, None)


def widen_decoder(old: Iris, new: Iris, latent: Channels) -> None:
    dim = channels(old.config.decoder_dim, new.config.decoder_dim, 2, 2)
    layers: list[tuple[Any, Any]] = list(zip(old.decoder.layers, new.decoder.layers, strict=True))
    first, *blocks, head, _ = layers
    widen_conv(*first, dim, latent)
    for before, after in blocks:
        widen_block(before, after, dim)
    before, after = (layer.project for layer in head)
    widen_conv(before, after, channels(before.conv.out_channels, after.conv.out_channels), dim)


@torch.no_grad()
def widen(old: nn.Module, new: nn.Module) -> bool:
    """Fill ``new`` from the trained ``old``, which has the same layers with fewer channels.

    Returns:
        Whether both are models of this kind; otherwise ``new`` is unchanged.
    """
    if not (isinstance(old, Iris) and isinstance(new, Iris)):
        return False
    if old.config.latent_dim >= new.config.latent_dim:
        return False
    latent = channels(old.config.latent_dim, new.config.latent_dim)
    widen_encoder(old, new, latent)
    widen_quantizer(old, new, latent)
    widen_decoder(old, new, latent)
    return True
