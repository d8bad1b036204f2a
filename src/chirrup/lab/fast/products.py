"""Matrix products in bfloat16 or float32."""

from torch import Tensor


def product(a: Tensor, b: Tensor, bf16: bool) -> Tensor:
    """Return ``a @ b`` in float32. With ``bf16``, factors and product are rounded to bfloat16."""
    return (a.bfloat16() @ b.bfloat16()).float() if bf16 else a @ b
