"""The rooms of the relay, without sockets."""

import json
from collections.abc import Callable

import pytest

from chirrup.live import rooms
from chirrup.live.rooms import MAX_WAITING
from chirrup.live.rtp import MAX_DATAGRAM
from chirrup.serve.relay import BURST_S, HEADER_BYTES, Limits, RefusedError, Relay

TOKEN = "a-token-of-22-letters."


def nothing() -> None:
    pass


def taken(take: Callable[[], str | bytes | None]) -> list[str | bytes]:
    return list(iter(take, None))


def test_a_datagram_goes_to_all_others_of_the_room_as_it_is() -> None:
    relay = Relay(Limits())
    woken: list[str] = []
    ann, ben, cid = (relay.join("lab", None, 0.0, lambda n=n: woken.append(n)) for n in "abc")
    other = relay.join("attic", None, 0.0, nothing)
    for person in (ann, ben, cid, other):
        taken(person.take)
    woken.clear()
    relay.forward(ann, b"\x80voice", 0.1)
    assert [taken(person.take) for person in (ann, ben, cid, other)] == [
        [],
        [b"\x80voice"],
        [b"\x80voice"],
        [],
    ]
    assert sorted(woken) == ["b", "c"]


def test_people_learn_how_many_are_in_the_room() -> None:
    relay = Relay(Limits())
    ann = relay.join("lab", None, 0.0, nothing)
    assert json.loads(str(ann.take())) == {"people": 1}
    ben = relay.join("lab", None, 0.0, nothing)
    relay.forward(ben, b"x", 0.0)
    assert taken(ann.take) == [rooms.news(2), b"x"]
    relay.leave(ben)
    assert [rooms.parse_news(str(text)) for text in taken(ann.take)] == [1]
    relay.leave(ann)
    assert relay.rooms == {}


def test_a_slow_person_loses_the_oldest_datagrams() -> None:
    relay = Relay(Limits())
    ann, ben = (relay.join("lab", None, 0.0, nothing) for _ in range(2))
    for number in range(MAX_WAITING + 7):
        relay.forward(ann, bytes([number]), 0.0)
    kept = [item for item in taken(ben.take) if isinstance(item, bytes)]
    assert kept == [bytes([number]) for number in range(7, MAX_WAITING + 7)]
    assert (ann.dropped, ben.dropped) == (0, 7)


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", "ü" * 20])
def test_only_the_token_opens_a_room(token: str | None) -> None:
    relay = Relay(Limits(token=TOKEN))
    with pytest.raises(RefusedError, match="token") as refused:
        relay.join("lab", token, 0.0, nothing)
    assert refused.value.code == rooms.WRONG_TOKEN
    assert relay.rooms == {}
    assert relay.join("lab", TOKEN, 0.0, nothing).room == "lab"


def test_numbers_of_people_and_rooms_have_limits() -> None:
    relay = Relay(Limits(people=2, rooms=2))
    ann, _ = (relay.join("lab", None, 0.0, nothing) for _ in range(2))
    with pytest.raises(RefusedError, match="2 people"):
        relay.join("lab", None, 0.0, nothing)
    relay.join("attic", None, 0.0, nothing)
    with pytest.raises(RefusedError, match="2 rooms"):
        relay.join("cellar", None, 0.0, nothing)
    relay.leave(ann)
    relay.join("lab", None, 0.0, nothing)


def test_datagrams_have_a_limit_of_size_and_rate() -> None:
    """Only what arrives within `BURST_S` may be faster, because a connection may have stalled."""
    rate_bps = 80_000
    relay = Relay(Limits(rate_bps=rate_bps))
    ann = relay.join("lab", None, 0.0, nothing)
    with pytest.raises(RefusedError, match="1401") as refused:
        relay.forward(ann, bytes(MAX_DATAGRAM + 1), 0.0)
    assert refused.value.code == rooms.TOO_BIG
    a_second = rate_bps // 8 // (36 + HEADER_BYTES)
    for number in range(60 * a_second):
        relay.forward(ann, bytes(36), number / a_second)
    for _ in range(int(BURST_S - 1) * a_second):
        relay.forward(ann, bytes(36), 60.0)
    with pytest.raises(RefusedError, match="80 kbit/s") as refused:  # noqa: PT012
        for _ in range(2 * a_second):
            relay.forward(ann, bytes(36), 60.0)
    assert refused.value.code == rooms.TOO_FAST
