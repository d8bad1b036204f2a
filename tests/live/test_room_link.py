"""A link to a room of a relay, and calls over it."""

import socket
import threading
import time
from collections.abc import Callable, Generator

import pytest

pytest.importorskip("aiohttp", reason="pip install 'chirrup[web]'")

from chirrup.errors import FileError
from chirrup.live.network import Network
from chirrup.live.room_link import RoomLink
from chirrup.live.rtp import Voice
from chirrup.serve.relay import Limits
from relays import Running, running_relay

LIMIT_S = 30


@pytest.fixture
def relay() -> Generator[Running, None, None]:
    with running_relay() as running:
        yield running


def until(condition: Callable[[], object], link: RoomLink | None = None) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01) if link is None else link.receive(0.01)


def received(link: RoomLink, count: int) -> list[bytes]:
    found: list[bytes] = []
    end_s = time.monotonic() + LIMIT_S
    while len(found) < count and time.monotonic() < end_s:
        found += [datagram for datagram, _ in link.receive(0.1)]
    return found


def test_datagrams_cross_the_room_and_the_last_ones_are_sent_before_the_end(relay: Running) -> None:
    datagrams = [bytes([number]) * number for number in range(1, 40)]
    ann = RoomLink(relay.room("lab"))
    assert ann.others is None
    ann.send(b"to nobody")
    assert ann.refused == 1
    ben = RoomLink(relay.room("lab"))
    until(lambda: ann.others)
    for datagram in datagrams:
        ann.send(datagram)
    ann.close()
    assert received(ben, len(datagrams)) == datagrams
    until(lambda: ben.others is None)
    ben.close()
    until(lambda: relay.relay.rooms == {})


def test_somebody_who_joins_is_noticed(relay: Running) -> None:
    links = [RoomLink(relay.room("lab")) for _ in range(2)]
    try:
        until(lambda: links[0].others)
        before = links[0].others
        links.append(RoomLink(relay.room("lab")))
        until(lambda: links[0].others != before)
        before = links[0].others
        links.pop().close()
        until(lambda: len(relay.relay.rooms["lab"]) == 2)
        assert links[0].others == before
    finally:
        for link in links:
            link.close()


def test_a_link_joins_again_after_the_relay_was_away() -> None:
    with running_relay() as running:
        link = RoomLink(running.room("lab"))
        other = RoomLink(running.room("lab"))
        until(lambda: link.others)
    try:
        until(lambda: link.trouble)
        assert "the relay has been ended" in str(link.trouble)
        assert link.others is None
        with running_relay(port=running.port):
            until(lambda: link.others and other.others)
            link.send(b"again")
            assert received(other, 1) == [b"again"]
            assert link.trouble is None
    finally:
        other.close()
        link.close()


def test_wake_ends_the_wait(relay: Running) -> None:
    link = RoomLink(relay.room("lab"))
    try:
        link.receive(0.0)
        timer = threading.Timer(0.1, link.wake)
        timer.start()
        before_s = time.monotonic()
        assert link.receive(LIMIT_S) == []
        assert time.monotonic() - before_s < LIMIT_S / 2
    finally:
        link.close()


def test_a_simulated_network_is_before_the_room(relay: Running) -> None:
    network = Network("bit-errors:50%")
    ann, ben = RoomLink(relay.room("lab"), network=network), RoomLink(relay.room("lab"))
    try:
        until(lambda: ann.others)
        voice = Voice(1, 2, 3, bytes(100)).pack()
        ann.send(voice)
        (arrived,) = received(ben, 1)
        assert arrived[:12] == voice[:12]
        inverted = sum(byte.bit_count() for byte in arrived[12:])
        assert inverted == pytest.approx(400, abs=100)
    finally:
        ann.close()
        ben.close()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "token", "message"),
    [
        ("ws://127.0.0.1:CLOSED/relay/lab", None, "cannot be reached: Connection refused"),
        ("wss://127.0.0.1:PORT/relay/lab", None, "cannot be reached: "),
        ("ws://127.0.0.1:PORT/other/relay/lab", None, "answers with status 404: check the address"),
        ("ws://127.0.0.1:PORT/relay/lab", None, "the relay needs a token"),
        ("ws://127.0.0.1:PORT/relay/lab", "0" * 16, "the relay does not accept this token"),
        ("ws://127.0.0.1:PORT/relay/full", "1" * 16, "the room has 2 people and is full"),
    ],
)
def test_refused_connections_have_clear_errors(
    address: str, token: str | None, message: str
) -> None:
    with running_relay(Limits(people=2, token="1" * 16)) as running:
        inside = [RoomLink(running.room("full"), "1" * 16) for _ in range(2)]
        port = closed_port()
        try:
            address = address.replace("PORT", str(running.port)).replace("CLOSED", str(port))
            with pytest.raises(FileError, match=message):
                RoomLink(address, token)
        finally:
            for link in inside:
                link.close()
