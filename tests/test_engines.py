"""The choice of the engine, and the agreement of both engines on the shipped models."""

import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

import chirrup
from chirrup.engines import VARIABLE
from chirrup.installation import self_test
from chirrup.runtime import native
from chirrup.runtime.native import PROGRAM
from chirrup.zoo import FOLDER
from installed_engines import needs_native
from rounding import error_db
from small_model import Exported

pytest_plugins = ["models_fixture"]

CLIP = Path(chirrup.__file__).parent / "clips" / "joe.flac"
BOTH = [name for name in chirrup.models() if (FOLDER / name / PROGRAM).exists()]
"""Shipped models that run in both engines."""
EARLIER = sorted(path.parent.name for path in FOLDER.glob("*@*/encoder.onnx"))
"""Earlier weights that run in both engines."""


def speech(codec: chirrup.Codec) -> np.ndarray:
    audio, rate_hz = soundfile.read(CLIP, dtype="float32")
    return soxr.resample(audio, rate_hz, codec.input_rate_hz)[: 4 * codec.input_rate_hz]


def test_the_models_with_programs() -> None:
    assert BOTH == ["iris-t1", "iris-t2", "lrac-t1", "lrac-t2", "tq-small"]


@needs_native
@pytest.mark.parametrize("name", BOTH)
def test_both_engines_give_the_same_codes_and_audio(name: str) -> None:
    fast, other = (chirrup.load(name, engine=engine) for engine in ("native", "onnx"))
    codes = fast.encode(speech(fast))
    expected = other.encode(speech(other))
    assert (codes.data == expected.data).mean() >= 0.9999
    assert error_db(fast.decode(expected), other.decode(expected)) < -80


@needs_native
@pytest.mark.parametrize("name", EARLIER)
def test_both_engines_decode_alike_with_earlier_weights(name: str) -> None:
    """Their encoders were rounded to 8 bits in the form of each engine. They are for decoding."""
    fast, other = (chirrup.load(name, engine=engine) for engine in ("native", "onnx"))
    codes = fast.encode(speech(fast))
    assert error_db(fast.decode(codes), other.decode(codes)) < -80


@needs_native
@pytest.mark.parametrize("name", BOTH)
def test_a_live_stream_is_bit_equal_to_a_whole_signal(name: str) -> None:
    codec = chirrup.load(name, engine="native")
    audio = speech(codec)[: 100 * codec.input_frame_samples]
    encoder, decoder = codec.encoder(), codec.decoder()
    packets = [*encoder.push(audio), *encoder.flush()]
    live = np.concatenate([decoder.push(packet) for packet in packets])
    whole = codec.decode(codec.encode(audio))
    start = codec.delay_samples
    assert np.array_equal(live[start : start + len(whole)], whole)


@needs_native
def test_the_native_engine_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [chirrup.load(name).engine for name in ("iris-t1", "focal-small")] == ["native", "onnx"]
    monkeypatch.setenv(VARIABLE, "onnx")
    assert chirrup.load("iris-t1").engine == "onnx"
    assert chirrup.load("iris-t1", engine="native").engine == "native"


@needs_native
def test_the_variable_is_a_preference(
    small_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "native")
    assert chirrup.load("focal-small").engine == "onnx"
    monkeypatch.setenv(VARIABLE, "onnx")
    for name in ("model.json", "model.chirp"):
        shutil.copy(small_export.folder / name, tmp_path)
    assert chirrup.load(tmp_path).engine == "native"


@needs_native
@pytest.mark.parametrize("pickled", [False, True])
def test_a_program_that_is_exchanged_after_the_check_is_refused(
    tmp_path: Path, pickled: bool
) -> None:
    folder = shutil.copytree(FOLDER / "lrac-t1", tmp_path / "model")
    codec = chirrup.load(folder)
    if pickled:
        codec.encode(np.zeros(480, np.float32))
    saved = pickle.dumps(codec)
    shutil.copy(FOLDER / "lrac-t2" / "model.chirp", folder)
    with pytest.raises(chirrup.ModelError, match="was exchanged"):
        (pickle.loads(saved) if pickled else codec).encode(np.zeros(480, np.float32))


@needs_native
def test_a_program_of_other_codebooks_is_refused() -> None:
    codec = chirrup.load("lrac-t1", engine="native")
    program = native.Program(codec.folder / native.PROGRAM)
    sizes = codec.frame_samples, codec.codebooks
    native.NativeEngine(program, "decoder", *sizes, 1024)
    with pytest.raises(chirrup.ModelError, match=r"have 1024 entries, model\.json states 2048"):
        native.NativeEngine(program, "decoder", *sizes, 2048)


@needs_native
def test_a_program_of_a_newer_version_is_not_called_damaged(tmp_path: Path) -> None:
    content = bytearray((FOLDER / "lrac-t1" / native.PROGRAM).read_bytes())
    content[8] = 2
    path = tmp_path / native.PROGRAM
    path.write_bytes(content)
    with pytest.raises(chirrup.ModelError, match="not supported; use a newer") as caught:
        native.Program(path)
    assert "damaged" not in str(caught.value)


