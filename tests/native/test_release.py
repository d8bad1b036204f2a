"""The version that the files of a release state."""

import importlib.util
import re
import shutil
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import chirrup

ROOT = Path(__file__).parents[2]
NAMES = ("pyproject.toml", "src/chirrup/__init__.py", "CITATION.cff", "CHANGELOG.md")


@pytest.fixture(scope="module")
def release() -> ModuleType:
    pytest.importorskip("hatchling")
    spec = importlib.util.spec_from_file_location("release", ROOT / "native" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the files that state the version, as on the day of the release."""
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    page = tmp_path / "CHANGELOG.md"
    latest = re.compile(r"^(## \[\d.*?\] - ).*$", re.M)
    page.write_text(latest.sub(r"\g<1>2026-12-01", page.read_text(), count=1))
    return tmp_path


def test_all_files_state_the_version(release: ModuleType, project: Path) -> None:
    assert release.check_versions(project) == chirrup.__version__


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_another_version_stops_a_release(
    name: str, release: ModuleType, project: Path
) -> None:
    path = project / name
    path.write_text(path.read_text().replace(chirrup.__version__, "9.8.7", 1))
    with pytest.raises(SystemExit, match=rf"different versions: .*{re.escape(name)} 9\.8\.7"):
        release.check_versions(project)


def test_a_changelog_without_a_date_stops_a_release(release: ModuleType, project: Path) -> None:
    page = project / "CHANGELOG.md"
    page.write_text(page.read_text().replace("] - 2026-12-01", "] - unreleased", 1))
    with pytest.raises(SystemExit, match=r"CHANGELOG.md 0\.1\.0"):
        release.check_versions(project)


def test_a_file_that_is_too_large_for_pypi_stops_a_release(
    release: ModuleType, tmp_path: Path
) -> None:
    for size, name in ((release.LARGEST_BYTES, "fits.whl"), (release.LARGEST_BYTES + 1, "no.gz")):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    with pytest.raises(SystemExit, match=r"no\.gz has 104857601 bytes, and PyPI takes at most"):
        release.check_sizes(tmp_path)
    (tmp_path / "no.gz").unlink()
    release.check_sizes(tmp_path)


def test_the_release_tries_a_file_of_every_earlier_version() -> None:
    """After a release, ``tests/archive/make.py`` makes files with its code."""
    text = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[(\d+\.\d+)\.\d+\] - \d", text, re.M)
    archived = {path.name for path in (ROOT / "tests" / "archive").iterdir() if path.is_dir()}
    assert set(released) - {chirrup.__version__.rpartition(".")[0]} <= archived
    assert "0.1" in archived


def test_uses_of_doctor_name_every_extra() -> None:
    from chirrup.installation import uses

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    of_developers = {"dev", "docs", "wheels"}
    assert set(extras) - of_developers - {use.name for use in uses()} == set()
