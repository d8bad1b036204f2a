"""A UDP socket, with a simulated network before it if one is asked for."""

import select
import socket
import time
from contextlib import suppress
from typing import Final

from chirrup.errors import FileError, UsageError
from chirrup.live.network import Network
from chirrup.live.rtp import HEADER_BYTES, MAX_DATAGRAM, is_control

Address = tuple[str, int] | tuple[str, int, int, int]
UDP_BYTES: Final = 8
IP_BYTES: Final = {socket.AF_INET: 20, socket.AF_INET6: 40}
_BURST: Final = 256
"""Most datagrams that are read at once, so that a flood does not stop the ticks."""


def parse_address(text: str, *, host_needed: bool) -> tuple[str, int]:
    """Parse ``HOST:PORT``, ``[HOST]:PORT`` or, if no host is needed, ``PORT``.

    Raises:
        UsageError: the text is not an address.
    """
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    right = port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535
    if not right or (":" in host and not bracketed) or (host_needed and not host):
        form = "HOST:PORT" if host_needed else "[HOST:]PORT"
        raise UsageError(
            f"{text!r} is not {form}: use for example 192.0.2.1:5004 or [2001:db8::1]:5004"
        )
    return host, int(port)


def protected_bytes(datagram: bytes) -> int:
    """Return the number of first bytes of a datagram that have no simulated bit errors.

    The header of RTP and all of RTCP have none, as on a radio that protects them. Otherwise a
    description would hardly ever arrive whole.
    """
    return len(datagram) if is_control(datagram) else HEADER_BYTES


class Link:
    """A UDP socket that does not block. It belongs to one thread; only `wake` may be called by all.

    Args:
        host: the other end, or with ``listen`` the own address; empty is any address.
        port: its port.
        listen: receive at this address, instead of sending to the other one. A link that does not
            listen receives from the other end only.
        network: a simulated network.
        incoming: the network is for received datagrams instead of sent ones.

    Attributes:
        refused: datagrams that could not be sent.
        strangers: datagrams from another address than the other end's.

    Raises:
        FileError: the host is not known, or the port is in use.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        listen: bool,
        network: Network | None = None,
        incoming: bool = False,
    ) -> None:
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}" if host else f"port {port}"
        self.name, self.listen, self.network, self.incoming = shown, listen, network, incoming
        flags = socket.AI_PASSIVE if listen else 0
        try:
            found = socket.getaddrinfo(host or None, port, type=socket.SOCK_DGRAM, flags=flags)
        except (OSError, UnicodeError) as error:
            raise FileError(f"the host {host} is not known: check its name") from error
        if listen and not host:  # an IPv6 socket receives IPv4 too
            found.sort(key=lambda entry: entry[0] != socket.AF_INET6)
        for place, (family, *_, address) in enumerate(found):
            try:
                self.socket = self._open(family, address, both=listen and not host)
                self.address: Address = address  # pyright: ignore[reportAttributeAccessIssue]
                break
            except OSError as error:
                if place + 1 < len(found):
                    continue
                verb = "listened at" if listen else "reached"
                raise FileError(
                    f"{shown} cannot be {verb}: {error.strerror or error}: "
                    + ("choose another port or address" if listen else "check the address")
                ) from error
        self.header_bytes = UDP_BYTES + IP_BYTES[self.socket.family]
        self.refused = self.strangers = 0
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)

    def _open(self, family: int, address: object, both: bool) -> socket.socket:
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            opened.setblocking(False)
            if self.listen:
                if family == socket.AF_INET6:
                    opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
                opened.bind(address)  # pyright: ignore[reportArgumentType]
        except OSError:
            opened.close()
            raise
        return opened

    def close(self) -> None:
        """Close the socket."""
        for end in (self.socket, self._woken, self._waker):
            end.close()

    def wake(self) -> None:
        """Make `receive` return at once, in any thread."""
        with suppress(OSError):  # it has been woken many times, or is closed
            self._waker.send(b"\0")

    def send(self, datagram: bytes, address: Address | None = None) -> None:
        """Send a datagram: to an address if the link listens, or to the other end."""
        address = address or self.address
        if self.network is None or self.incoming:
            self._send(datagram, address)
            return
        protected = protected_bytes(datagram)
        self.network.send(datagram, time.monotonic(), address, protected=protected)
        self._flush()

    def _flush(self) -> None:
        if self.network is not None and not self.incoming:
            for arrival in self.network.receive(time.monotonic()):
                self._send(arrival.packet, arrival.label)

    def _send(self, datagram: bytes, address: Address) -> None:
        try:
            self.socket.sendto(datagram, address)
        except OSError:  # nobody listens, the route is away, or the buffer is full: a lost packet
            self.refused += 1

    @property
    def busy(self) -> bool:
        """Whether datagrams are under way in the simulated network."""
        return self.network is not None and self.network.next_s is not None

    def receive(self, timeout_s: float) -> list[tuple[bytes, Address]]:
        """Return the datagrams that arrive within a time, as soon as there is one."""
        self._flush()
        if self.network is not None and self.network.next_s is not None:
            timeout_s = min(timeout_s, self.network.next_s - time.monotonic())
        ready, _, _ = select.select([self.socket, self._woken], [], [], max(0.0, timeout_s))
        if self._woken in ready:
            self._woken.recv(4096)
        received: list[tuple[bytes, Address]] = []
        for _ in range(_BURST):
            try:
                received.append(self.socket.recvfrom(MAX_DATAGRAM + 1))
            except BlockingIOError:
                break
            except OSError:  # an ICMP message: nobody listens at the other end
                self.refused += 1
        self._flush()
        if not self.listen:
            known = [pair for pair in received if pair[1] == self.address]
            self.strangers += len(received) - len(known)
            received = known
        if self.network is None or not self.incoming:
            return received
        now_s = time.monotonic()
        for datagram, address in received:
            self.network.send(datagram, now_s, address, protected=protected_bytes(datagram))
        return [(arrival.packet, arrival.label) for arrival in self.network.receive(now_s)]
