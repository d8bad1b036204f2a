"""The native engine against the layers in PyTorch: codes, audio, and frames against blocks.

Each test runs with the kernels of every instruction set that this processor has.
"""

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from chirrup.errors import ModelError
from chirrup.lab.export.folding import DecoderGraph, EncoderGraph, fold, for_export
from chirrup.lab.export.program import program_of
from chirrup.lab.export.program_file import read, write
from chirrup.lab.export.program_int8 import (
    exact_int8,
    has_matrices,
    int8_decoder,
    levels_of,
    matrices,
    place_of_mark,
    store,
)
from chirrup.lab.models.tqcodec import TQCodec, TQConfig
from chirrup.lab.nn import Conv1d, Sequential
from chirrup.runtime import native
from chirrup.runtime.native import NativeEngine, Program
from small_lrac import small_lrac
from small_model import small_iris, speech_like
from small_programs import all_int8
from small_spectro import small_spectro

FRAMES = 40
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def built(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compile the library for this test."""
    folder = tmp_path_factory.mktemp("native")
    command = [sys.executable, str(ROOT / "native" / "build.py"), "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"there is no C compiler: {done.stderr}")
    native.library.cache_clear()
    native.FOLDER = folder


@cache
def small_tq() -> TQCodec:
    """Return a small TQCodec with an LSTM, transposed convolutions and shortcuts."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = TQConfig(
            encoder_dim=4, decoder_dim=4, latent_dim=32, codebooks=3, codebook_size=64
        )
        model = TQCodec(config).eval().requires_grad_(False)
        audio = torch.from_numpy(np.stack([speech_like(12_800, seed) for seed in range(4)]))
        model.start(audio[:, None])
    return model


MODELS = {"iris": small_iris, "lrac": small_lrac, "tqcodec": small_tq}
CASES = [(name, kind) for name in MODELS for kind in ("float32", "float16", "int8", "stored")]
"""``int8``: the decoder with rounded inputs; ``stored``: both parts with exact inputs."""
ALL_CASES = [*CASES, *((name, "rounded") for name in MODELS)]
"""``rounded``: both parts with rounded inputs."""
KERNELS = (0, 1, 2, 3)
"""Numbers of `chirrup_use_kernels`: the best kernels of this processor, and those below them."""


@cache
def parts(name: str, kind: str) -> tuple[EncoderGraph, DecoderGraph]:
    """Return the parts of a model with weights that are exact in a program of this kind."""
    both = for_export(fold(MODELS[name](), compact=kind == "stored"))
    for parameter in (p for part in both for p in part.parameters() if kind == "float16"):
        parameter.data = parameter.data.half().float()
    return both


@cache
def program(name: str, kind: str) -> bytes:
    """Return a program in whose file there are weights of this kind."""
    step = MODELS[name]().frame_samples
    content = program_of(*parts(name, kind), step)
    if kind == "int8":
        content = int8_decoder(content)
    elif kind == "stored":
        content = exact_int8(content, least=0)
    elif kind == "rounded":
        content = all_int8(content, inputs_rounded=True)
    place = {"float32": 16, "float16": 20}.get(kind, 40)
    assert int.from_bytes(content[place : place + 4], "little") > 0
    return content


def engines(
    name: str, kind: str, folder: Path, kernels: int = 0
) -> tuple[NativeEngine, NativeEngine]:
    path = folder / native.PROGRAM
    path.write_bytes(program(name, kind))
    opened = Program(path)
    if opened.library.chirrup_use_kernels(opened.handle, kernels):
        pytest.skip("this processor has fewer instruction sets")
    model = MODELS[name]()
    sizes = model.frame_samples, model.codebooks, model.codebook_size
    return NativeEngine(opened, "encoder", *sizes), NativeEngine(opened, "decoder", *sizes)