@needs_native
@pytest.mark.parametrize(("dtype", "shape"), [("f8", (1, -1)), ("f4", (-1,)), ("f4", (1, 3))])
def test_a_state_of_another_shape_is_refused(dtype: str, shape: tuple[int, ...]) -> None:
    encoder, _ = chirrup.load("lrac-t1", engine="native").engines()
    saved = encoder.save(encoder.initial_state())["native"]
    wrong = saved[0, :3] if 3 in shape else saved
    with pytest.raises(ValueError, match=r"must be float32 \[batch, .*a state that save"):
        encoder.restore({"native": wrong.astype(dtype).reshape(shape)})


@needs_native
@pytest.mark.parametrize(
    ("part", "shape", "batch"),
    [
        *((0, shape, 1) for shape in [(1, 2, 480), (1, 1, 500), (1, 0, 480), (480,)]),
        *((1, shape, 1) for shape in [(1, 3, 4), (1, 0, 4), (6, 4)]),
        *((part, shape, 2) for part, shape in [(0, (1, 1, 480)), (1, (1, 6, 4))]),
    ],
)
def test_an_input_of_another_shape_is_refused(
    part: int, shape: tuple[int, ...], batch: int
) -> None:
    engine = chirrup.load("lrac-t1", engine="native").engines()[part]
    with pytest.raises(ValueError, match=r"must be \[batch, |the state is of a batch of 2"):
        engine(np.zeros(shape, [np.float32, np.int32][part]), engine.initial_state(batch))


@needs_native
def test_an_encoder_that_computes_no_numbers_is_an_error() -> None:
    encoder, _ = chirrup.load("lrac-t1", engine="native").engines()
    state = encoder.initial_state()
    state[:] = np.nan
    with pytest.raises(chirrup.ModelError, match="codes that are not from 0 to 1023"):
        encoder(np.zeros((1, 1, 240), np.float32), state)


@needs_native
def test_a_missing_program_leads_to_the_other_engine(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER / "lrac-t1", tmp_path / "model")
    (folder / native.PROGRAM).unlink()
    with pytest.raises(chirrup.ModelError, match=r"is missing: .* or use the engine 'onnx'"):
        chirrup.load(folder)
    assert chirrup.load(folder, engine="onnx").engine == "onnx"


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", None])
def test_a_wrong_number_of_threads_is_refused(threads: Any) -> None:
    with pytest.raises(ValueError, match="threads must be an integer from 1 on"):
        chirrup.load("lrac-t1", threads=threads)


@needs_native
def test_a_library_that_does_not_load_is_explained(
    small_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / native.LIBRARY).write_bytes(b"garbage")
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    monkeypatch.setattr(native, "library", native.library.__wrapped__)
    assert native.library() is None
    with pytest.raises(chirrup.ModelError, match=r"does not load: .*: install chirrup again"):
        chirrup.load(small_export.folder, engine="native")


def test_an_unknown_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fast", ""):
        with pytest.raises(chirrup.UsageError, match=f"engine is '{name}', must be native or onnx"):
            chirrup.load("iris-t1", engine=name)
    monkeypatch.setenv(VARIABLE, "slow")
    with pytest.raises(chirrup.UsageError, match="variable CHIRRUP_ENGINE is 'slow', must be"):
        chirrup.load("iris-t1")


def test_a_model_without_a_program_is_not_run_natively() -> None:
    with pytest.raises(chirrup.ModelError, match=r"model.json names no model\.chirp"):
        chirrup.load("focal-small", engine="native")


def test_without_the_library_models_run_in_onnx_runtime(
    small_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "library", lambda: None)
    assert chirrup.load(small_export.folder).engine == "onnx"
    with pytest.raises(chirrup.ModelError, match="install chirrup again, use the engine 'onnx'"):
        chirrup.load(small_export.folder, engine="native")


@needs_native
def test_a_model_of_a_program_alone_needs_the_native_engine(
    small_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("model.json", native.PROGRAM):
        shutil.copy(small_export.folder / name, tmp_path)
    monkeypatch.setenv(VARIABLE, "onnx")
    assert chirrup.load(tmp_path).engine == "native"
    monkeypatch.setattr(native, "library", lambda: None)
    with pytest.raises(chirrup.ModelError, match="install chirrup again, or compile the engine"):
        chirrup.load(tmp_path)
    monkeypatch.setattr(self_test, "FOLDER", tmp_path.parent)
    checked = self_test.check_model(tmp_path.name)
    assert checked.state == "not run"
    assert checked.text.startswith("only the native engine runs it")


def test_a_missing_onnxruntime_is_named(
    small_export: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "chirrup.runtime.graph", None)
    codec = chirrup.load(small_export.folder, engine="onnx")
    with pytest.raises(chirrup.ModelError, match=r"pip install 'chirrup\[onnx\]'"):
        codec.encode(np.zeros(480, np.float32))
