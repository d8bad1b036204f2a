"""Packages that the extras of chirrup name, and those of them that are missing here."""

import platform
import re
import sys
from functools import cache
from importlib import metadata

_REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)\s*(?:\[(?P<extras>[\w, -]*)\])?\s*\(?(?:>=\s*(?P<lowest>[\d.]+))?\)?"
    r"[^;]*(?:;.*\bextra\s*==\s*['\"](?P<extra>[\w-]+)['\"])?"
)
_MARKER = re.compile(r"\b(sys_platform|platform_machine)\s*(==|!=)\s*['\"](\w+)['\"]")
_HERE = {"sys_platform": sys.platform, "platform_machine": platform.machine()}


def version(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def lacking(extra: str = "") -> list[str]:
    """Return what is missing of an extra, for example ``torch`` or ``rich 12.0 (13.7 or newer)``.

    Args:
        extra: name of the extra. Without it, the packages count that chirrup always requires.
    """
    found = []
    for name, lowest in _required(extra):
        installed = version(name)
        if installed is None:
            found.append(name)
        elif _release(installed) < _release(lowest):
            found.append(f"{name} {installed} ({lowest} or newer)")
    return found


@cache
def _required(extra: str) -> tuple[tuple[str, str], ...]:
    """Return the packages of an extra with their lowest versions, also of extras that it names.

    Packages for other machines are left out.
    """
    found: dict[str, str] = {}
    try:
        texts = metadata.requires("chirrup") or ()
    except metadata.PackageNotFoundError:  # a checkout on PYTHONPATH
        return (("chirrup", ""),)
    for text in texts:
        parts = _REQUIREMENT.match(text)
        if parts is None or (parts["extra"] or "") != extra or not _is_for_this_machine(text):
            continue
        if parts["name"] == "chirrup":
            for other in re.split(r"\s*,\s*", parts["extras"]):
                found |= _required(other)
        else:
            found[parts["name"]] = parts["lowest"] or ""
    return tuple(found.items())


def _is_for_this_machine(requirement: str) -> bool:
    """Return whether all conditions of a requirement on system and processor hold here."""
    found = _MARKER.findall(requirement)
    return all((_HERE[name] == value) == (sign == "==") for name, sign, value in found)


def _release(text: str) -> tuple[int, ...]:
    """Return the numbers of a version without those of a pre-release or a local version."""
    plain = re.match(r"[\d.]*", text)
    return tuple(int(number) for number in re.findall(r"\d+", plain[0] if plain else ""))
