"""Validation: its clips, their conditions and targets, and its scores."""

import shutil
from copy import deepcopy
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from torch.testing import assert_close

from chirrup.evaluate.metrics import score
from chirrup.lab.training.batches.audio_files import read_mono
from chirrup.lab.training.data_config import DataConfig
from chirrup.lab.training.losses.spectral_loss import SpectralLoss
from chirrup.lab.training.validation import NOISE_DB, clips, score_names, score_of, validate
from small_lrac import small_lrac
from small_model import RATE_HZ, small_iris
from tiny_training import write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def config(corpus: Path, *, enhance: bool, count: int = 3) -> DataConfig:
    return DataConfig(manifest=corpus, validation_clips=count, enhance=enhance)


def original(corpus: Path, index: int) -> Tensor:
    path = corpus.parent / "speech_test" / f"{index}.wav"
    return torch.from_numpy(read_mono(path, RATE_HZ))[None]


def power_db(x: Tensor) -> float:
    return float(10 * x.square().mean().log10())


def test_clips_are_their_own_targets(corpus: Path) -> None:
    pairs = clips(config(corpus, enhance=False), RATE_HZ)
    assert len(pairs) == 3
    for index, (heard, target) in enumerate(pairs):
        assert torch.equal(heard, original(corpus, index))
        assert torch.equal(target, heard)
    (only,) = clips(config(corpus, enhance=False, count=1), RATE_HZ)
    assert torch.equal(only[0], original(corpus, 0))


def test_clips_for_enhancement_are_noisy_reverberant_or_clean(corpus: Path) -> None:
    noisy, roomy, clean = clips(config(corpus, enhance=True), RATE_HZ)
    assert torch.equal(noisy[1], original(corpus, 0))
    noise = noisy[0] - noisy[1]
    assert power_db(noisy[1]) - power_db(noise) == pytest.approx(NOISE_DB, abs=0.01)
    third = RATE_HZ // 3
    assert_close(noise[:, third : 2 * third], noise[:, :third], atol=1e-4, rtol=0)  # it is short

    dry = original(corpus, 1)
    assert [x.shape for x in roomy] == [dry.shape] * 2
    assert not torch.allclose(roomy[0], dry, atol=1e-2)
    for x in roomy:
        assert power_db(x) == pytest.approx(power_db(dry), abs=0.01)
    late = roomy[0] / roomy[0][0, 100] - roomy[1] / roomy[1][0, 100]
    assert not late[:, :1000].abs().max() > 1e-3, "the first 50 ms are early"
    assert late.abs().max() > 1e-2

    assert torch.equal(clean[0], original(corpus, 2))
    assert torch.equal(clean[1], clean[0])


def test_clips_are_evenly_spaced(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path)
    for index in (3, 4):
        shutil.copy(tmp_path / "speech_test" / "0.wav", tmp_path / f"speech_test/{index}.wav")
    more = "speech_test/3.wav\nspeech_test/4.wav\n"
    manifest.write_text(manifest.read_text() + more)
    pairs = clips(config(manifest, enhance=False), RATE_HZ)
    for (clip, _), index in zip(pairs, (0, 1, 3), strict=True):
        assert torch.equal(clip, original(manifest, index))
    assert len(clips(config(manifest, enhance=False, count=9), RATE_HZ)) == 5
    assert clips(config(manifest, enhance=True, count=0), RATE_HZ) == []


@pytest.mark.parametrize("missing", ["noise_test", "rir"])
def test_a_corpus_without_noise_or_rooms_is_validated(tmp_path: Path, missing: str) -> None:
    manifest = write_corpus(tmp_path)
    lines = [line for line in manifest.read_text().splitlines() if not line.startswith(missing)]
    manifest.write_text("\n".join(lines) + "\n")
    pairs = clips(config(manifest, enhance=True), RATE_HZ)
    alike = [torch.equal(clip, target) for clip, target in pairs]
    assert alike == [missing == "noise_test", missing == "rir", True]


def test_figures_of_enhancement_include_the_input(corpus: Path) -> None:
    settings = {"bypass", "all", "lowest"}
    for enhance in (False, True):
        result = validate(deepcopy(small_iris()), config(corpus, enhance=enhance))
        kinds = settings | ({"input"} if enhance else set())
        expected = {f"{figure}_{kind}" for figure in ("pesq", "snr_db") for kind in kinds}
        assert set(result.figures) == expected
        assert set(result.audio) == set(result.spectrograms) == kinds | {"original"}
        assert torch.equal(result.audio["original"], original(corpus, 0))
    pairs = clips(config(corpus, enhance=True), RATE_HZ)
    assert torch.equal(result.audio["input"], pairs[0][0])
    clean_db = 10 * torch.log10(pairs[2][1].square().sum() / 1e-9)
    first_db, second_db = (power_db(y) - power_db(x - y) for x, y in pairs[:2])
    mean = (first_db + second_db + float(clean_db)) / 3
    assert result.figures["snr_db_input"] == pytest.approx(mean, abs=0.05)
    assert first_db == pytest.approx(NOISE_DB, abs=0.01)


def music(folder: Path, seconds: float) -> DataConfig:
    """Return a corpus of one clip of noise whose level rises by a factor of ten."""
    samples = round(seconds * RATE_HZ)
    random = np.random.default_rng(0)
    clip = 0.02 * random.standard_normal(samples) * 10 ** np.linspace(0, 1, samples)
    (folder / "music_test").mkdir()
    soundfile.write(folder / "music_test" / "0.wav", clip, RATE_HZ, subtype="FLOAT")
    (folder / "MANIFEST.csv").write_text("path\nmusic_test/0.wav\n")
    return DataConfig(
        manifest=folder / "MANIFEST.csv", validation="music_test", validation_score="lsd"
    )


