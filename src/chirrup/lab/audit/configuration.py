"""A configuration without weights, as far as an audit asks."""

from typing import Any

import torch

from chirrup.lab.audit.complexity import audit, nominal_latency_samples
from chirrup.lab.models import build


def audit_config(name: str) -> dict[str, Any]:
    """What ``model.json`` would say of a model with fresh weights, states and graphs left out.

    Raises:
        ModelError: no configuration has that name.
    """
    with torch.device("meta"):
        model = build(name)
    tried = model.narrow()
    if tried is model:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = tried = build(name)
    return {
        "name": name,
        "sample_rate_hz": model.sample_rate_hz,
        "frame_samples": model.frame_samples,
        "latency_samples": nominal_latency_samples(model),
        "codebooks": model.codebooks,
        "codebook_size": model.codebook_size,
        "audit": audit(model, tried),
    }
