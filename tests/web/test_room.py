"""The WebSocket of the page Talk, in Node."""

from collections.abc import Callable
from typing import Any

from chirrup.live import rooms

Run = Callable[..., Any]


def test_addresses_of_rooms_are_those_of_python(talk_task: Run) -> None:
    right = {
        ("http://127.0.0.1:8000/", "lab"): "ws://127.0.0.1:8000/relay/lab",
        ("https://example.org/under/?x#y", "a_b-9"): "wss://example.org/under/relay/a_b-9",
        ("wss://example.org", "x" * 64): f"wss://example.org/relay/{'x' * 64}",
    }
    wrong = [
        ("ftp://example.org", "lab"),
        ("example.org", "lab"),
        ("ws://h", ""),
        ("ws://h", "a/b"),
    ]
    wrong += [("ws://h", "x" * 65), ("ws://h", "lab\n"), ("ws://h", "ä")]
    found, names = talk_task("addresses", pairs=[*right, *wrong])
    assert found[: len(right)] == list(right.values())
    assert all(" " in text for text in found[len(right) :]), found
    for address in [*right.values(), *(f"ws://h/relay/{name}" for name in names)]:
        rooms.check_room(address)
    assert names[0] != names[1]


def test_the_connection_is_opened_again_unless_it_is_refused(talk_task: Run) -> None:
    token = 'a token/+="of 25 letters'
    broken = {"code": 1006, "reason": ""}
    script = [
        *(["text", rooms.news(2)], ["binary", "80600102"], ["end", broken], ["end", broken]),
        ["text", rooms.news(1)],
        *(["end", {"code": rooms.GOING, "reason": "the relay has been ended"}],),
        ["end", {"code": rooms.WRONG_TOKEN, "reason": "the relay needs a token"}],
        ["end", broken],
    ]
    log = talk_task("room", token=token, script=script)
    opened = ["opened", "ws://relay/relay/lab", rooms.offered_protocols(token)]
    again = [["people", 0], ["trouble", "The connection broke. Trying again.", False]]
    assert log == [
        *(opened, ["people", 2], ["datagram", "80600102"]),
        *(*again, ["pause", 500], opened),
        *(*again, ["pause", 1000], opened),
        *(["people", 1], ["people", 0]),
        ["trouble", "The relay has been ended. Trying again.", False],
        *(["pause", 500], opened),
        ["trouble", "The relay needs a token.", True],
    ]


def test_a_first_connection_that_fails_is_not_tried_again(talk_task: Run) -> None:
    log = talk_task("room", token="", script=[["end", {"code": 1006, "reason": ""}]])
    assert log[0][2] == [rooms.PROTOCOL]
    ((_, text, is_final),) = log[1:]
    assert text == "The relay cannot be reached, or is not for this page."
    assert is_final


def test_datagrams_are_dropped_while_the_connection_is_slow(talk_task: Run) -> None:
    states = [(0, 0), (1, 0), (1, 8192), (1, 100), (3, 0)]
    script = [["send", {"readyState": ready, "bufferedAmount": size}] for ready, size in states]
    log = talk_task("room", token="", script=script)
    assert log[1:] == [["sent", *counts] for counts in ((0, 1), (1, 1), (1, 2), (2, 2), (2, 3))]
