"""Published weights, as far as they can be known: made-up files of each layout the rules allow."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from chirrup.lab.importing import import_spectrostream, natural
from chirrup.lab.models.spectrostream import SpectroStream
from chirrup.lab.nn import ConvTranspose2d
from small_spectro import CONFIG, FRAME, small_spectro


def weight_and_bias(module: nn.Module, kind: str) -> tuple[Tensor, Tensor]:
    """As TensorFlow or JAX would keep them."""
    conv: Any = module.get_submodule("conv")
    weight, bias = conv.weight, module.bias if isinstance(module, ConvTranspose2d) else conv.bias
    if weight.dim() == 3:
        return weight[:, :, 0].T, bias
    if not isinstance(module, ConvTranspose2d):
        return weight.permute(2, 3, 1, 0), bias
    if kind == "tensorflow":
        return weight.permute(2, 3, 1, 0), bias.flatten()
    return weight.flip(2, 3).permute(2, 3, 0, 1), bias.flatten()


@torch.no_grad()
def release(folder: Path, kind: str = "tensorflow", *, stacked: bool = True) -> Path:
    """The small model's weights in three files; layers are numbered, not all with two digits."""
    model = small_spectro()
    for part in ("encoder", "decoder"):
        tensors = {}
        layers = [m for m in model.get_submodule(part).modules() if hasattr(m, "conv")]
        for index, module in enumerate(layers):
            weight, bias = weight_and_bias(module, kind)
            tensors[f"{part}/layers_{index}/kernel"] = weight.contiguous()
            tensors[f"{part}/layers_{index}/bias"] = bias.contiguous()
        save_file(tensors, folder / f"{part}.safetensors")
    books = [model.quantizer.level(index).codebook for index in range(model.codebooks)]
    several = {f"level.{index}.embedding": book for index, book in enumerate(books)}
    save_file(
        {"codebooks": torch.stack(books)} if stacked else several, folder / "quantizer.safetensors"
    )
    return folder


def fresh() -> SpectroStream:
    torch.manual_seed(5)
    return SpectroStream(CONFIG).eval().requires_grad_(False)


def changed(folder: Path, part: str, **changes: Tensor | None) -> None:
    path = folder / f"{part}.safetensors"
    tensors = load_file(path) | {key.replace("__", "/"): value for key, value in changes.items()}
    save_file({key: value for key, value in tensors.items() if value is not None}, path)


@pytest.mark.parametrize("kind", ["tensorflow", "jax"])
@pytest.mark.parametrize("stacked", [True, False])
def test_a_release_becomes_the_model(tmp_path: Path, kind: Any, stacked: bool) -> None:
    model, known = fresh(), small_spectro()
    imported = import_spectrostream(
        model, release(tmp_path, kind, stacked=stacked), transposed=kind
    )
    audio = 0.1 * torch.randn(1, 2, 20 * FRAME, generator=torch.Generator().manual_seed(0))
    latent = known.encoder.offline(audio)
    torch.testing.assert_close(model.encoder.offline(audio), latent, rtol=1e-4, atol=1e-4)
    codes = known.quantizer.encode(latent)
    assert torch.equal(model.quantizer.encode(latent), codes)
    decoded = known.decoder.offline(known.quantizer.decode(codes))
    again = model.decoder.offline(model.quantizer.decode(codes))
    torch.testing.assert_close(again, decoded, rtol=1e-4, atol=1e-4)
    assert imported.layers["encoder.0.inner.2"] == "encoder:encoder/layers_0"
    assert len(set(imported.layers.values())) == len(imported.layers)


def test_the_wrong_layout_is_another_sound_or_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="decoder"):
        import_spectrostream(fresh(), release(tmp_path, "jax"), transposed="tensorflow")


def test_what_is_missing_and_what_is_too_much_is_listed(tmp_path: Path) -> None:
    release(tmp_path)
    changed(tmp_path, "encoder", encoder__layers_0__kernel=torch.ones(5, 5, 2, 3))
    with pytest.raises(
        ValueError, match=r"encoder\.0\.inner\.2: \[3, 2, 7, 7\].*layers_0: .*\[5, 5, 2, 3\]"
    ):
        import_spectrostream(fresh(), tmp_path)


def test_a_key_that_is_no_weight_is_listed(tmp_path: Path) -> None:
    release(tmp_path)
    changed(tmp_path, "decoder", decoder__layers_0__running_mean=torch.ones(7))
    with pytest.raises(ValueError, match=r"running_mean: \[7\]"):
        import_spectrostream(fresh(), tmp_path)


def test_codebooks_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    release(tmp_path)
    save_file({"books": torch.ones(3, 10, 12)}, tmp_path / "quantizer.safetensors")
    with pytest.raises(ValueError, match=r"3 codebooks \[256, 12\].*books: \[3, 10, 12\]"):
        import_spectrostream(fresh(), tmp_path)


def test_a_person_can_say_which_layer_is_which(tmp_path: Path) -> None:
    release(tmp_path)
    names = {"encoder.0.inner.2": "encoder/layers_0"}
    assert import_spectrostream(fresh(), tmp_path, names=names)
    with pytest.raises(ValueError, match="named 'encoder/elsewhere'"):
        import_spectrostream(fresh(), tmp_path, names={"encoder.0.inner.2": "encoder/elsewhere"})


def test_numbers_are_sorted_as_numbers() -> None:
    assert sorted(["a10", "a2", "b1"], key=natural) == ["a2", "a10", "b1"]
