"""Models whose decoders alone differ decode each other's files."""

import copy
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch

import chirrup
from chirrup.errors import UsageError
from chirrup.files import decode_file, encode_file
from chirrup.lab.export.export import export
from chirrup.lab.export.model_folder import read, write
from chirrup.lab.export.same_codes import codes_of
from small_lrac import small_lrac
from small_model import RATE_HZ, Exported, speech_like

pytest_plugins = ["models_fixture"]


@torch.no_grad()
def test_an_export_of_another_decoder_decodes_the_files(
    small_lrac_export: Exported, tmp_path: Path
) -> None:
    model, new, clip = copy.deepcopy(small_lrac()), tmp_path / "new", speech_like(RATE_HZ)
    for name, parameter in model.named_parameters():
        if name.startswith("decoder"):
            parameter *= 1.2
    export(model, "new", new, clip, like=small_lrac_export.folder)
    first, second = (chirrup.load(path) for path in (small_lrac_export.folder, new))
    assert second.codes_sha256 == first.codes_sha256 != second.weights_sha256
    soundfile.write(tmp_path / "clip.wav", clip, RATE_HZ)
    encode_file(first, tmp_path / "clip.wav", tmp_path / "clip.chirrup")
    decode_file(second, tmp_path / "clip.chirrup", tmp_path / "decoded.wav")
    codes = first.encode(clip)
    assert (second.encode(clip).data == codes.data).all()
    assert np.abs(second.decode(codes) - first.decode(codes)).max() > 1e-3


@torch.no_grad()
def test_codebooks_get_the_order_of_the_other_model(
    small_lrac_export: Exported, tmp_path: Path
) -> None:
    clip = speech_like(RATE_HZ)
    export(small_lrac(), "gray", tmp_path / "gray", clip, pseudo_gray=True)
    gray = chirrup.load(tmp_path / "gray")
    assert gray.codes_sha256 != chirrup.load(small_lrac_export.folder).codes_sha256
    export(small_lrac(), "new", tmp_path / "new", clip, like=tmp_path / "gray")
    new = chirrup.load(tmp_path / "new")
    assert new.codes_sha256 == gray.codes_sha256
    assert (new.encode(clip).data == gray.encode(clip).data).all()
    assert read(tmp_path / "new")[1]["index_order"] == "pseudo-gray"


@torch.no_grad()
def test_another_entry_is_refused(small_lrac_export: Exported, tmp_path: Path) -> None:
    model = copy.deepcopy(small_lrac())
    model.quantizer.trained_levels[1].codebook[3] += 0.1
    with pytest.raises(UsageError, match="codebook 2 has other entries"):
        export(model, "new", tmp_path / "new", speech_like(RATE_HZ), like=small_lrac_export.folder)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("part", "beginning", "equal"),
    [
        ("decoder", "decoder.", True),
        ("decoder", "lookup.", False),
        ("encoder", "encoder.", False),
        ("encoder", "search.", False),
    ],
)
def test_a_constant_of_encoder_or_codebooks_is_seen(
    small_export: Exported, tmp_path: Path, part: str, beginning: str, equal: bool
) -> None:
    """Also a small one, which is stored in the graph."""
    graphs, about = read(small_export.folder)
    tensors = [x for x in graphs[part].graph.initializer if x.name.startswith(beginning)]
    smallest = min(tensors, key=lambda tensor: int(np.prod(tensor.dims)))
    values = onnx.numpy_helper.to_array(smallest) + 1
    smallest.CopyFrom(onnx.numpy_helper.from_array(values, smallest.name))
    write(tmp_path / "new", graphs.items(), about, lambda draft: {})
    if equal:
        expected = chirrup.load(small_export.folder).codes_sha256
        assert codes_of(tmp_path / "new", small_export.folder) == expected
        return
    with pytest.raises(UsageError, match=rf"1 tensors differ, such as {re.escape(beginning)}"):
        codes_of(tmp_path / "new", small_export.folder)


def test_a_model_with_other_layers_is_refused(
    small_export: Exported, small_lrac_export: Exported
) -> None:
    with pytest.raises(UsageError, match="it has other layers"):
        codes_of(small_export.folder, small_lrac_export.folder)
