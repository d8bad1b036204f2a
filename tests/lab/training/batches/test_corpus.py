"""Recordings in memory and streamed give equal batches, bit-equal at the rate of the file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from torch.testing import assert_close

import chirrup.lab.training.batches.corpus as corpus_module
from chirrup.data.manifest import Entry, read_manifest
from chirrup.data.prepare import prepare
from chirrup.data.recipe import recipe_of
from chirrup.errors import ModelError, UsageError
from chirrup.lab.models import CONFIGS
from chirrup.lab.training.batches.audio_files import list_recordings
from chirrup.lab.training.batches.corpus import (
    StreamedRecordings,
    build_sampler,
    entry_seconds,
    free_bytes,
    open_recordings,
    warn_of_missing,
)
from chirrup.lab.training.batches.recordings import Recordings, load_recordings
from chirrup.lab.training.batches.sampler import Sampler
from chirrup.lab.training.config import TrainingConfig, load_recipe
from chirrup.lab.training.data_config import Conditions, DataConfig
from chirrup.lab.training.loop import Trainer
from chirrup.lab.training.validation import clips
from data_samples import here, room, write
from data_samples import noise as noise_of
from small_model import ENTRY, NAME, RATE_HZ, speech_like
from tiny_training import resumed, tiny_config, write_corpus

CPU = torch.device("cpu")
RECIPES = Path(__file__).parents[4] / "recipes"
CROP = 4800


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the manifest of a prepared corpus: talks of 0.1 to 1.7 s, noises and rooms."""
    pytest.importorskip("pyloudnorm")
    pytest.importorskip("matplotlib")
    root = tmp_path_factory.mktemp("shards")
    for number in range(5):
        audio = speech_like(2400 + 9600 * number + number, number)
        write(root / "talks" / f"{number}.wav", audio, RATE_HZ)
        write(root / "noises" / f"{number}.wav", noise_of(0.5, RATE_HZ, number), RATE_HZ)
    write(root / "others" / "0.wav", speech_like(9600, 9), RATE_HZ)
    write(root / "rooms" / "hall.wav", 0.5 * room(0.2, RATE_HZ), RATE_HZ)
    kinds = ("talks", "speech", "train"), ("noises", "noise", "train"), ("rooms", "rooms", "train")
    recipe = recipe_of(
        {
            "shard_minutes": 0.02,
            "licence_required": False,
            "filters": {
                name: {"keep_share": 1, "min": {}, "max": {}} for name in ("read", "noise")
            },
            "splits": {"test": 0, "validation": 0},
            "output": {kind: {"rate_hz": RATE_HZ} for kind in ("speech", "noise", "rir")},
            "sources": [
                {"path": f"{layout}:{root / name}", "split": split}
                for name, layout, split in (*kinds, ("others", "speech", "test"))
            ],
        }
    )
    prepare([], root / "out", recipe, here)
    return root / "out" / "manifest.csv"


def config(manifest: Path, **changes: Any) -> DataConfig:
    cache = manifest.parent / "cache"
    return DataConfig(manifest=manifest, cache=cache, **changes)


def both(manifest: Path, folder: str, rate_hz: int) -> tuple[Recordings, Recordings]:
    """Return recordings in memory, and streamed."""
    data = config(manifest)
    whole = open_recordings(data, folder, rate_hz, CPU)
    streamed = open_recordings(data.model_copy(update={"memory_gb": 0.0}), folder, rate_hz, CPU)
    assert isinstance(streamed, StreamedRecordings)
    assert not isinstance(whole, StreamedRecordings)
    return whole, streamed


def sampler(speech: Recordings, noise: Recordings, rooms: Recordings, seed: int = 0) -> Sampler:
    return Sampler(
        speech,
        noise,
        rooms,
        sample_rate_hz=RATE_HZ,
        crop_samples=CROP,
        conditions=Conditions(clean=1, noisy=1, reverberant=1, two_talkers=1, noisy_reverberant=1),
        enhance=False,
        speed_range=1.12,
        level_db=(-24.0, -0.5),
        noise_snr_db=(0.0, 30.0),
        generator=torch.Generator().manual_seed(seed),
    )


