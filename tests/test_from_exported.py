"""The benchmarks' start of a training from an exported model."""

from importlib import import_module

import numpy as np
import pytest
import torch

import chirrup
from benchmark_scripts import scripts  # noqa: F401
from chirrup.errors import UsageError
from chirrup.lab.models import build
from chirrup.model_folders import model_folder


@pytest.mark.parametrize("name", ["iris-t1", "iris-t2", "lrac-t1", "spectro-small", "focal-small"])
@torch.no_grad()
def test_a_shipped_model_has_its_codes_and_its_audio(name: str) -> None:
    model = build(name).eval()
    import_module("from_exported").restore(model, model_folder(name))
    codec, frames = chirrup.load(name), 48
    shape = (codec.channels, frames * codec.input_frame_samples)
    audio = np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)
    rate_hz = codec.input_rate_hz
    expected = codec.encode(audio[0] if len(audio) == 1 else audio, sample_rate_hz=rate_hz)
    codes = model.quantizer.encode(model.encoder.offline(torch.from_numpy(audio)[None]))
    stored = expected.data.reshape(-1, codes.shape[1], expected.data.shape[-1])[0, :, :frames]
    assert (codes[0].numpy() == stored).mean() > 0.99
    decoded = model.decoder.offline(model.quantizer.decode(codes))[0].numpy()
    late = codec.delay_samples
    wanted = codec.decode(expected).reshape(len(audio), -1)[:, : decoded.shape[1] - late]
    error = np.abs(decoded[:, late:] - wanted).mean()
    assert error < 0.02 * np.abs(wanted).mean()


def test_other_models_are_refused() -> None:
    restore = import_module("from_exported").restore
    with pytest.raises(UsageError, match=r"no encoder\."):
        restore(build("tq-small"), model_folder("tq-small"))
    with pytest.raises(UsageError, match="of the size"):
        restore(build("lrac-t1"), model_folder("lrac-t2"))
