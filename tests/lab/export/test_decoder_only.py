"""Models that only decode: equal audio, fewer files, and clear errors of all that encodes."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.cli import run
from chirrup.lab.export.decoder_only import without_encoder
from chirrup.lab.export.program_file import read
from chirrup.lab.training.export import export_decoder_only
from chirrup.runtime.native import PROGRAM
from installed_engines import INSTALLED, needs_native
from small_model import Exported, speech_like

pytest_plugins = ["models_fixture"]

NATIVE = Path(__file__).parents[3] / "native"
ENCODER_FILES = {"encoder.onnx", "encoder-frame.onnx"}


@pytest.fixture(scope="module")
def folder(small_export: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model without its encoder."""
    out = tmp_path_factory.mktemp("models") / "player"
    export_decoder_only(small_export.folder, out)
    return out


def test_it_has_no_file_and_no_weight_of_the_encoder(small_export: Exported, folder: Path) -> None:
    names, whole = ({path.name for path in one.iterdir()} for one in (folder, small_export.folder))
    assert names == whole - ENCODER_FILES
    for name in ("model.safetensors", PROGRAM) if PROGRAM in whole else ["model.safetensors"]:
        size, before = ((one / name).stat().st_size for one in (folder, small_export.folder))
        assert size < 0.8 * before
    about = json.loads((folder / "model.json").read_text())
    assert about["states"]["encoder"] == {}
    assert set(about["weights"]) == {"decoder", "decoder-frame"}


@pytest.mark.parametrize("engine", INSTALLED)
def test_it_decodes_to_the_same_samples(small_export: Exported, folder: Path, engine: str) -> None:
    whole, player = (chirrup.load(one, engine=engine) for one in (small_export.folder, folder))
    assert (whole.has_encoder, player.has_encoder) == (True, False)
    assert player.codes_sha256 == whole.codes_sha256
    codes = whole.encode(speech_like(2 * whole.sample_rate_hz, seed=5))
    assert np.array_equal(player.decode(codes), whole.decode(codes))
    packets = whole.encoder().push(speech_like(whole.sample_rate_hz, seed=6))
    first, second = whole.decoder(), player.decoder()
    for packet in packets:
        assert np.array_equal(first.push(packet), second.push(packet))
    assert np.array_equal(player.code_vectors, whole.code_vectors)


@pytest.mark.parametrize("engine", INSTALLED)
def test_encoding_is_refused(folder: Path, engine: str) -> None:
    codec = chirrup.load(folder, engine=engine)
    audio = np.zeros(codec.frame_samples, np.float32)
    for action in (
        lambda: codec.encode(audio),
        codec.encoder,
        codec.engines,
        lambda: codec.encode_batch([audio]),
    ):
        with pytest.raises(chirrup.ModelError, match="only decodes, it has no encoder"):
            action()


@pytest.mark.parametrize(
    "command",
    [
        ["encode", "clip.wav", "out.chirrup"],
        ["encode", "clips", "--out", "out"],
        ["tokenize", "clip.wav", "--out", "out"],
        ["bare", "clip.wav", "out.bin"],
        ["message", "clip.wav", "out"],
        ["send", "clip.wav", "127.0.0.1:9"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_commands_that_encode_leave_nothing(
    folder: Path,
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("clip.wav", speech_like(24_000, seed=5), 24_000)
    shutil.copytree(tmp_path, tmp_path / "clips")
    assert run([*command, "--model", str(folder)]) == 2
    assert "only decodes, it has no encoder" in " ".join(capsys.readouterr().err.split())
    assert {path.name for path in tmp_path.iterdir()} == {"clip.wav", "clips"}
    assert [path.name for path in (tmp_path / "clips").iterdir()] == ["clip.wav"]


def test_an_evaluation_is_refused_before_it_codes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "clip.wav", speech_like(24_000, seed=5), 24_000)
    command = ["evaluate", str(tmp_path), "-m", "snr", "--out", str(tmp_path / "out")]
    assert run([*command, "-c", str(folder)]) == 2
    assert "only decodes, it has no encoder" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_the_command_replaces_a_whole_model_and_combines_with_8_bits(
    small_export: Exported, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    shutil.copytree(small_export.folder, out)
    (out / "README.md").write_text("mine")
    assert run(["export", str(small_export.folder), str(out), "--decoder-only"]) == 0
    assert not chirrup.load(out).has_encoder
    names = {path.name for path in out.iterdir()}
    assert not names & ENCODER_FILES
    assert "README.md" in names
    options = ["--decoder-only", "--int8", "stored"]
    new = str(tmp_path / "new" / "model")
    assert run(["export", str(small_export.folder), new, *options]) == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model"]
    sizes = [(one / "model.safetensors").stat().st_size for one in (tmp_path / "new/model", out)]
    assert sizes[0] < sizes[1]


def test_it_can_be_described_saved_and_exported_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["info", str(folder)]) == 0
    assert "encoder:   none, the model only decodes" in capsys.readouterr().out
    chirrup.load(folder).save_pretrained(tmp_path / "saved")
    assert not chirrup.load(tmp_path / "saved").has_encoder
    assert run(["export", str(folder), str(tmp_path / "again"), "--decoder-only"]) == 2
    assert "only decodes" in " ".join(capsys.readouterr().err.split())


def test_one_graph_of_an_encoder_is_not_a_whole_model(small_codec: chirrup.Codec) -> None:
    weights = {name: x for name, x in small_codec.spec.weights.items() if name != "encoder"}
    with pytest.raises(ValueError, match="weights has no encoder"):
        replace(small_codec.spec, weights=weights, graphs_sha256={})


@needs_native
def test_the_program_keeps_the_frames_and_the_decoder(small_export: Exported, folder: Path) -> None:
    content = (small_export.folder / PROGRAM).read_bytes()
    (encoder, decoder), block_frames = read(content)
    (absent, same), frames = read(without_encoder(content))
    assert (absent.operations, len(absent.values), frames) == ([], 0, block_frames)
    assert (absent.sizes, same.sizes) == (encoder.sizes, decoder.sizes)
    assert [own.kind for own in same.operations] == [own.kind for own in decoder.operations]
    assert (folder / PROGRAM).read_bytes() == without_encoder(content)


@needs_native
@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_the_engine_in_javascript_refuses_to_encode(folder: Path, tmp_path: Path) -> None:
    build = [sys.executable, str(NATIVE / "build.py"), "--target", "wasm32-freestanding"]
    subprocess.run([*build, "--out", str(tmp_path)], check=True, stdout=subprocess.DEVNULL)
    wasm = json.dumps(str(tmp_path / "chirrup.wasm"))
    script = f"""
    import {{ readFileSync }} from "node:fs";
    import {{ Engine }} from {json.dumps((NATIVE / "wasm" / "chirrup.js").as_uri())};
    const module = new WebAssembly.Module(readFileSync({wasm}));
    const program = new Engine(module).open(new Uint8Array(readFileSync(process.argv[1])));
    const codes = new Int32Array(program.codebooks).fill(3);
    console.log(program.decoder().run(codes).length);
    try {{ program.encoder(); }} catch (error) {{ console.log(error.message); }}
    """
    command = ["node", "--input-type=module", "-e", script, str(folder / PROGRAM)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    frame = chirrup.load(folder).frame_samples
    assert done.stdout == f"{frame}\nthe program has no encoder, it only decodes\n"