def test_shards_are_read_as_their_files_were(shards: Path) -> None:
    loaded = load_recordings(shards, "speech_train", RATE_HZ, shards.parent / "cache")
    entries = [one for one in read_manifest(shards) if one.path.startswith("speech_train/")]
    assert len(entries) == len(loaded.length)
    for entry, start, length in zip(entries, loaded.start.tolist(), loaded.length.tolist()):
        original, _ = soundfile.read(entry.facts["original"])
        found = loaded.audio[0, start : start + length].numpy() / 32767
        assert np.abs(found - original).max() < 2e-4


def test_streamed_recordings_have_the_same_places(shards: Path) -> None:
    whole, streamed = both(shards, "speech_train", RATE_HZ)
    assert torch.equal(whole.start, streamed.start)
    assert torch.equal(whole.length, streamed.length)
    assert streamed.audio.numel() == 0


def test_crops_are_the_same_to_the_bit(shards: Path) -> None:
    """Recordings that are shorter than a crop are repeated."""
    whole, streamed = both(shards, "speech_train", RATE_HZ)
    assert int(whole.length.min()) < CROP
    rows = [sampler(one, one, one, seed=3).crops(one, 40) for one in (whole, streamed)]
    assert torch.equal(*rows)


def test_batches_of_all_conditions_are_the_same(shards: Path) -> None:
    """They are bit-equal with speed, noise and rooms, also the target of enhancement."""
    changes = {
        "conditions": Conditions(
            clean=1, noisy=1, reverberant=1, two_talkers=1, noisy_reverberant=1
        ),
        "crop_seconds": 0.2,
        "enhance": True,
    }
    made = []
    for limit in (None, 0.0):
        data = config(shards, memory_gb=limit, **changes)
        one = build_sampler(data, RATE_HZ, 480, torch.Generator().manual_seed(5), CPU)
        streamed = [
            isinstance(part, StreamedRecordings) for part in (one.speech, one.noise, one.rooms)
        ]
        assert streamed == [limit == 0, limit == 0, False]
        made.append(one.batch(40))
    for whole, streamed in zip(*made):
        assert torch.equal(whole, streamed)


@pytest.mark.parametrize("channels", ["mix", "each", "keep"])
def test_stereo_streams_as_it_is_decoded(tmp_path: Path, channels: str) -> None:
    """Beside mono, channels are averaged, separate or joint."""
    (tmp_path / "music_train").mkdir()
    left, right = speech_like(14_000, 1), speech_like(14_000, 2)
    for name, audio in (("both", np.stack([left, right])), ("mono", left[None, :9000])):
        soundfile.write(tmp_path / "music_train" / f"{name}.wav", audio.T, RATE_HZ)
    manifest = tmp_path / "MANIFEST.csv"
    manifest.write_text("path\nmusic_train/both.wav\nmusic_train/mono.wav\n")
    made = []
    for limit in (None, 0.0):
        data = config(
            manifest,
            memory_gb=limit,
            channels=channels,
            speech="music_train",
            conditions=Conditions(clean=1),
            crop_seconds=0.2,
        )
        one = build_sampler(data, RATE_HZ, 480, torch.Generator().manual_seed(5), CPU, channels=2)
        assert isinstance(one.speech, StreamedRecordings) == (limit == 0)
        made.append(one.batch(20)[0])
    assert made[0].shape[1] == (2 if channels == "keep" else 1)
    assert torch.equal(*made)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_another_rate_is_resampled_in_place(shards: Path, rate_hz: int) -> None:
    whole, streamed = both(shards, "speech_train", rate_hz)
    assert torch.equal(whole.length, streamed.length)
    rows = [sampler(one, one, one, seed=4).crops(one, 30) for one in (whole, streamed)]
    assert_close(*rows, atol=2e-3, rtol=0)
    assert float(rows[0].abs().max()) > 0.1