@cache
def computed_by_layers(name: str, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return audio of two streams, its codes, of which some are removed, and their sound."""
    model, (encoder, decoder) = MODELS[name](), parts(name, kind)
    audio = np.stack([speech_like(FRAMES * model.frame_samples, seed) for seed in (1, 2)])
    states = [part.initial_state(2).values() for part in (model.encoder, model.decoder)]
    with torch.no_grad():
        codes = encoder(torch.from_numpy(audio), *states[0])[0].numpy()
        codes[:, 1:, 5] = -1
        codes[:, :, 9] = -1
        sound = decoder(torch.from_numpy(codes), *states[1])[0].numpy()
    return audio, codes, sound


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_program_computes_what_the_layers_compute(
    name: str, kind: str, kernels: int, tmp_path: Path
) -> None:
    encode, decode = engines(name, kind, tmp_path, kernels)
    audio, codes, sound = computed_by_layers(name, kind)
    found, _ = encode(audio[:, None], encode.initial_state(2))
    absent = codes < 0
    assert (found == codes)[~absent].mean() > 0.99
    made, _ = decode(codes, decode.initial_state(2))
    error = np.square(made[:, 0] - sound).mean() / np.square(sound).mean()
    assert 10 * np.log10(error) < {"int8": -25, "stored": -75}.get(kind, -80)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(("name", "kind"), ALL_CASES)
def test_frames_are_bit_equal_to_blocks(name: str, kind: str, kernels: int, tmp_path: Path) -> None:
    encode, decode = engines(name, kind, tmp_path, kernels)
    step = MODELS[name]().frame_samples
    audio = speech_like(FRAMES * step, 3)[None, None]
    codes, _ = encode(audio, encode.initial_state())
    sound, _ = decode(codes, decode.initial_state())
    before, after, pieces = encode.initial_state(), decode.initial_state(), []
    for start in range(0, FRAMES, 3):
        stop = min(FRAMES, start + 3)
        kept = before.copy()
        found, new = encode(audio[:, :, start * step : stop * step], before)
        assert np.array_equal(before, kept), "a state is never changed"
        assert np.array_equal(found, codes[:, :, start:stop])
        before = encode.restore(encode.save(new))
        made, after = decode(found, after)
        pieces.append(made)
    assert np.array_equal(np.concatenate(pieces, axis=2), sound)


def test_a_channel_in_the_middle_is_computed_like_any_other(tmp_path: Path) -> None:
    """Only the last convolution computes several samples as channels."""
    model = small_lrac()
    encoder, decoder = for_export(fold(model))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        more = [Conv1d(1, 4, 3), Conv1d(4, 1, 3), Conv1d(1, 4, 2), Conv1d(4, 1, 5)]
    for layer in more:
        layer.requires_grad_(False)
    decoder.decoder = Sequential(*cast(Sequential, decoder.decoder).layers, *more)
    path = tmp_path / native.PROGRAM
    path.write_bytes(program_of(encoder, decoder, model.frame_samples))
    decode = NativeEngine(Program(path), "decoder", model.frame_samples, model.codebooks, 64)
    codes = torch.randint(0, 64, (1, 3, FRAMES), generator=torch.Generator().manual_seed(0)).int()
    states = decoder.decoder.initial_state(1)
    decoder.names = list(states)
    expected = decoder(codes, *states.values())[0].numpy()
    made, _ = decode(codes.numpy(), decode.initial_state())
    assert np.square(made[:, 0] - expected).mean() < 1e-8 * np.square(expected).mean()


def test_a_model_with_other_layers_has_no_program() -> None:
    encoder, decoder = for_export(fold(small_spectro()))
    with pytest.raises(NotImplementedError, match="the native engine has no"):
        program_of(encoder, decoder, 480)


def test_a_program_is_read_and_written_without_a_change() -> None:
    """With int8 weights, whose values are read again too."""
    for name, kind in (("iris", "float32"), ("tqcodec", "float16"), ("iris", "int8")):
        assert write(*read(program(name, kind))) == program(name, kind)
    (_, decoder), _ = read(program("tqcodec", "rounded"))
    for own in (own for own in decoder.operations if has_matrices(own)):
        before, matrix = [array.copy() for array in own.weights], matrices(own)
        for inputs_rounded in (False, True):
            store(own, levels_of(matrix), inputs_rounded=inputs_rounded)
            np.testing.assert_allclose(matrices(own), matrix, rtol=1e-6)
        for array, old in zip(own.weights, before, strict=True):
            np.testing.assert_allclose(array.ravel(), old[: array.size], rtol=1e-6)
    with pytest.raises(ModelError, match="the program is damaged"):
        read(program("iris", "int8")[:1000])


@pytest.mark.parametrize("kind", ["rounded", "stored"])
def test_int8_weights_are_checked_at_opening(kind: str, tmp_path: Path) -> None:
    """The last matrix lacks a unit of weights; the mark of exact inputs is neither 0 nor 1."""
    for damage in ("weights", "mark"):
        parts, block_frames = read(program("iris", kind))
        own = [own for part in parts for own in part.operations if has_matrices(own)][-1]
        if damage == "weights":
            own.weights[0] = own.weights[0][:-16] ^ 1  # its own, behind all others
        else:
            own.numbers[place_of_mark(own)] = 2
        path = tmp_path / native.PROGRAM
        path.write_bytes(write(parts, block_frames))
        with pytest.raises(ModelError, match="an operation of the program file is damaged"):
            Program(path)


def test_a_damaged_program_is_refused(tmp_path: Path) -> None:
    engines("lrac", "float32", tmp_path)
    path = tmp_path / native.PROGRAM
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is damaged"):
        Program(path)
