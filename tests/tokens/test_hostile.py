"""Data sets of strangers, whose bytes make parsers raise errors of many classes."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import chirrup
from chirrup import tokens
from chirrup.data.workers import Run

HEADER = b"{'descr': '<i2', 'fortran_order': False, 'shape': (1, 26"
HOSTILE = b"\x93NUMPY\1\0" + len(HEADER).to_bytes(2, "little") + HEADER
"""An array whose header is not closed."""


@pytest.mark.parametrize(
    ("form", "field", "content"),
    [
        ("webdataset", "about", b"[" * 9999),
        ("webdataset", "codes", HOSTILE),
        ("webdataset", "codes", b"PK\3\4" * 99),
        ("shar", "about", b"[" * 9999),
        ("shar", "codes", HOSTILE),
    ],
)
def test_hostile_content_is_a_clear_error(
    corpus: Path,
    codec: chirrup.Codec,
    run: Run,
    tmp_path: Path,
    form: str,
    field: str,
    content: bytes,
) -> None:
    """The index refers to bytes after the last member of the tar file."""
    folder, settings = tmp_path / "tokens", tokens.settings_of(codec, 500, form)
    tokens.tokenize([str(corpus / "a.wav")], folder, codec, settings, run)
    (path,) = (folder / "shards").glob("*.tar")
    index = np.load(folder / "index.npy")
    index[field] = path.stat().st_size
    np.save(folder / "index.npy", index)
    path.write_bytes(path.read_bytes() + content)
    with pytest.raises(chirrup.FileError, match="cannot be read as a shard of tokens: "):
        tokens.open(folder)[0]


def test_hostile_cuts_are_a_clear_error(
    corpus: Path, codec: chirrup.Codec, run: Run, tmp_path: Path
) -> None:
    folder, settings = tmp_path / "tokens", tokens.settings_of(codec, 500, "shar")
    tokens.tokenize([str(corpus / "a.wav")], folder, codec, settings, run)
    path = folder / "shards" / "cuts.000000.jsonl.gz"
    path.write_bytes(gzip.compress(b"[" * 9999))
    with pytest.raises(chirrup.FileError, match=r"cannot be read as a shard .*: RecursionError"):
        tokens.open(folder)[0]
