"""The exported graphs of TQCodec: an LSTM in encoder and decoder, and filter banks."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import torch

import chirrup
from chirrup.lab.export.export import export
from chirrup.lab.models.tqcodec import TQCodec, TQConfig


def noise(samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(3))


def test_exports_with_any_number_of_frames(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = TQConfig(4, 4, 8, 2, 4, strides=(16,), codebooks=2, codebook_size=32)
    codec = TQCodec(config)
    codec.start(noise(12_800))
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if "rnn" in name or "levels" in name:  # the initial values would hide errors of folding
                parameter += 0.2 * torch.randn_like(parameter)
    clip = noise(4000)[0, 0].numpy()
    parity = export(codec, "tiny", tmp_path / "tiny", clip)
    assert parity.codes_equal >= 0.999
    assert parity.audio_error_db < -80

    loaded = chirrup.load(tmp_path / "tiny")
    for name in ("encoder", "decoder"):
        graph = onnx.load(tmp_path / "tiny" / f"{name}.onnx", load_external_data=False).graph
        assert Counter(node.op_type for node in graph.node)["LSTM"] == 4, "two networks, two layers"

    stereo = np.stack([clip, clip[::-1]])
    both = loaded.encode(stereo)
    assert both.data.shape[:2] == (2, 2)
    assert np.mean(both.data[0] == loaded.encode(clip).data) > 0.99
    sound = loaded.decode(both)
    assert sound.shape == stereo.shape
    assert np.abs(sound[0] - loaded.decode(both.data[0])[: len(clip)]).max() < 1e-4