def test_a_plain_manifest_streams_too(tmp_path: Path) -> None:
    """The manifest has no durations."""
    manifest = write_corpus(tmp_path)
    entries = list_recordings(manifest, "speech_train")
    assert [entry_seconds(entry, each_channel=True) for entry in entries] == [1.0] * 3
    whole = load_recordings(manifest, "speech_train", RATE_HZ, tmp_path / "cache")
    streamed = StreamedRecordings.of(entries, RATE_HZ, CPU)
    rows = [sampler(one, one, one).crops(one, 10) for one in (whole, streamed)]
    assert torch.equal(*rows)


def test_lengths_that_a_manifest_rounds_are_not_believed(tmp_path: Path) -> None:
    """They are read from a file. In a shard, the written ones are taken."""
    soundfile.write(tmp_path / "a.wav", np.full(1003, 0.5), RATE_HZ)
    entry = Entry("a.wav", tmp_path, facts={"seconds": "0.04", "sample_rate_hz": "24000"})
    assert entry_seconds(entry, each_channel=False) == 0.04
    assert StreamedRecordings.of([entry], RATE_HZ, CPU).length.tolist() == [1003]


def test_a_shard_that_promises_too_much_gives_silence(shards: Path) -> None:
    entry = list_recordings(shards, "noise_train")[0]
    seconds = float(entry.facts["seconds"])
    more = replace(entry, facts={**entry.facts, "seconds": f"{seconds + 0.01:.6f}"})
    streamed = StreamedRecordings.of([more], RATE_HZ, CPU)
    length = round(seconds * RATE_HZ)
    assert streamed.length.tolist() == [length + 240]
    piece = streamed.decode(0, length - 100, length + 240)
    assert (piece[100:] == 0).all()
    assert (piece[:100] != 0).any()


def test_music_streams_each_of_its_channels(tmp_path: Path) -> None:
    """Their average works too, and another rate."""
    (tmp_path / "music_train").mkdir()
    random = np.random.default_rng(0)
    for name, channels, samples in (("a", 2, 9000), ("b", 1, 7001), ("c", 2, 12_345)):
        tones = np.cumsum(random.standard_normal((samples, channels)), axis=0)
        soundfile.write(tmp_path / "music_train" / f"{name}.flac", 0.01 * tones % 0.5, 44_100)
    manifest = tmp_path / "MANIFEST.csv"
    manifest.write_text("path\n" + "\n".join(f"music_train/{name}.flac" for name in "abc") + "\n")
    for channels, count in (("mix", 3), ("each", 5)):
        for rate_hz, error in ((44_100, 0), (48_000, 2e-3), (24_000, 2e-3)):
            data = config(manifest, channels=channels)
            whole = open_recordings(data, "music_train", rate_hz, CPU)
            data = data.model_copy(update={"memory_gb": 0.0})
            streamed = open_recordings(data, "music_train", rate_hz, CPU)
            assert isinstance(streamed, StreamedRecordings)
            assert torch.equal(whole.length, streamed.length)
            assert len(whole.length) == count
            rows = [sampler(one, one, one).crops(one, 20) for one in (whole, streamed)]
            assert_close(*rows, atol=error, rtol=0)


