"""FocalCodec-Stream gives the outputs of its authors' code, and streams.

The folders in `focalcodec-stream` hold random weights of the published architecture at small sizes,
named as in the released checkpoints, and the outputs of the authors' code with these weights.
"""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from chirrup.lab.audit.complexity import receptive_field_samples
from chirrup.lab.export.folding import fold
from chirrup.lab.export.parity import Parity
from chirrup.lab.models import CONFIGS
from chirrup.lab.models.focalcodec import FocalCodec, FocalConfig
from chirrup.lab.nn import Sequential
from chirrup.lab.released.focalcodec import config_of, from_pretrained, is_released, name_of
from chirrup.lab.training import export as exporting
from chirrup.lab.training.export import export_checkpoint
from one_stream import streamed

FIXTURES = Path(__file__).parent / "focalcodec-stream"
RELEASED = FIXTURES / "short"
FRAMES = {"short": (2, 100), "long": (1, 664)}
"""Clips and frames of each fixture. The long one exceeds the attention window of 512 frames. The
source distribution does not have it."""
if not (FIXTURES / "long").exists():
    del FRAMES["long"]
PAPER = ["focal-2k", "focal-4k", "focal-65k"]
FEW = FocalConfig(
    bits=16,
    front_dim=8,
    dim=16,
    layers=2,
    heads=2,
    hidden_dim=16,
    position_kernel=8,
    position_groups=4,
    window_frames=16,
    focal_dim=16,
    focal_blocks=1,
    focal_kernels=(4, 6, 24),
    waveform_dim=16,
    waveform_hidden_dim=16,
    waveform_blocks=1,
)
"""Return a narrow model whose attention window is shorter than a second."""


@cache
def released(fixture: str = "short") -> FocalCodec:
    return from_pretrained(FIXTURES / fixture)


@cache
def narrow() -> FocalCodec:
    torch.manual_seed(0)
    return FocalCodec(FEW).eval().requires_grad_(False)


@cache
def outputs(fixture: str) -> dict[str, Tensor]:
    """Return the outputs of the authors' code as ``[batch, channels, frames]``."""
    stored = load_file(FIXTURES / fixture / "outputs.safetensors")
    return {
        "audio": stored["sig"][:, None],
        "features": stored["feats"].transpose(1, 2),
        "latents": stored["lats"].transpose(1, 2),
        "tokens": stored["toks"][:, None].long(),
        "bits": stored["codes"].transpose(1, 2),
        "decompressed": stored["qfeats"].transpose(1, 2),
        "waveform": stored["wav"][:, None],
    }


def close(got: Tensor, expected: Tensor, atol: float) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


Cut = Callable[[Tensor, int], Iterator[Tensor]]


def at_once(x: Tensor, frame: int) -> Iterator[Tensor]:
    yield x


def by_chunks(x: Tensor, frame: int) -> Iterator[Tensor]:
    yield from x.split(4 * frame, dim=2)


def at_random(x: Tensor, frame: int, seed: int = 0) -> Iterator[Tensor]:
    """Split into pieces of random multiples of four frames."""
    draw, start = random.Random(seed), 0
    while start < x.shape[2]:
        size = 4 * frame * draw.randint(1, 9)
        yield x[:, :, start : start + size]
        start += size


# --- the authors' code ---------------------------------------------------------------------------


@pytest.mark.parametrize("fixture", FRAMES)
@pytest.mark.parametrize("cut", [at_once, by_chunks, at_random])
@torch.no_grad()
def test_every_stage_is_the_authors(cut: Cut, fixture: str) -> None:
    model, expected = released(fixture), outputs(fixture)
    features, compressor = model.encoder.layers
    decompressor, waveform = model.decoder.layers
    close(streamed(features, cut(expected["audio"], 320)), expected["features"], 1e-5)
    latents = streamed(compressor, cut(expected["features"], 1))
    close(torch.nn.functional.normalize(latents, dim=1), expected["latents"], 1e-5)
    assert torch.equal(model.quantizer.encode(expected["latents"]), expected["tokens"])
    close(model.quantizer.decode(expected["tokens"]), expected["bits"], 1e-7)
    close(streamed(decompressor, cut(expected["bits"], 1)), expected["decompressed"], 1e-5)
    audio = streamed(waveform, cut(expected["decompressed"], 1))
    close(audio[..., -expected["waveform"].shape[2] :], expected["waveform"], 1e-5)


