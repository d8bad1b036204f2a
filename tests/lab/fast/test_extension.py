"""The compiled library: one per source version, with any number of processes."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from torch.utils import cpp_extension

from chirrup.lab.fast import extension

pytestmark = pytest.mark.skipif(not extension.available(), reason="the extension does not compile")


def test_a_library_is_compiled_once_for_each_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Others wait for the process that compiles. The remains of a killed one lock nothing."""
    source = tmp_path / "first.cpp"
    source.write_text("// first")
    folders: list[Path] = []

    def compile_nothing(name: str, sources: list[str], build_directory: str, **_: Any) -> None:
        folders.append(Path(build_directory))
        kept = next(extension.cache_folder().glob(f"*/{name}.so"))
        shutil.copy(kept, build_directory)

        time.sleep(0.2)

    monkeypatch.setattr(cpp_extension, "load", compile_nothing)
    caplog.set_level("INFO", "chirrup")
    with ThreadPoolExecutor() as pool:
        loaded = pool.map(lambda _: extension.load([source], [], tmp_path), range(2))
        assert all(library.residual_unit for library in loaded)
    assert [line.partition(" for ")[0] for line in caplog.messages] == ["compiling fast layers"]
    changed = tmp_path / "changed.cpp"
    changed.write_text("// changed")
    assert extension.load([changed], [], tmp_path).residual_unit
    assert len(set(folders)) == 2
    assert {folder.parent for folder in folders} == {tmp_path}
    assert not any(folder.exists() for folder in folders)