def test_music_is_scored_by_evaluates_lsd(tmp_path: Path) -> None:
    """Music has the scores of `chirrup.evaluate` and no PESQ."""
    data = music(tmp_path, 1.0)
    result = validate(deepcopy(small_iris()), data)
    settings = ("bypass", "all", "half", "lowest")
    metrics = {"lsd": "lsd", "lsd_low": "lsd_low", "lsd_high": "lsd_high", "snr_db": "snr"}
    assert set(result.figures) == {f"{figure}_{s}" for figure in metrics for s in settings}
    original = result.audio["original"][0].numpy()
    for setting in settings:
        coded = result.audio[setting][0].numpy()
        for figure, metric in metrics.items():
            expected = score(metric, original, coded, RATE_HZ)
            assert result.figures[f"{figure}_{setting}"] == pytest.approx(expected, abs=1e-3)


def test_of_music_the_middle_is_scored(tmp_path: Path) -> None:
    data = music(tmp_path, 12.0)
    whole = torch.from_numpy(read_mono(tmp_path / "music_test" / "0.wav", RATE_HZ))[None]
    ((heard, target),) = clips(data, RATE_HZ)
    assert torch.equal(heard, target)
    assert torch.equal(heard, whole[:, RATE_HZ : 11 * RATE_HZ])
    ((speech, _),) = clips(data.model_copy(update={"validation_score": "auto"}), RATE_HZ)
    assert torch.equal(speech, whole)


@pytest.mark.parametrize(
    ("choice", "rate_hz", "expected"),
    [
        ("auto", 16_000, "pesq"),
        ("auto", 24_000, "pesq"),
        ("auto", 44_100, "lsd"),
        ("lsd", 24_000, "lsd"),
        ("pesq", 44_100, "pesq"),
    ],
)
def test_the_rate_decides_the_score_unless_the_recipe_does(
    choice: Literal["auto", "pesq", "lsd"], rate_hz: int, expected: str
) -> None:
    assert score_of(DataConfig(validation_score=choice), rate_hz) == expected


def test_music_is_coded_with_half_of_the_codebooks_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, model, books = music(tmp_path, 0.5), deepcopy(small_iris()), []
    decode = model.quantizer.decode
    monkeypatch.setattr(
        model.quantizer, "decode", lambda codes: books.append(codes.shape[1]) or decode(codes)
    )
    for fewest in (1, 3):
        validate(model, data, fewest)
    assert books == [4, 2, 2, 4, 3, 3], "all, lowest (here about 1 kbps), half but no fewer"


@pytest.mark.parametrize("music_score", [False, True])
def test_the_mel_loss_and_the_names_of_all_scores(
    corpus: Path, tmp_path: Path, music_score: bool
) -> None:
    """The loss is that of training, on clips of unit level."""
    data = music(tmp_path, 0.5) if music_score else config(corpus, enhance=True, count=1)
    mel, model = SpectralLoss(RATE_HZ, (256, 512), (20, 40)), deepcopy(small_iris())
    result = validate(model, data, 1, mel)
    names = [name for name in result.figures if not name.endswith("_input")]
    assert sorted(names) == sorted(score_names(model, data, 1))
    original, coded = result.audio["original"], result.audio["all"]
    level = original.square().mean().sqrt()
    expected = mel(coded / level, original / level, {"log_mel"})["log_mel"]
    assert result.figures["log_mel_all"] == pytest.approx(float(expected), rel=1e-4)


def test_silence_has_no_score(tmp_path: Path) -> None:
    data = music(tmp_path, 0.5)
    soundfile.write(tmp_path / "music_test" / "1.wav", np.zeros(RATE_HZ // 2), RATE_HZ)
    (tmp_path / "MANIFEST.csv").write_text("path\nmusic_test/0.wav\nmusic_test/1.wav\n")
    model = deepcopy(small_iris())
    both, one = (
        validate(model, data),
        validate(model, data.model_copy(update={"validation_clips": 1})),
    )
    assert both.figures == one.figures
    soundfile.write(tmp_path / "music_test" / "0.wav", np.zeros(RATE_HZ // 2), RATE_HZ)
    assert validate(model, data).figures == {}


def test_no_fewer_codebooks_than_the_training_knows_are_scored(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, books = deepcopy(small_iris()), []
    decode = model.quantizer.decode
    monkeypatch.setattr(
        model.quantizer, "decode", lambda codes: books.append(codes.shape[1]) or decode(codes)
    )
    for fewest in (1, 3):
        validate(model, config(corpus, enhance=False, count=1), fewest)
    assert books == [4, 2, 4, 3]


def test_the_lowest_bitrate_is_about_1_kbps_for_every_model(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The codebooks have 400 bps at 50 Hz and 600 bps at 100 Hz."""
    for model, expected in ((deepcopy(small_iris()), 2), (deepcopy(small_lrac()), 2)):
        books: list[int] = []
        decode = model.quantizer.decode

        def watched(codes: Tensor, decode=decode, books=books) -> Tensor:
            books.append(codes.shape[1])
            return decode(codes)

        monkeypatch.setattr(model.quantizer, "decode", watched)
        result = validate(model, config(corpus, enhance=False, count=1))
        assert books == [model.codebooks, expected]
        assert all(x.shape == (1, RATE_HZ) for x in result.audio.values())
