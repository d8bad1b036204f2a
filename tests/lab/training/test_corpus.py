"""Recordings in memory and streamed: the same batches, to the bit where the rate is the file's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch.testing import assert_close

import chirrup.lab.training.corpus as corpus_module
from chirrup.data.manifest import Entry
from chirrup.data.prepare import prepare
from chirrup.data.recipe import recipe_of
from chirrup.lab.models import CONFIGS
from chirrup.lab.training.config import DataConfig
from chirrup.lab.training.corpus import Streamed, free_bytes, open_recordings, seconds_of
from chirrup.lab.training.data import Recordings, Sampler, listed, load_recordings
from chirrup.lab.training.loop import Trainer
from chirrup.lab.training.validation import clips
from data_samples import here, room, write
from data_samples import noise as noise_of
from small_model import ENTRY, NAME, RATE_HZ, speech_like
from tiny_training import tiny_config, write_corpus

CPU = torch.device("cpu")
CROP = 4800


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared corpus: talks of 0.1 to 1.7 s, noises, rooms; the manifest."""
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
                for name, layout, split in (*kinds, ("others", "speech", "validation"))
            ],
        }
    )
    prepare([], root / "out", recipe, here)
    return root / "out" / "manifest.csv"


def config(manifest: Path, **changes: Any) -> DataConfig:
    cache = manifest.parent / "cache"
    folders = {"rooms": "rir_train", "validation": "speech_validation"}
    return DataConfig(manifest=manifest, cache=cache, **{**folders, **changes})


def both(manifest: Path, folder: str, rate_hz: int) -> tuple[Recordings, Recordings]:
    """In memory, and streamed."""
    data = config(manifest)
    whole = open_recordings(data, folder, rate_hz, CPU)
    streamed = open_recordings(data.model_copy(update={"memory_gb": 0.0}), folder, rate_hz, CPU)
    assert isinstance(streamed, Streamed)
    assert not isinstance(whole, Streamed)
    return whole, streamed


def sampler(speech: Recordings, noise: Recordings, rooms: Recordings, seed: int = 0) -> Sampler:
    return Sampler(
        speech,
        noise,
        rooms,
        sample_rate_hz=RATE_HZ,
        crop_samples=CROP,
        conditions=(1, 1, 1, 1, 1),
        enhance=False,
        speed_range=1.12,
        level_db=(-24.0, -0.5),
        noise_snr_db=(0.0, 30.0),
        generator=torch.Generator().manual_seed(seed),
    )


def test_shards_are_read_as_their_files_were(shards: Path) -> None:
    loaded = load_recordings(shards, "speech_train", RATE_HZ, shards.parent / "cache")
    entries = listed(shards, "speech_train")
    assert len(entries) == len(loaded.length)
    for entry, start, length in zip(entries, loaded.start.tolist(), loaded.length.tolist()):
        original, _ = soundfile.read(entry.facts["original"])
        found = loaded.audio[start : start + length].numpy() / 32767
        assert np.abs(found - original).max() < 2e-4


def test_streamed_recordings_have_the_same_places(shards: Path) -> None:
    whole, streamed = both(shards, "speech_train", RATE_HZ)
    assert torch.equal(whole.start, streamed.start)
    assert torch.equal(whole.length, streamed.length)
    assert len(streamed.audio) == 0


def test_crops_are_the_same_to_the_bit(shards: Path) -> None:
    """Among them recordings that are shorter than a crop, and repeated."""
    whole, streamed = both(shards, "speech_train", RATE_HZ)
    assert int(whole.length.min()) < CROP
    rows = [sampler(one, one, one, seed=3).crops(one, 40) for one in (whole, streamed)]
    assert torch.equal(*rows)


