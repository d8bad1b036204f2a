"""`FocalConfig.chunk_codes`: codes that describe all frames of a chunk jointly."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from chirrup.lab.audit.complexity import receptive_field_samples
from chirrup.lab.models.focalcodec import FocalCodec
from chirrup.lab.nn import ChunkLinear
from one_stream import streamed
from small_focal import CONFIG

FRAMES = 40
GENERATOR = torch.Generator().manual_seed(0)
FEATURES = torch.randn(1, CONFIG.dim, FRAMES, generator=GENERATOR)
AUDIO = 0.3 * torch.randn(1, 1, 320 * FRAMES, generator=GENERATOR)


def codec(**changes: int) -> FocalCodec:
    torch.manual_seed(0)
    return FocalCodec(replace(CONFIG, **changes)).eval()  # type: ignore[arg-type]


def moved(before: Tensor, after: Tensor) -> list[int]:
    """Return the indices of the frames that differ."""
    return (before - after).abs().amax((0, 1)).gt(1e-7).nonzero()[:, 0].tolist()


@torch.no_grad()
def test_a_chunk_is_one_vector_for_one_matrix() -> None:
    torch.manual_seed(0)
    layer = ChunkLinear(3, 5, 4)
    x = torch.randn(2, 3, 12)
    for row in range(2):
        for chunk in range(3):
            frames = slice(4 * chunk, 4 * chunk + 4)
            expected = layer.linear(x[row, :, frames].T.flatten()).unflatten(0, (4, 5)).T
            assert_close(layer.offline(x)[row, :, frames], expected)


TOGETHER = [({}, 10), ({"chunk_codes": True}, 8), ({"code_refiners": 1}, 8)]
"""Options that make a chunk's codes joint, and the first frame that frame 10 then changes."""


@pytest.mark.parametrize(("changes", "first"), TOGETHER)
@torch.no_grad()
def test_a_code_depends_on_all_frames_of_its_chunk(changes: dict[str, int], first: int) -> None:
    compressor = codec(**changes).compressor
    changed = FEATURES.clone()
    changed[:, :, 10] += 1
    assert moved(compressor.offline(FEATURES), compressor.offline(changed))[0] == first


@pytest.mark.parametrize(("changes", "first"), TOGETHER)
@torch.no_grad()
def test_a_frame_depends_on_all_codes_of_its_chunk(changes: dict[str, int], first: int) -> None:
    model = codec(**changes)
    codes = torch.randint(2**CONFIG.bits, (1, 1, FRAMES), generator=GENERATOR)
    bits = model.quantizer.decode(codes)
    changed = bits.clone()
    changed[:, :, 10] *= -1
    frames = moved(model.decompressed(bits, False), model.decompressed(changed, False))
    assert frames[0] == first


@torch.no_grad()
def test_chunks_equal_one_call() -> None:
    model = codec(chunk_codes=True, code_refiners=1)
    latent = model.encoder.offline(AUDIO)
    assert_close(streamed(model.encoder, AUDIO.split(4 * 320, 2)), latent, rtol=0, atol=1e-5)
    bits = model.quantizer.decode(model.quantizer.encode(latent))
    made = streamed(model.decoder, bits.split(8, 2))
    assert_close(made, model.decoder.offline(bits), rtol=0, atol=1e-5)


def test_receptive_field() -> None:
    """The receptive field by `span` equals the receptive field by gradients."""
    model = FocalCodec(replace(CONFIG, chunk_codes=True, code_refiners=1)).narrow().eval()
    audio = torch.randn(1, 1, 320 * 240, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.encoder.offline(audio)[0, :, 200].sum(), audio)
    seen = gradient[0, 0].nonzero()[:, 0]
    assert receptive_field_samples(model.encoder) == int(seen[-1] - seen[0]) + 1
