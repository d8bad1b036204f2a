"""Links to other ends, with a simulated network before them if one is asked for; over UDP here."""

import select
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from contextlib import suppress
from typing import Final

from chirrup.errors import FileError, UsageError
from chirrup.live.network import Network
from chirrup.live.rtp import HEADER_BYTES, MAX_DATAGRAM, is_control

Address = tuple[str, int] | tuple[str, int, int, int]
UDP_BYTES: Final = 8
IP_BYTES: Final = {socket.AF_INET: 20, socket.AF_INET6: 40}
_Ancillary = tuple[int, int, bytes]
_IP_PKTINFO: Final = getattr(socket, "IP_PKTINFO", 8 if sys.platform == "linux" else None)
"""Linux's value, which Python has from 3.14."""
_PACKET_INFORMATION: Final = {  # level, option, kind of message: ip(7) and RFC 3542, section 6
    socket.AF_INET: (socket.IPPROTO_IP, _IP_PKTINFO, _IP_PKTINFO),
    socket.AF_INET6: (
        socket.IPPROTO_IPV6,
        getattr(socket, "IPV6_RECVPKTINFO", None),
        getattr(socket, "IPV6_PKTINFO", None),
    ),
}
MAX_PEERS: Final = 64
"""Other ends whose last datagrams are remembered with the own address that they were sent to."""
_ANCILLARY_BYTES: Final = 128
"""Space for packet information, which has 12 or 20 bytes, and its head."""
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
    is_number = port.isascii() and port.isdigit()
    if is_number and not 1 <= int(port[:6]) <= 65_535:
        raise UsageError(f"the port of {text!r} is not from 1 to 65535")
    if not is_number or (":" in host and not bracketed) or (host_needed and not host):
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


def _answering(message: _Ancillary) -> _Ancillary:
    """Return the packet information of an answer to a received datagram's.

    The own address stays, and the system chooses the interface, as without this information.
    """
    level, kind, data = message
    if level == socket.IPPROTO_IPV6:
        return level, kind, data[:16] + bytes(len(data) - 16)
    return level, kind, bytes(4) + data[4:8] + bytes(len(data) - 8)


class Link(ABC):
    """A link. It belongs to one thread; only `wake` may be called by all.

    Args:
        name: its address, for messages.
        listen: whether it waits for the other end, whose address is not known before.
        header_bytes: bytes of the headers of a datagram.
        network: a simulated network.
        incoming: the network is for received datagrams instead of sent ones.

    Attributes:
        shared: whether the link leads to a room, in which there may be several other ends.
        others: in a room, a value that changes when somebody joins; None if nobody else is there.
        trouble: why datagrams cannot be sent at present, for a warning; None if they can.
        refused: datagrams that could not be sent.
        strangers: datagrams from another address than the other end's.
    """

    shared = False
    others: Address | None = None
    trouble: str | None = None

    def __init__(
        self, name: str, listen: bool, header_bytes: int, network: Network | None, incoming: bool
    ) -> None:
        self.name, self.listen, self.header_bytes = name, listen, header_bytes
        self.network, self.incoming = network, incoming
        self.refused = self.strangers = 0

    @abstractmethod
    def close(self) -> None:
        """Close the link."""

    @abstractmethod
    def wake(self) -> None:
        """Make `receive` return at once, in any thread."""

    @abstractmethod
    def _send(self, datagram: bytes, address: Address | None) -> None:
        """Send a datagram, to an address if the link listens."""

    @abstractmethod
    def _wait(self, timeout_s: float) -> list[tuple[bytes, Address]]:
        """Return the datagrams that arrive within a time, as soon as there is one."""

    def send(self, datagram: bytes, address: Address | None = None) -> None:
        """Send a datagram: to an address if the link listens, or to the other end."""
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

    @property
    def busy(self) -> bool:
        """Whether datagrams are under way in the simulated network."""
        return self.network is not None and self.network.next_s is not None

    def receive(self, timeout_s: float) -> list[tuple[bytes, Address]]:
        """Return the datagrams that arrive within a time, as soon as there is one."""
        self._flush()
        if self.network is not None and self.network.next_s is not None:
            timeout_s = min(timeout_s, self.network.next_s - time.monotonic())
        received = self._wait(max(0.0, timeout_s))
        self._flush()
        if self.network is None or not self.incoming:
            return received
        now_s = time.monotonic()
        for datagram, address in received:
            self.network.send(datagram, now_s, address, protected=protected_bytes(datagram))
        return [(arrival.packet, arrival.label) for arrival in self.network.receive(now_s)]


class UdpLink(Link):
    """A UDP socket that does not block.

    A link that listens at any address answers from the address to which the other end sent, as
    far as the system gives it.

    Args:
        host: the other end, or with ``listen`` the own address; empty is any address.
        port: its port.
        listen: receive at this address, instead of sending to the other one. A link that does not
            listen receives from the other end only.
        network: a simulated network.
        incoming: the network is for received datagrams instead of sent ones.

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
        flags = socket.AI_PASSIVE if listen else 0
        self.listen = listen
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
        self._own: OrderedDict[Address, list[_Ancillary]] = OrderedDict()  # by the other end
        header_bytes = UDP_BYTES + IP_BYTES[self.socket.family]
        super().__init__(shown, listen, header_bytes, network, incoming)
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
                level, option, _ = _PACKET_INFORMATION[socket.AddressFamily(family)]
                if option is not None and hasattr(opened, "recvmsg"):
                    with suppress(OSError):  # then the system chooses the address of answers
                        opened.setsockopt(level, option, 1)
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

    def _send(self, datagram: bytes, address: Address | None) -> None:
        address = address or self.address
        if own := self._own.get(address):
            try:
                self.socket.sendmsg([datagram], own, 0, address)
                return
            except OSError:  # the system does not take it, or no longer has this address
                del self._own[address]
        try:
            self.socket.sendto(datagram, address)
        except OSError:  # nobody listens, the route is away, or the buffer is full: a lost packet
            self.refused += 1

    def _receive(self) -> tuple[bytes, Address]:
        """Return a datagram and its address, and note the own address that it was sent to."""
        if not self.listen or not hasattr(self.socket, "recvmsg"):
            return self.socket.recvfrom(MAX_DATAGRAM + 1)
        level, _, kind = _PACKET_INFORMATION[self.socket.family]
        datagram, ancillary, _, address = self.socket.recvmsg(MAX_DATAGRAM + 1, _ANCILLARY_BYTES)
        own = [_answering(message) for message in ancillary if message[:2] == (level, kind)]
        if own:
            self._own[address] = own
            self._own.move_to_end(address)
            if len(self._own) > MAX_PEERS:
                self._own.popitem(last=False)
        return datagram, address

    def _wait(self, timeout_s: float) -> list[tuple[bytes, Address]]:
        ready, _, _ = select.select([self.socket, self._woken], [], [], timeout_s)
        if self._woken in ready:
            self._woken.recv(4096)
        received: list[tuple[bytes, Address]] = []
        for _ in range(_BURST):
            try:
                received.append(self._receive())
            except BlockingIOError:
                break
            except OSError:  # an ICMP message: nobody listens at the other end
                self.refused += 1
        if not self.listen:
            known = [pair for pair in received if pair[1] == self.address]
            self.strangers += len(received) - len(known)
            received = known
        return received
