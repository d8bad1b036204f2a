"""Import of published weights, tested with random files of the released keys and shapes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from chirrup.lab.export.parity import Parity
from chirrup.lab.models import CONFIGS, build
from chirrup.lab.models.spectrostream import SpectroStream
from chirrup.lab.nn import ConvTranspose2d
from chirrup.lab.released.spectrostream import FILES, is_released, layers, load_weights
from chirrup.lab.training import export as exporting
from chirrup.lab.training.export import export_checkpoint
from small_spectro import CONFIG, FRAME, small_spectro

RELEASED_BYTES = {"encoder": 37_013_392, "decoder": 209_853_216, "quantizer": 67_108_984}


def kernel_and_bias(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Return a weight in the layout of the release (JAX), which reverses transposed kernels."""
    conv: Any = module.get_submodule("conv")
    weight = conv.weight if conv.weight.dim() == 4 else conv.weight[..., None]
    if isinstance(module, ConvTranspose2d):
        return weight.permute(2, 3, 0, 1).flip(0, 1), module.bias.flatten()
    return weight.permute(2, 3, 1, 0), conv.bias


def release(model: SpectroStream) -> dict[str, dict[str, Tensor]]:
    """Return the tensors by file; the decoder's file contains the codebooks too."""
    files: dict[str, dict[str, Tensor]] = {"encoder": {}, "decoder": {}}
    for key, module in layers(model).items():
        kernel, bias = kernel_and_bias(module)
        tensors = {f"params/{key}/conv/kernel": kernel, f"params/{key}/conv/bias": bias}
        files[key.partition("/")[0]] |= tensors
    books = torch.stack(
        [model.quantizer.trained_levels[i].codebook for i in range(model.codebooks)]
    )
    files["decoder"]["params/quantizer/embedding"] = books
    files["quantizer"] = {"params/soundstream/quantizer/embedding": books}
    return files


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """Return a folder with the small model's weights."""
    folder = tmp_path / "released"
    folder.mkdir()
    for part, tensors in release(small_spectro()).items():
        whole = {key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}
        save_file(whole, folder / f"{part}.safetensors")
    return folder


def fresh() -> SpectroStream:
    torch.manual_seed(5)
    return SpectroStream(CONFIG).eval().requires_grad_(False)


def changed(folder: Path, part: str, **changes: Tensor | None) -> None:
    path = folder / f"{part}.safetensors"
    tensors = load_file(path) | {
        f"params/{part}/{key.replace('__', '/')}": value for key, value in changes.items()
    }
    save_file({key: value for key, value in tensors.items() if value is not None}, path)


def test_a_release_becomes_the_model(released: Path) -> None:
    model, known = fresh(), small_spectro()
    load_weights(model, released)
    audio = 0.1 * torch.randn(1, 2, 20 * FRAME, generator=torch.Generator().manual_seed(0))
    latent = known.encoder.offline(audio)
    torch.testing.assert_close(model.encoder.offline(audio), latent, rtol=1e-4, atol=1e-4)
    codes = known.quantizer.encode(latent)
    assert torch.equal(model.quantizer.encode(latent), codes)
    decoded = known.decoder.offline(known.quantizer.decode(codes))
    again = model.decoder.offline(model.quantizer.decode(codes))
    torch.testing.assert_close(again, decoded, rtol=1e-4, atol=1e-4)


def test_a_transposed_kernel_is_that_of_a_convolution_of_spread_inputs() -> None:
    """A released transposed kernel is applied as a convolution of the zero-stuffed input.

    The output starts at the first step that depends on the first input.
    """
    unit = layers(small_spectro())["decoder/decoder_1/conv2dtranspose_4x4"]
    assert isinstance(unit, ConvTranspose2d)
    kernel, bias = kernel_and_bias(unit)
    x = torch.randn(1, kernel.shape[2], 5, unit.bins // 2)
    spread = torch.zeros(1, x.shape[1], 9, unit.bins - 1)
    spread[:, :, ::2, ::2] = x
    spread = nn.functional.pad(spread, (2, 2, 3, 1))
    expected = nn.functional.conv2d(spread, kernel.permute(3, 2, 0, 1), bias)
    torch.testing.assert_close(unit.offline(x), expected, rtol=1e-4, atol=1e-5)


def test_the_papers_model_makes_files_of_the_published_sizes() -> None:
    """The sizes of the files, whose headers list keys and shapes, equal the released sizes."""
    with torch.device("meta"):
        files = release(build("spectro"))  # type: ignore[arg-type]
    for part, tensors in files.items():
        header, end = {}, 0
        for key, tensor in sorted(tensors.items()):
            begin, end = end, end + 4 * tensor.numel()
            entry = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
            header[key] = entry
        length = len(json.dumps(header, separators=(",", ":")))
        assert 8 + -(-length // 8) * 8 + end == RELEASED_BYTES[part], part


def test_tensors_that_do_not_fit_are_listed(released: Path) -> None:
    changed(
        released,
        "encoder",
        base_conv_first__conv__kernel=torch.ones(5, 5, 2, 3),
        bottleneck__conv2d_3x3__conv__bias=None,
        norm__scale=torch.ones(7),
    )
    with pytest.raises(ValueError, match="do not fit this model") as raised:
        load_weights(fresh(), released)
    for words in (
        "encoder/base_conv_first/conv/kernel should be [7, 7, 2, 3], it is [5, 5, 2, 3]",
        "encoder/bottleneck/conv2d_3x3/conv/bias should be [12], it is missing",
        "encoder/norm/scale [7] is unknown",
    ):
        assert words in str(raised.value)


def test_codebooks_that_do_not_fit_are_listed(released: Path) -> None:
    books = {"params/soundstream/quantizer/embedding": torch.ones(3, 10, 12)}
    save_file(books, released / "quantizer.safetensors")
    with pytest.raises(ValueError, match=r"embedding should be \[3, 256, 12\], it is \[3, 10, 12"):
        load_weights(fresh(), released)


def test_export_takes_a_folder_of_the_release(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`chirrup export` accepts a released folder and does not round its weights."""
    taken: dict[str, Any] = {}

    def export(model: SpectroStream, name: str, *args: object, exact: bool, **_: object) -> Parity:
        taken.update(model=model, name=name, exact=exact)
        return Parity(1.0, -100.0)

    monkeypatch.setattr(exporting, "export", export)
    monkeypatch.setitem(CONFIGS, "spectro", (SpectroStream, CONFIG))
    assert export_checkpoint(released, tmp_path / "out") == Parity(1.0, -100.0)
    assert (taken["name"], taken["exact"]) == ("spectro", True)
    bias = "encoder.1.block.1.conv.bias"
    assert torch.equal(taken["model"].state_dict()[bias], small_spectro().state_dict()[bias])
    for name in FILES:
        assert is_released(released)
        (released / name).rename(released / "elsewhere")
        assert not is_released(released)
        (released / "elsewhere").rename(released / name)
