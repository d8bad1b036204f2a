"""Names of receivers in a local network, by multicast DNS (RFC 6762) and DNS-SD (RFC 6763).

The package ``zeroconf`` announces and finds them.
"""

import re
import socket
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from types import ModuleType
from typing import Final

from chirrup.errors import FileError, UsageError

SERVICE: Final = "_chirrup._udp.local."
PREFIX: Final = "name:"
"""Beginning of an address that is a name."""
WAIT_S: Final = 3.0
"""Longest time in which a name is looked for."""
LISTEN_S: Final = 2.0
"""Time in which all names are looked for, after a name was not found."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,39}")


def _zeroconf() -> ModuleType:
    try:
        import zeroconf
    except ModuleNotFoundError as error:
        raise FileError(
            "names in a local network need the package zeroconf: install it with "
            "pip install 'chirrup[live]'"
        ) from error
    return zeroconf


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name of an end: use 1 to 40 letters, digits, spaces, - and _"
        )
    return name


@contextmanager
def announced(name: str, host: str, port: int) -> Generator[None, None, None]:
    """Announce an address of this machine under a name.

    Args:
        name: the name.
        host: own address; ``0.0.0.0`` and ``::`` are all addresses.
        port: the port.

    Raises:
        UsageError: the name has other characters than letters, digits, spaces, - and _.
        FileError: zeroconf is not installed, or another machine has announced the name.
    """
    module = _zeroconf()
    full = f"{_checked(name)}.{SERVICE}"
    server = f"{socket.gethostname()}.local."
    address = _own_address() if ip_address(host).is_unspecified else host
    info = module.ServiceInfo(SERVICE, full, port=port, parsed_addresses=[address], server=server)
    with ExitStack() as stack:
        try:
            stack.enter_context(responder := module.Zeroconf())
            responder.register_service(info)
        except module.NonUniqueNameException as error:
            raise FileError(
                f"the name {name!r} is in use in this network: choose another name"
            ) from error
        except OSError as error:
            raise FileError(f"the name {name!r} cannot be announced: {error}") from error
        yield


def _own_address() -> str:
    """Return the IPv4 address of this machine in the local network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("224.0.0.251", 5353))  # multicast DNS; nothing is sent
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]


def find(name: str) -> tuple[str, int]:
    """Return the address and port that a name was announced with.

    Raises:
        UsageError: the name cannot have been announced.
        FileError: nobody in the local network has announced it.
    """
    module = _zeroconf()
    full = f"{_checked(name)}.{SERVICE}"
    try:
        with module.Zeroconf() as responder:
            info = module.ServiceInfo(SERVICE, full)
            if info.request(responder, 1000 * WAIT_S) and info.parsed_addresses():
                return info.parsed_addresses()[0], int(info.port or 0)
            others = _names(module, responder)
    except OSError as error:
        raise FileError(f"the local network cannot be searched: {error}") from error
    there = f"it has {', '.join(others)}" if others else "it has no names"
    raise FileError(
        f"nobody has announced {name!r} in this network; {there}: start the other end with "
        f"--announce {name!r}, or give its address"
    )


def _names(module: ModuleType, responder: object) -> list[str]:
    """Return all names that are announced within `LISTEN_S`."""
    names: set[str] = set()

    class Listener:
        def add_service(self, _: object, __: str, full: str) -> None:
            names.add(full.removesuffix(f".{SERVICE}"))

        def update_service(self, *_: object) -> None:
            pass

        def remove_service(self, *_: object) -> None:
            pass

    browser = module.ServiceBrowser(responder, SERVICE, Listener())
    time.sleep(LISTEN_S)
    browser.cancel()
    return sorted(names)
