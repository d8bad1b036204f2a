"""The fast interpolation of recordings against the plain one."""

import pytest
import torch
from torch.testing import assert_close

from chirrup.lab import fast
from chirrup.lab.training.batches.recordings import Recordings
from small_batches import recordings, sampler

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")


@pytest.mark.parametrize("channels", [1, 2])
def test_equals_plain(channels: int) -> None:
    """Positions at both ends, near whole samples, and across blocks of the C++ code."""
    generator = torch.Generator().manual_seed(0)
    audio = torch.randint(-32768, 32767, (channels, 6000), generator=generator).short()
    several = Recordings(audio, torch.tensor([0, 3000]), torch.tensor([3000, 3000]))
    position = torch.rand(4, 1300, generator=generator, dtype=torch.float64) * 2999
    position[0, :7] = torch.tensor([0, 1e-9, 0.5, 1 - 1e-9, 1, 1 + 1e-4, 2998.9999])
    position[1:3] += 3000
    speed = torch.tensor([[0.9], [1.0], [1.05], [1.2]])
    plain = several.read(position, speed)
    assert_close(several.read(position, speed, fast=True), plain, rtol=0, atol=1e-6)


def test_batches_are_equal() -> None:
    speech = recordings(torch.randn(40_000).clamp(-1, 1), torch.randn(9000).clamp(-1, 1))
    plain, quick = (sampler(5, speech=speech, speed_range=1.12) for _ in range(2))
    fast.enable(quick)
    for expected, batch in zip(plain.batch(8), quick.batch(8), strict=True):
        assert_close(batch, expected, rtol=0, atol=1e-6)
