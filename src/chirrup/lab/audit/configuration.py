"""The audit of a configuration that has no trained weights."""

from typing import Any

import torch

from chirrup.lab.audit.complexity import audit, nominal_latency_samples
from chirrup.lab.models import build


def audit_config(name: str) -> dict[str, Any]:
    """Return the fields of ``model.json`` that an audit needs, for a model with fresh weights.

    Raises:
        ModelError: no configuration has that name.
    """
    with torch.device("meta"):
        model = build(name)
    latency_model = model.narrow()
    if latency_model is model:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = latency_model = build(name)
    return {
        "name": name,
        "sample_rate_hz": model.sample_rate_hz,
        "input_rate_hz": model.input_rate_hz,
        "frame_samples": model.frame_samples,
        "latency_samples": nominal_latency_samples(model),
        "codebooks": model.codebooks,
        "codebook_size": model.codebook_size,
        "audit": audit(model, latency_model),
    }
