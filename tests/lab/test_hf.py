"""The adapter to transformers, with its real base classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")

import torch  # noqa: E402
from transformers import AutoFeatureExtractor, AutoModel  # noqa: E402
from transformers.modeling_utils import PreTrainedAudioTokenizerBase  # noqa: E402

import chirrup  # noqa: E402
from chirrup.lab.hf import ChirrupModel  # noqa: E402
from small_model import Exported, speech_like  # noqa: E402

pytest_plugins = ["models_fixture"]
LENGTHS = (9600, 4801, 24_000)


@pytest.fixture(scope="module")
def model(small_export: Exported) -> ChirrupModel:
    return ChirrupModel.from_pretrained(small_export.folder)


def signals() -> list[np.ndarray]:
    return [speech_like(samples, seed) for seed, samples in enumerate(LENGTHS)]


def inputs(model: ChirrupModel) -> Any:
    """Return the batch of the signals, as the feature extractor pads it."""
    return model.feature_extractor()(signals(), sampling_rate=24_000, return_tensors="pt")


def test_a_batch_has_the_codes_and_the_audio_of_its_signals(model: ChirrupModel) -> None:
    assert isinstance(model, PreTrainedAudioTokenizerBase)
    batch, codec = inputs(model), model.codec
    assert batch["input_values"].shape == (3, 1, 24_000)
    coded = model.encode(**batch, num_quantizers=2)
    expected = codec.encode_batch(signals(), codec.bitrates_bps[1])
    frames = [codes.frames for codes in expected]
    assert coded.audio_codes.shape == (3, 2, max(frames))
    assert coded.audio_codes.dtype == torch.int64
    assert coded.audio_codes_mask.sum(dim=1).tolist() == frames
    for row, codes in zip(coded.audio_codes, expected):
        np.testing.assert_array_equal(row[:, : codes.frames], codes.data)
        assert (row[:, codes.frames :] == -1).all()
    for mask in (coded.audio_codes_mask, None):
        decoded = model.decode(coded.audio_codes, batch["padding_mask"], mask).audio_values
        assert decoded.shape == (3, 1, 24_000)
        for row, codes in zip(decoded, expected):
            np.testing.assert_array_equal(row[0, : codes.samples], codec.decode(codes))
            assert not row[0, codes.samples :].any()


def test_one_call_codes_and_decodes(model: ChirrupModel) -> None:
    batch = inputs(model)
    whole = model(**batch, bandwidth=model.config.target_bandwidths[0])
    assert whole.audio_codes.shape[1] == 1
    again = model(batch["input_values"], batch["padding_mask"], audio_codes=whole.audio_codes)
    torch.testing.assert_close(again.audio_values, whole.audio_values, rtol=0, atol=0)
    codes, mask, audio = model(**batch, num_quantizers=1, return_dict=False)
    torch.testing.assert_close(audio, whole.audio_values, rtol=0, atol=0)
    assert codes.shape[::2] == mask.shape
    alone = model(batch["input_values"][2:].to(torch.float64))
    longest = len(alone.audio_values[0, 0])
    torch.testing.assert_close(
        model(**batch).audio_values[2:, :, :longest], alone.audio_values, rtol=0, atol=0
    )


def test_the_auto_classes_load_a_saved_model(model: ChirrupModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "saved")
    saved = AutoModel.from_pretrained(tmp_path / "saved")
    assert isinstance(saved, ChirrupModel)
    assert saved.config.sampling_rate == 24_000
    assert saved.config.num_quantizers == 4
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "saved")
    batch = extractor(signals()[1], sampling_rate=24_000, return_tensors="pt")
    assert torch.equal(saved.encode(**batch).audio_codes, model.encode(**batch).audio_codes)
    assert chirrup.load(tmp_path / "saved").name == "small"
    assert str(tmp_path) not in (tmp_path / "saved" / "config.json").read_text()


def test_joint_channels_and_other_rates() -> None:
    model = ChirrupModel.from_pretrained("spectro-small")
    stereo = np.stack([speech_like(9600, seed) for seed in range(2)])
    batch = model.feature_extractor()(stereo, sampling_rate=48_000, return_tensors="pt")
    assert batch["input_values"].shape == (1, 2, 9600)
    output = model(**batch)
    assert output.audio_values.shape == (1, 2, 9600)
    speech = ChirrupModel.from_pretrained("focal-small")
    assert speech(torch.zeros(1, 1, 8000)).audio_values.shape == (1, 1, 12_000)


def test_a_repository_of_the_hub(model: ChirrupModel, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = []

    def download(address: str) -> Path:
        addresses.append(address)
        return model.codec.folder

    monkeypatch.setattr("chirrup.model_folders.download", download)
    ChirrupModel.from_pretrained("bird/song", revision="v1")
    ChirrupModel.from_pretrained("hf://bird/song")
    assert addresses == ["hf://bird/song@v1", "hf://bird/song"]


def test_wrong_arguments(model: ChirrupModel) -> None:
    audio, mask = torch.zeros(1, 1, 960), torch.ones(1, 960)
    mask[0, 0] = 0
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"input_values": torch.zeros(1, 2, 960)}, r"\[batch, 1, samples\].*into the batch"),
        ({"input_values": audio, "padding_mask": mask}, "pad at the end"),
        ({"input_values": audio, "padding_mask": mask[0]}, r"must be \[1, 960\], got \[960\]"),
        ({"input_values": audio, "padding_mask": mask[:, :9]}, r"must be \[1, 960\], got \[1, 9\]"),
        ({"input_values": audio[:0]}, "have no signals"),
        ({"input_values": audio.long()}, "must be floating point"),
        ({"input_values": audio, "num_quantizers": "1"}, "num_quantizers is '1', must be from 1"),
        ({"input_values": audio, "bandwidth": float("inf")}, "bandwidth is inf, must be a number"),
        ({"input_values": audio, "num_quantizers": 5}, "num_quantizers is 5, must be from 1 to 4"),
        ({"input_values": audio, "num_quantizers": 1, "bandwidth": 1}, "give one of them"),
        ({"input_values": audio, "bandwidth": 9.0}, "has no bitrate of 9000 bit/s"),
    )
    for arguments, words in cases:
        with pytest.raises(ValueError, match=words):
            model.encode(**arguments)
    extract = model.feature_extractor()
    with pytest.raises(ValueError, match="is 16000 Hz, but the model takes 24000 Hz"):
        extract(np.zeros(960), sampling_rate=16_000)
    with pytest.raises(ValueError, match=r"\[2, 960\], must be \[1, samples\]"):
        extract(np.zeros((2, 960)))
    for wrong in ([], [np.zeros(0)], np.full(9, np.nan), np.zeros(960, np.int16)):
        with pytest.raises(ValueError, match=r"has no signals|not empty|not finite|floating point"):
            extract(wrong)
    codes = torch.zeros(2, 4, 10, dtype=torch.int64)
    for wrong in (codes[0], codes[:0], codes[:, :, :0]):
        with pytest.raises(ValueError, match=r"\[batch, codebooks, frames\], not empty"):
            model.decode(wrong)
    with pytest.raises(ValueError, match=r"audio_codes_mask must be \[2, 10\], got \[2, 3\]"):
        model.decode(codes, audio_codes_mask=torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"padding_mask must be \[2, time\], got \[1, 960\]"):
        model.decode(codes, mask)
    with pytest.raises(ValueError, match="uploads nothing: run hf upload owner/name folder"):
        model.save_pretrained("folder", push_to_hub=True)


def test_arrays_and_other_types_are_taken(model: ChirrupModel) -> None:
    extract, expected = model.feature_extractor(), model.encode(**inputs(model)).audio_codes
    arrays: Any = extract(signals(), sampling_rate=24_000)
    assert isinstance(arrays["padding_mask"], np.ndarray)
    coded = model.encode(**arrays)
    assert torch.equal(coded.audio_codes, expected)
    codes, mask = coded.audio_codes.numpy(), coded.audio_codes_mask.numpy()
    decoded = model.decode(codes, arrays["padding_mask"])
    assert decoded.audio_values.shape == (3, 1, 24_000)
    for given in ({}, {"audio_codes": codes, "audio_codes_mask": mask}):
        again = model(**arrays, **given)
        assert torch.equal(again.audio_values, decoded.audio_values)
        assert torch.equal(again.audio_codes, expected)
    tensor = torch.from_numpy(signals()[0]).bfloat16().requires_grad_()
    row = extract(tensor)["input_values"][0, 0]
    assert np.array_equal(row, tensor.detach().float().numpy())
