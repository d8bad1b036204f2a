"""Measurement of the current processor's speed in bfloat16."""

import time
from functools import cache

import torch

GAIN = 1.5
"""Least speed-up of bfloat16 against float32 for which bfloat16 products are used."""


@cache
def products_in_bf16() -> bool:
    """Return whether matrix products are clearly faster in bfloat16 than in float32.

    Processors with AMX or AVX512-BF16 multiply several times faster in bfloat16; others emulate it.
    The first call measures the speed in a few milliseconds, because processor flags do not state
    it.
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