def test_batches_of_all_conditions_are_the_same(shards: Path) -> None:
    """But for the interpolation, which at the ends of a recording sees its neighbours in memory."""
    rooms = load_recordings(shards, "rir_train", RATE_HZ, shards.parent / "cache")
    pairs = [both(shards, folder, RATE_HZ) for folder in ("speech_train", "noise_train")]
    batches = [sampler(speech, noise, rooms, seed=5).batch(30)[0] for speech, noise in zip(*pairs)]
    assert_close(*batches, atol=0.02, rtol=0)
    assert float((batches[0] - batches[1]).abs().mean()) < 1e-4


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_another_rate_is_resampled_in_place(shards: Path, rate_hz: int) -> None:
    whole, streamed = both(shards, "speech_train", rate_hz)
    assert torch.equal(whole.length, streamed.length)
    rows = [sampler(one, one, one, seed=4).crops(one, 30) for one in (whole, streamed)]
    assert_close(*rows, atol=2e-3, rtol=0)
    assert float(rows[0].abs().max()) > 0.1


def test_every_process_has_crops_of_its_own(shards: Path) -> None:
    """As the loop seeds them; and the same again at the same step."""
    _, streamed = both(shards, "speech_train", RATE_HZ)

    def batch(rank: int, step: int) -> torch.Tensor:
        seed = (7 * 1009 + rank) * 1_000_003 + step
        return sampler(streamed, streamed, streamed, seed).crops(streamed, 6)

    batches = [batch(rank, step) for rank in (0, 1) for step in (0, 1)]
    for index, one in enumerate(batches):
        assert all(not torch.equal(one, other) for other in batches[index + 1 :])
    assert torch.equal(batch(1, 1), batches[3])


def test_a_plain_manifest_streams_too(tmp_path: Path) -> None:
    """One that does not tell how long its recordings are."""
    manifest = write_corpus(tmp_path)
    entries = listed(manifest, "speech_train")
    assert [seconds_of(entry) for entry in entries] == [1.0] * 3
    whole = load_recordings(manifest, "speech_train", RATE_HZ, tmp_path / "cache")
    streamed = Streamed.of(entries, RATE_HZ, CPU)
    rows = [sampler(one, one, one).crops(one, 10) for one in (whole, streamed)]
    assert torch.equal(*rows)


def test_a_manifest_that_promises_too_much_gives_silence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(1000, 0.5), RATE_HZ)
    entry = Entry("a.wav", tmp_path, facts={"seconds": "0.0500"})
    streamed = Streamed.of([entry], RATE_HZ, CPU)
    assert streamed.length.tolist() == [1200]
    piece = streamed.decode(0, 900, 1200)
    assert (piece != 0).tolist() == [True] * 100 + [False] * 200


def test_memory_decides(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms are never streamed."""
    data = config(shards)
    needed = 2 * RATE_HZ * sum(map(seconds_of, listed(shards, "speech_train")))
    for free, streams in ((2.1 * needed, False), (1.9 * needed, True)):
        monkeypatch.setattr(corpus_module, "free_bytes", lambda device, free=free: free)
        for folder, expected in (("speech_train", streams), ("rir_train", False)):
            found = open_recordings(data, folder, RATE_HZ, CPU)
            assert isinstance(found, Streamed) == expected
    with pytest.raises(ValueError, match="lists no file in talks/"):
        open_recordings(data, "talks", RATE_HZ, CPU)


def test_processes_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = free_bytes(CPU)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert 0 < free_bytes(CPU) < 0.5 * alone


def test_validation_reads_shards(shards: Path) -> None:
    pairs = clips(config(shards), RATE_HZ)
    assert len(pairs) == len(listed(shards, "speech_validation"))


# --- in a training -------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(CONFIGS, NAME, ENTRY)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def losses(trainer: Trainer, to: int) -> list[float]:
    recordings, found = trainer.sampler(), []
    while trainer.step < to:
        found.append(trainer.train_step(recordings)["loss"])
        trainer.step += 1
    return found


def test_a_streamed_training_goes_on_as_it_would_have(
    shards: Path, tmp_path: Path, small: None
) -> None:
    data = config(shards, memory_gb=0.0, crop_seconds=0.2, conditions=(1, 1, 1, 1))
    recipe = tiny_config(tmp_path, data=data.model_dump(mode="json"))
    whole = losses(Trainer(recipe, tmp_path / "whole", CPU), 5)
    first = Trainer(recipe, tmp_path / "parts", CPU)
    begun = losses(first, 2)
    first.save()
    second = Trainer(recipe, tmp_path / "parts", CPU)
    second.restore(tmp_path / "parts" / "checkpoint.pt")
    assert begun + losses(second, 5) == whole
