"""Files that appear whole, in folders to which others write at the same time."""

import errno
import fcntl
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from chirrup.files import FileError
from chirrup.files.drafts import only_one, open_draft, open_scratch, written


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError])
def test_a_draft_takes_its_place_only_when_whole(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "file"
    with pytest.raises(error), open_draft(path) as draft:  # noqa: PT012
        draft.write_bytes(b"half")
        raise error
    assert names(tmp_path) == set()
    path.write_bytes(b"old")
    path.chmod(0o640)
    (tmp_path / "link").symlink_to(path)
    with open_draft(tmp_path / "link") as draft:
        draft.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(("number", "content"), [(errno.EINVAL, b"new"), (errno.EIO, b"old")])
def test_only_a_disk_that_fails_keeps_a_file_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, content: bytes
) -> None:
    """Some file systems cannot sync, which is not an error."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fails(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", fails)
    with suppress(FileError), open_draft(path) as draft:
        draft.write_bytes(b"new")
    assert names(tmp_path) == {"file"}
    assert path.read_bytes() == content


def test_a_draft_goes_wherever_a_signal_ends_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signals arrive directly after a draft is made, or directly after it is returned."""

    def stopped(number: int) -> None:
        raise SystemExit(143)

    with monkeypatch.context() as patch:
        patch.setattr("os.fstat", stopped)
        with pytest.raises(SystemExit), open_draft(tmp_path / "file"):
            raise AssertionError("never reached")
    assert names(tmp_path) == set()
    program = (
        "import sys; from pathlib import Path; from chirrup.files.drafts import open_draft;"
        "kept = open_draft(Path(sys.argv[1])); draft = kept.__enter__();"
        "print(draft.exists()); sys.exit(143)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (143, "True\n")
    assert names(tmp_path) == set()


def test_a_read_only_target_is_replaced_and_stays_read_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o444)
    with open_draft(path) as draft:
        assert draft.stat().st_mode & 0o777 == 0o600
        draft.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o444


# --- two at once -------------------------------------------------------------------------------


@pytest.mark.parametrize("links", [True, False])
def test_what_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError("as on FAT")

    if not links:
        monkeypatch.setattr("os.link", no_links)
    path = tmp_path / "file"
    with (
        pytest.raises(FileError, match="give another output"),
        open_draft(path, force=False),
    ):
        path.write_bytes(b"other")
    assert path.read_bytes() == b"other"
    with open_draft(path) as draft:
        draft.write_bytes(b"ours")
    assert path.read_bytes() == b"ours"
    path.unlink()
    with open_draft(path, force=False) as draft:
        draft.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == {"file"}


def test_a_draft_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    replace = Path.replace
    monkeypatch.setattr("os.fsync", lambda number: steps.append(f"{os.fstat(number).st_size} B"))
    monkeypatch.setattr(Path, "replace", lambda *paths: steps.append("named") or replace(*paths))
    with open_draft(tmp_path / "file") as draft:
        draft.write_bytes(b"all")
    assert steps == ["3 B", "named"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """Drafts of other processes and of other files stay."""
    program = (
        "import os, sys; from pathlib import Path; from chirrup.files.drafts import open_draft;"
        "kept = open_draft(Path(sys.argv[1])); kept.__enter__(); os.kill(os.getpid(), 9)"
    )
    for name in ("a.wav", "b.wav"):
        subprocess.run([sys.executable, "-c", program, tmp_path / name], check=False)
    assert len(names(tmp_path)) == 2
    mine = tmp_path / ".a.wav.01234567.part"
    with mine.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with open_draft(tmp_path / "a.wav"):
            pass
    left = names(tmp_path) - {"a.wav", mine.name}
    assert [name[:7] for name in left] == [".b.wav."]


def test_a_folder_for_temporary_files_goes_with_its_process(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from chirrup.files.drafts import open_scratch;"
        "kept = open_scratch(Path(sys.argv[1])); (kept.__enter__() / 'file').touch();"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "run"], check=False)
    assert len(names(tmp_path)) == 1
    with open_scratch(tmp_path / "run") as scratch:
        assert names(tmp_path) == {scratch.name}
        assert names(scratch) == set()
        (scratch / "file").touch()
    assert names(tmp_path) == set()


def test_a_new_folder_may_lie_in_folders_that_do_not_exist(tmp_path: Path) -> None:
    with open_scratch(tmp_path / "tests" / "mine" / "first") as scratch:
        (scratch / "test").mkdir()
        (scratch / "test").rename(tmp_path / "tests" / "mine" / "first")
    assert names(tmp_path / "tests" / "mine") == {"first"}
    (tmp_path / "file").touch()
    with (
        pytest.raises(FileError, match=r"mine cannot be written: (File exists|Not a directory)"),
        open_scratch(tmp_path / "file" / "mine"),
    ):
        pass


def test_one_command_at_a_time_writes_to_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with only_one(folder, "chirrup train"):
        for _ in range(2):
            with (
                pytest.raises(FileError, match=r"another chirrup train is at work in .*run"),
                only_one(folder, "chirrup train"),
            ):
                pass
    assert not folder.exists(), "nothing was written to it"
    with only_one(folder, "chirrup train"):
        (folder / "checkpoint.pt").touch()
    with only_one(folder, "chirrup train"):
        pass
    assert names(folder) == {"checkpoint.pt"}


def test_a_body_that_only_writes_has_its_errors_named(tmp_path: Path) -> None:
    with (
        pytest.raises(FileError, match=r"file cannot be written: No space left"),
        written(tmp_path / "file"),
    ):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == set()
