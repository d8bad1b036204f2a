"""What the processor at hand does fast."""

import time
from functools import cache

import torch

GAIN = 1.5
"""Products run in bfloat16 where they are at least this much faster than in float32."""


@cache
def products_in_bf16() -> bool:
    """Whether matrix products take clearly less time in bfloat16 than in float32.

    Processors with AMX or AVX512-BF16 multiply several times faster in bfloat16; others emulate it.
    Measured at the first call, in some milliseconds, since flags do not tell how fast a unit is.
    """
    spent = {}
    for kind in (torch.float32, torch.bfloat16):
        a, b = torch.ones(256, 512, dtype=kind), torch.ones(512, 512, dtype=kind)
        times = []
        for _ in range(6):
            start = time.thread_time()
            torch.mm(a, b)
            times.append(time.thread_time() - start)
        spent[kind] = min(times)
    return spent[torch.float32] > GAIN * spent[torch.bfloat16]