def test_memory_decides(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms are never streamed."""
    data = config(shards)
    entries = list_recordings(shards, "speech_train")
    needed = 2 * RATE_HZ * sum(entry_seconds(entry, each_channel=False) for entry in entries)
    for free, streams in ((2.1 * needed, False), (1.9 * needed, True)):
        monkeypatch.setattr(corpus_module, "free_bytes", lambda device, free=free: free)
        for folder, expected in (("speech_train", streams), ("rir", False)):
            found = open_recordings(data, folder, RATE_HZ, CPU)
            assert isinstance(found, StreamedRecordings) == expected
    with pytest.raises(ModelError, match=r"in talks/, only in noise_train, rir_train.*: prepare"):
        open_recordings(data, "talks", RATE_HZ, CPU)
    assert list_recordings(shards.parent, "speech_train") == entries
    with pytest.raises(ModelError, match=r"no corpus at nowhere: .* --data FOLDER"):
        list_recordings(Path("nowhere"), "speech_train")


def test_processes_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = free_bytes(CPU)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert 0 < free_bytes(CPU) < 0.5 * alone


def test_a_recipe_needs_the_manifest_alone(shards: Path) -> None:
    """Folders have the names in recipes."""
    changes = [f"data.manifest={shards}", f"data.cache={shards.parent}/cache"]
    data = load_recipe(RECIPES / "iris-t1.toml", changes).data
    made = build_sampler(data, RATE_HZ, 480, torch.Generator().manual_seed(0), CPU)
    assert made.noise is not None
    assert made.rooms is not None
    assert torch.isfinite(made.batch(20)[0]).all()
    assert len(clips(data, RATE_HZ)) == len(list_recordings(shards, "speech_test"))


# --- in a training -------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, NAME, ENTRY)


def losses(trainer: Trainer, to: int) -> list[float]:
    recordings, found = trainer.sampler(), []
    while trainer.step < to:
        found.append(trainer.train_step(recordings)["loss"])
        trainer.step += 1
    return found


def streaming(shards: Path, folder: Path) -> TrainingConfig:
    data = config(shards, memory_gb=0.0, crop_seconds=0.2)
    return tiny_config(folder, data=data.model_dump(mode="json"))


def test_every_process_has_crops_of_its_own(
    shards: Path, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is equal when it starts again."""
    batches: list[Tensor] = []
    draw = Sampler.batch

    def watched(self: Sampler, size: int) -> tuple[Tensor, Tensor]:
        drawn = draw(self, size)
        if size == 2:  # not what the model starts from
            batches.append(drawn[0])
        return drawn

    monkeypatch.setattr(Sampler, "batch", watched)
    for rank in (0, 1, 1):
        trainer = Trainer(streaming(shards, tmp_path), tmp_path / "run", CPU)
        trainer.rank = rank
        assert isinstance(trainer.sampler().speech, StreamedRecordings)
        losses(trainer, 2)
    first, second, again = (torch.cat(batches[start : start + 2]) for start in (0, 2, 4))
    assert len(batches) == 6
    assert not (first == second).flatten(1).all(1).any()
    assert torch.equal(second, again)


def test_a_resumed_streamed_training_equals_an_uninterrupted_one(
    shards: Path, tmp_path: Path, small: None
) -> None:
    recipe = streaming(shards, tmp_path)
    whole = losses(Trainer(recipe, tmp_path / "whole", CPU), 5)
    first = Trainer(recipe, tmp_path / "parts", CPU)
    begun = losses(first, 2)
    first.save()
    second = resumed(recipe, tmp_path / "parts")
    assert begun + losses(second, 5) == whole


def test_a_corpus_without_rooms_trains_without_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = write_corpus(tmp_path)
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(line for line in lines if not line.startswith("rir/")) + "\n")
    data = DataConfig(
        manifest=manifest,
        cache=tmp_path / "cache",
        conditions=Conditions(clean=1, noisy=2, reverberant=3, two_talkers=4, noisy_reverberant=5),
    )
    sampler = build_sampler(data, RATE_HZ, 480, torch.Generator(), CPU)
    warn_of_missing(data, sampler)
    assert caplog.messages == [
        f"{manifest} has no recordings in rir/: training goes without reverberant, noisy "
        "reverberant speech"
    ]
    assert sampler.weights.tolist() == [1, 2, 0, 4, 0]
    with pytest.raises(UsageError, match="clean speech a weight"):
        sampler.set_conditions(Conditions(reverberant=1))
