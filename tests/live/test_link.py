"""A UDP socket with a simulated network before it."""

import socket
import sys
from collections.abc import Generator

import pytest

from chirrup.errors import FileError
from chirrup.live.link import UdpLink
from chirrup.live.network import Network
from chirrup.live.rtp import Bye, Control, Voice


@pytest.fixture
def other() -> Generator[socket.socket, None, None]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.settimeout(10)
        yield other


def test_a_datagram_that_is_delayed_keeps_its_address(other: socket.socket) -> None:
    """Any number of datagrams may be under way. Copies have the address of their datagram too."""
    count = 5000
    network = Network("delay:3000ms+duplicate:50%+loss:10%")
    link = UdpLink("127.0.0.1", 0, listen=True, network=network, incoming=True)
    received = []
    try:
        at = link.socket.getsockname()
        for number in range(count):
            other.sendto(number.to_bytes(2), at)
            received += link.receive(0.0)
        while network.sent < count or link.busy:
            received += link.receive(1.0)
    finally:
        link.close()
    assert {address for _, address in received} == {other.getsockname()}
    assert len({data for data, _ in received}) == pytest.approx(0.9 * count, rel=0.05)
    assert len(received) == pytest.approx(1.5 * 0.9 * count, rel=0.05)


def test_headers_have_no_bit_errors(other: socket.socket) -> None:
    link = UdpLink(*other.getsockname(), listen=False, network=Network("bit-errors:50%"))
    voice = Voice(1, 2, 3, bytes(100)).pack()
    control = Control(3, (Bye(),)).pack()
    try:
        for datagram in (voice, control):
            link.send(datagram)
    finally:
        link.close()
    arrived = other.recv(200)
    assert arrived[:12] == voice[:12]
    assert sum(byte.bit_count() for byte in arrived[12:]) == pytest.approx(400, abs=100)
    assert other.recv(200) == control


def test_a_link_is_busy_until_the_last_delayed_datagram_is_sent(other: socket.socket) -> None:
    link = UdpLink(*other.getsockname(), listen=False, network=Network("delay:500ms"))
    try:
        link.send(b"last")
        assert link.busy
        while link.busy:
            link.receive(10.0)  # returns at the time of the next arrival
    finally:
        link.close()
    assert other.recv(100) == b"last"


@pytest.mark.parametrize(
    ("host", "own"), [("", "127.0.0.2"), ("0.0.0.0", "127.0.0.2"), ("", "::1")]
)
def test_an_answer_has_the_address_that_was_called(host: str, own: str) -> None:
    """A machine has several addresses. The other end ignores datagrams from another one."""
    known = sys.platform == "linux" if host else hasattr(socket, "IPV6_RECVPKTINFO")
    if not known or not (host or socket.has_ipv6):
        pytest.skip("this system does not name the own address of a datagram")
    waits = UdpLink(host, 0, listen=True)
    port = waits.socket.getsockname()[1]
    links = [waits]
    try:
        try:
            links.append(UdpLink(own, port, listen=False))
            links[1].send(b"call")
            received = waits.receive(5.0)
        except FileError:
            received = []
        if not received:
            pytest.skip(f"this machine does not have the address {own}")
        [(datagram, address)] = received
        assert datagram == b"call"
        waits.send(b"answer", address)
        assert [answer for answer, _ in links[1].receive(5.0)] == [b"answer"]
        assert links[1].strangers == 0
    finally:
        for link in links:
            link.close()