@pytest.mark.parametrize("fixture", FRAMES)
@pytest.mark.parametrize("cut", [at_once, by_chunks, at_random])
@torch.no_grad()
def test_whole_codec_is_the_authors(cut: Cut, fixture: str) -> None:
    """All tokens are equal, and the waveform is. Of the long one the end is stored."""
    model, expected = released(fixture), outputs(fixture)
    tokens = model.quantizer.encode(streamed(model.encoder, cut(expected["audio"], 320)))
    clips, frames = FRAMES[fixture]
    assert tokens.shape == (clips, 1, frames)
    assert torch.equal(tokens, expected["tokens"])
    audio = streamed(model.decoder, cut(model.quantizer.decode(tokens), 1))
    close(audio[..., -expected["waveform"].shape[2] :], expected["waveform"], 1e-5)


@torch.no_grad()
@pytest.mark.skipif("long" not in FRAMES, reason="the fixture is not in the source distribution")
def test_the_long_fixture_reaches_beyond_the_attention_window() -> None:
    """Frames from 512 on depend on the window; a longer window changes them and no others."""
    config, expected = released("long").config, outputs("long")
    assert config.window_frames == 512 < FRAMES["long"][1]
    wider = FocalCodec(replace(config, window_frames=1024)).eval()
    wider.load_state_dict(released("long").state_dict())
    features = wider.encoder.layers[0].offline(expected["audio"])
    differs = (features - expected["features"]).abs().amax((0, 1)) > 1e-4
    assert not differs[:512].any()
    assert differs[512:].any()


def test_released_folder_is_known(tmp_path: Path) -> None:
    assert is_released(RELEASED)
    assert not is_released(tmp_path)
    assert name_of(released().config) == "focal-2k"
    with pytest.raises(ValueError, match="no checkpoint of FocalCodec-Stream"):
        from_pretrained(tmp_path)


