"""A simulated call between two clocks, which `benchmarks/hour.py` runs for an hour."""

import tracemalloc
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import chirrup

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("ppm", [2000, -2000])
def test_a_long_call_has_no_drift_and_no_growth(ppm: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clocks drift apart by 60 ms in 30 s, as at 100 ppm in 10 minutes.

    In the second half, no memory of Python and NumPy is added beside that of the result. Keeping
    the audio, for example, would cost 1 MB in 10 s."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    call = import_module("hour").call
    codec = chirrup.load("lrac-t1")
    delays_ms, depths_ms, changed, memory = [], [], [], []
    for span in call(codec, "jitter:5ms+loss:1%", ppm, 30, 10):
        delays_ms += span.delays_ms
        depths_ms.append(np.mean(span.depths_ms))
        assert span.most_waiting <= 10
        changed.append(span.statistics.inserted - span.statistics.removed)
        del span
        if not memory:
            tracemalloc.start()
        memory.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert len(delays_ms) == 3
    assert max(delays_ms) < 80
    assert np.ptp(delays_ms) < 25, "less than half of the drift"
    assert np.ptp(depths_ms) < 20
    assert changed[-1] == pytest.approx(0.06 * np.sign(ppm) / 0.01, abs=3)
    assert memory[2] - memory[1] < 50_000
