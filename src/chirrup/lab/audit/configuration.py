"""A configuration without weights, as far as an audit asks."""

from dataclasses import asdict
from typing import Any

import torch

from chirrup.lab.audit.complexity import (
    count,
    latency_samples,
    nominal_latency_samples,
    receptive_field_samples,
)
from chirrup.lab.models import build


def outline(name: str) -> dict[str, Any]:
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
    latency = nominal_latency_samples(model)
    return {
        "name": name,
        "sample_rate_hz": model.sample_rate_hz,
        "frame_samples": model.frame_samples,
        "latency_samples": latency,
        "codebooks": model.codebooks,
        "codebook_size": model.codebook_size,
        "audit": {
            "parts": {part: asdict(figures) for part, figures in count(model.outline()).items()},
            "latency_samples": latency,
            "latency_measured_samples": latency_samples(tried),
            "receptive_field_samples": receptive_field_samples(model.encoder),
        },
    }
