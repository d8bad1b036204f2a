"""A corpus in all forms in which `tokenize` takes it."""

import io
import json
import tarfile
from pathlib import Path

import pytest

import chirrup
from chirrup.data.workers import Run
from token_samples import RATES_HZ, file_of, in_turn


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder ``files`` with the recordings, and a file that cannot be read."""
    folder = tmp_path_factory.mktemp("corpus") / "files"
    for name in RATES_HZ:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(file_of(name))
    (folder / "p1" / "bad.wav").write_bytes(b"RIFF, not audio" * 20)
    return folder


@pytest.fixture(scope="session")
def tar(corpus: Path) -> Path:
    """The recordings as a shard of webdataset."""
    path = corpus.parent / "shard-0.tar"
    with tarfile.open(path, "w") as file:
        for index, name in enumerate(RATES_HZ):
            key, _, ending = name.rpartition(".")
            facts = json.dumps({"speaker": f"s{index}", "text": f"text of {name}"}).encode()
            for member, data in ((f"{key}.json", facts), (f"{key}.{ending}", file_of(name))):
                about = tarfile.TarInfo(member)
                about.size = len(data)
                file.addfile(about, io.BytesIO(data))
    return path


@pytest.fixture(scope="session")
def run() -> Run:
    return in_turn


@pytest.fixture(scope="session")
def codec() -> chirrup.Codec:
    return chirrup.load("iris-t1")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder of 13 recordings, one of which cannot be read."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02d}.flac").write_bytes(file_of("p1/c.flac"))
    (folder / "05-bad.flac").write_bytes(b"no audio")
    return folder