def changed(tmp_path: Path, part: str, **values: object) -> Path:
    about = json.loads((RELEASED / "config.json").read_text())
    about[part].update(values)
    (tmp_path / "config.json").write_text(json.dumps(about))
    shutil.copy(RELEASED / "model.safetensors", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("encoder_config", {"causal": False}, "does not stream"),
        ("encoder_config", {"num_layers": 3}, "does not fit"),
        ("encoder_config", {"num_layers": 10**6}, "tensors for 100"),
        ("encoder_config", {"dim": 10**9}, "a number beyond 1000000"),
        ("encoder_config", {"dim": "wide"}, "does not fit"),
        ("compressor_config", {"window_size": 32}, "window sizes"),
        ("compressor_config", {"hidden_dims": [64, 32, 64]}, "hidden_dims"),
    ],
)
def test_other_architectures_are_refused(
    tmp_path: Path, part: str, values: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        from_pretrained(changed(tmp_path, part, **values))


def test_tensors_too_many_or_too_few_are_refused(tmp_path: Path) -> None:
    folder = changed(tmp_path, "encoder_config")
    tensors = load_file(RELEASED / "model.safetensors")
    save_file(tensors | {"extra": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match="extra"):
        from_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        from_pretrained(folder)
    del tensors["decoder.head.proj.bias"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match="does not fit"):
        from_pretrained(folder)


def test_a_released_config_may_omit_values_of_the_paper() -> None:
    names = {"encoder": "WavLM", "compressor": "FocalEncoder"}
    names |= {"decompressor": "FocalDecoder", "decoder": "WaveNeXt"}
    about = {f"{part}_name": name for part, name in names.items()}
    about |= {f"{part}_config": {"causal": True} for part in names}
    for name in PAPER:
        config = CONFIGS[name][1]
        assert isinstance(config, FocalConfig)
        size = {"quantizer_config": {"codebook_size": config.codebook_size}}
        assert config_of(about | size) == config
        assert name_of(config) == name


def test_export_takes_a_released_folder_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`chirrup export` accepts a released folder and does not round its weights."""
    taken: dict[str, object] = {}

    def export(
        model: FocalCodec, name: str, *args: object, exact: bool, pseudo_gray: bool, like: None
    ) -> Parity:
        assert not pseudo_gray
        assert like is None
        taken.update(model=model, name=name, args=args, exact=exact)
        return Parity(1.0, -100.0)

    monkeypatch.setattr(exporting, "export", export)
    parity = export_checkpoint(RELEASED, tmp_path)
    assert parity == Parity(1.0, -100.0)
    assert (taken["name"], taken["exact"]) == ("focal-2k", True)
    folded = fold(released(), exact=True)
    for name, tensor in released().state_dict().items():
        assert torch.equal(folded.state_dict()[name], tensor)


# --- one stream ----------------------------------------------------------------------------------

SIGNAL = 0.3 * torch.randn(2, 1, 320 * 80, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("seed", range(5))
@torch.no_grad()
def test_encoder_in_random_chunks(seed: int) -> None:
    """The signal has 80 frames, five times the attention window."""
    encoder = narrow().encoder
    close(streamed(encoder, at_random(SIGNAL, 320, seed)), encoder.offline(SIGNAL), 1e-5)


@pytest.mark.parametrize("seed", range(5))
@torch.no_grad()
def test_decoder_in_random_chunks(seed: int) -> None:
    decoder, quantizer = narrow().decoder, narrow().quantizer
    codes = torch.randint(-1, 2**16, (2, 1, 80), generator=torch.Generator().manual_seed(seed))
    bits = quantizer.decode(codes)
    close(streamed(decoder, at_random(bits, 1, seed)), decoder.offline(bits), 1e-5)


@pytest.mark.parametrize("forget", ["past", "started", "seen", "keys", "values"])
@torch.no_grad()
def test_each_kind_of_state_is_needed(forget: str) -> None:
    encoder = narrow().encoder
    assert any(forget in name for name in encoder.initial_state(1))
    wrong = streamed(encoder, by_chunks(SIGNAL, 320), forget)
    assert float((wrong - encoder.offline(SIGNAL)).abs().max()) > 1e-3


@torch.no_grad()
def test_rows_are_independent_also_in_when_they_began() -> None:
    """In one call, one row continues from a state and another row starts."""
    encoder = narrow().encoder
    assert isinstance(encoder, Sequential)
    first, second = SIGNAL[:1], SIGNAL[1:]
    _, state = encoder(first[:, :, : 320 * 20], encoder.initial_state(1))
    fresh = encoder.initial_state(1)
    both = {name: torch.cat([state[name], fresh[name]]) for name in state}
    rest = torch.cat([first[:, :, 320 * 20 : 320 * 40], second[:, :, : 320 * 20]])
    y, _ = encoder(rest, both)
    close(y[:1], encoder.offline(first)[:, :, 20:40], 1e-5)
    close(y[1:], encoder.offline(second)[:, :, :20], 1e-5)


@torch.no_grad()
def test_a_frame_depends_on_no_later_chunk() -> None:
    encoder = narrow().encoder
    plain = encoder.offline(SIGNAL[:1])
    for frame in (40, 42, 43):
        changed = SIGNAL[:1].clone()
        changed[:, :, frame * 320] += 1
        differs = (encoder.offline(changed) - plain).abs().amax(1)[0] > 1e-6
        assert int(differs.int().argmax()) == 40


@torch.no_grad()
def test_whole_frames_are_seen_up_to_their_last_sample() -> None:
    """With `whole_frames` the encoder sees every sample of a chunk; the published models do not."""
    torch.manual_seed(0)
    model = FocalCodec(replace(FEW, whole_frames=True)).eval()
    encoder, plain = model.encoder, model.encoder.offline(SIGNAL[:1])
    close(streamed(encoder, at_random(SIGNAL, 320)), encoder.offline(SIGNAL), 1e-5)
    for sample, first in ((43 * 320 + 319, 40), (44 * 320, 44)):
        changed = SIGNAL[:1].clone()
        changed[:, :, sample] += 1
        differs = (encoder.offline(changed) - plain).abs().amax(1)[0] > 1e-6
        assert int(differs.int().argmax()) == first
    others = narrow().encoder
    changed = SIGNAL[:1].clone()
    changed[:, :, 43 * 320 + 319] += 1
    differs = (others.offline(changed) - others.offline(SIGNAL[:1])).abs().amax(1)[0] > 1e-6
    assert int(differs.int().argmax()) == 44


def test_receptive_field() -> None:
    """The receptive field of the encoder by `span` equals the receptive field by gradients."""
    model = narrow()
    audio = torch.randn(1, 1, 320 * 240, requires_grad=True)
    y = model.encoder.offline(audio)[0, :, 200].sum()
    (gradient,) = torch.autograd.grad(y, audio)
    seen = gradient[0, 0].nonzero()[:, 0]
    assert int(seen[-1]) == 203 * 320
    assert receptive_field_samples(model.encoder) == int(seen[-1] - seen[0]) + 1


def test_receptive_field_of_whole_frames() -> None:
    model = FocalCodec(replace(FEW, whole_frames=True)).eval()
    audio = torch.randn(1, 1, 320 * 240, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.encoder.offline(audio)[0, :, 200].sum(), audio)
    seen = gradient[0, 0].nonzero()[:, 0]
    assert int(seen[-1]) == 204 * 320 - 1
    assert receptive_field_samples(model.encoder) == int(seen[-1] - seen[0]) + 1


def test_trains() -> None:
    """Gradients reach every parameter."""
    torch.manual_seed(0)
    model = FocalCodec(FEW)
    ones = torch.ones(2, dtype=torch.long)
    audio, quantized = model(
        SIGNAL[:, :, : 320 * 40], ones, torch.zeros(2).bool(), torch.ones(2, 40).bool()
    )
    assert audio.shape == (2, 1, 480 * 40)
    assert quantized.codes.shape == (2, 1, 40)
    audio.square().mean().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
