"""The fast form of GELU against the plain one in double precision."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chirrup.lab import fast
from chirrup.lab.fast.gelu import gelu
from fast_forms import relative_error

pytestmark = pytest.mark.skipif(not fast.available(), reason="the extension does not compile")

LAYOUTS = {
    "rows": lambda x: x,
    "channels first": lambda x: x.transpose(1, 2),
    "slice": lambda x: x[:, 3:, ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 4e-3)], ids=["float32", "bfloat16"]
)
def test_equals_plain(layout: str, dtype: torch.dtype, bound: float) -> None:
    torch.manual_seed(0)
    whole = 3 * torch.randn(2, 40, 33)
    whole[0, :, 0] = torch.linspace(-20, 20, 40)
    x = LAYOUTS[layout](whole.to(dtype)).detach()
    weights = torch.randn(x.shape)

    def run(x: Tensor, quick: bool) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        y = gelu(x) if quick else F.gelu(x)
        (dx,) = torch.autograd.grad((y * weights.to(dtype).to(x.dtype)).sum(), x)
        return y, dx

    quick = run(x, True)
    for value, expected in zip(quick, run(x.double(), False), strict=True):
        assert value.dtype is dtype
        assert relative_error(value, expected) < bound
    with torch.no_grad():
        assert torch.equal(gelu(x), quick[0])
