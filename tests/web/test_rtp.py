"""The datagrams of the page Talk, in Node, against Python in both directions."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chirrup
from chirrup.errors import FormatError
from chirrup.live import rtp
from chirrup.live.description import Description, parse_description
from chirrup.live.endpoint import Endpoint
from chirrup.live.receiver import Receiver
from chirrup.live.sender import Sender
from chirrup.serve import assets
from chirrup.zoo import FOLDER
from fuzzing_bitstream import tampered

Run = Callable[..., Any]
MODEL = "iris-t1"
DESCRIPTION = Description("a model/ü", "0123456789abcdef" * 2, 24_000, 1, 6000, 12, 2, 3)
VOICES = [
    rtp.Voice(0, 0, 0, b""),
    rtp.Voice(7, 480, 0x01020304, b"\x00\x00\x60\x00", True),
    rtp.Voice(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, bytes(range(200))),
]
CONTROLS = [
    rtp.Control(
        0xFEDCBA98,
        (
            rtp.Sent((1 << 64) - 1, 0xFFFFFFFE, 3, 4_000_000_000),
            rtp.Application(rtp.DESCRIPTION, DESCRIPTION.text.encode()),
            rtp.Report(7, 0.5, -2, 0x12345678, 12, 0xFFFFFFFF, 4),
            rtp.Report(8, 255 / 256, 0x7FFFFF, 1, 0xFFFFFFFF),
            rtp.Bye(),
        ),
    ),
    rtp.Control(9, (rtp.Application(rtp.COMFORT_NOISE, b"\x32"),)),
    rtp.Control(9, (rtp.Bye(),)),
]


def message(of: rtp.Message) -> dict[str, Any]:
    """Return a message as the page has it."""
    match of:
        case rtp.Sent():
            counts = {"packets": of.packets, "payloadBytes": of.payload_bytes}
            return {"type": "sent", "ntp": str(of.ntp), "timestamp": of.timestamp} | counts
        case rtp.Report():
            names = ("source", "lostShare", "lost", "highest", "jitter", "lastReport")
            return {
                "type": "report",
                **dict(zip((*names, "sinceLastReport"), vars(of).values(), strict=True)),
            }
        case rtp.Application():
            return {"type": "application", "kind": of.kind, "data": of.data.hex()}
    return {"type": "bye"}


def plain(packet: rtp.Voice | rtp.Control) -> dict[str, Any]:
    if isinstance(packet, rtp.Voice):
        return {**vars(packet), "payload": packet.payload.hex()}
    return {"source": packet.source, "messages": [message(of) for of in packet.messages]}


def test_datagrams_are_those_of_python(talk_task: Run) -> None:
    packets = [*VOICES, *CONTROLS]
    datagrams = [packet.pack().hex() for packet in packets]
    assert talk_task("pack", packets=[plain(packet) for packet in packets]) == datagrams
    assert talk_task("parse", datagrams=datagrams) == [plain(packet) for packet in packets]


def test_the_same_datagrams_are_malformed(talk_task: Run) -> None:
    draw, sound = random.Random(1), [packet.pack() for packet in (*VOICES, *CONTROLS)]
    datagrams = [tampered(draw.choice(sound), draw) for _ in range(2000)]
    datagrams += [draw.randbytes(draw.choice((0, 1, 3, 8, 12, 60, 1500))) for _ in range(300)]
    expected = []
    for datagram in datagrams:
        try:
            expected.append(plain(rtp.parse(datagram)))
        except FormatError:
            expected.append(None)
    found = talk_task("parse", datagrams=[datagram.hex() for datagram in datagrams])
    found = [None if isinstance(packet, str) else packet for packet in found]
    assert found == expected
    assert 100 < expected.count(None) < 2200


def spec_of(name: str) -> dict[str, Any]:
    return assets.describe(FOLDER / name)


def test_descriptions_are_those_of_python(talk_task: Run) -> None:
    spec = chirrup.load(MODEL).spec
    own = Description.of(spec, 12, 1, 0).text
    wrong = [
        own.replace("rate=24000", "rate=24001"),
        own.replace("codebooks=12", "codebooks=0"),
        own.replace("frames=1", "frames=5"),
        own.replace("weights=", "weights=x"),
        *("", "model=", own.replace(f"model={MODEL}", "model=%")),
    ]
    settings = {"codebooks": 12, "frames": 1, "redundancy": 0}
    texts = [own, DESCRIPTION.text, f"{own};later=1", *wrong]
    made, found = talk_task("describe", model=spec_of(MODEL), settings=settings, texts=texts)
    assert parse_description(made.encode()) == parse_description(own.encode())
    assert found[0] == vars(parse_description(own.encode())) | {"isOf": True}
    assert found[1] == vars(DESCRIPTION) | {"isOf": False}
    assert found[2]["isOf"]
    assert not found[3]["isOf"]
    assert all(isinstance(text, str) for text in found[4:]), found[4:]


def test_a_call_with_an_endpoint_of_python(talk_task: Run) -> None:
    """Streams, reports, round trips, the end, and what the page ignores."""
    codec = chirrup.load(MODEL)
    python = Endpoint(7, Sender(codec, 6000, 0, codec.input_rate_hz, 7), Receiver(lambda _: codec))
    described = python.control(10.0) or b""
    voices = python.push(np.zeros(20 * codec.frame_samples, np.float32))
    del voices[4:6]
    script = [
        ["echo", 0.8, None],
        ["receive", 0.9, voices[0].hex()],  # not described yet
        ["receive", 1.0, described.hex()],
        *(["receive", 1.1 + 0.02 * n, voice.hex()] for n, voice in enumerate(voices)),
        ["receive", 1.5, b"garbage".hex()],
        ["voice", 1.6, ["006000", 480, True]],
        ["voice", 1.62, ["006000", 960, False]],
        ["voice", 1.64, ["0060", 1440, True]],
        ["control", 2.0, None],
        ["tick", 5.0, None],
        ["tick", 6.6, None],
        ["leave", 7.0, None],
    ]
    settings = {"codebooks": 12, "frames": 1, "redundancy": 0}
    found = talk_task("call", model=spec_of(MODEL), settings=settings, script=script)
    assert (found["begun"], found["ended"], found["ignored"]) == ([7], [7], 2)
    numbers = [rtp.parse(voice) for voice in voices]
    assert [tuple(voice) for voice in found["heard"]] == [
        (7, voice.sequence, voice.payload.hex())
        for voice in numbers
        if isinstance(voice, rtp.Voice)
    ]
    sent = [rtp.parse(bytes.fromhex(text)) for text in found["sent"] if text]
    first, second, control, leaves = sent
    assert isinstance(first, rtp.Voice)
    assert isinstance(second, rtp.Voice)
    assert (first.starts, second.starts) == (True, True)
    assert second.sequence == (first.sequence + 1) & 0xFFFF
    assert (second.timestamp - first.timestamp) & 0xFFFFFFFF == 960
    assert isinstance(control, rtp.Control)
    report = next(of for of in control.messages if isinstance(of, rtp.Report))
    assert (report.source, report.lost) == (7, 2)
    assert report.lost_share == pytest.approx(2 / (len(voices) + 2), abs=1 / 256)
    assert leaves == rtp.Control(found["source"], (rtp.Bye(),))
    # The page describes its stream, and its report measures a round trip.
    python.receive(control.pack(), ("192.0.2.1", 1), 13.0)
    python.receive(first.pack(), ("192.0.2.1", 1), 13.1)
    assert python.receiver is not None
    assert python.receiver.description is not None
    assert python.receiver.description.model == MODEL
    assert python.sender is not None
    assert python.sender.statistics.lost == 2
    # The page held the time of 10.0 for 1 s; the rest until 13.0 is the trip.
    assert python.sender.statistics.round_trip_ms == pytest.approx(2000, abs=2)


def test_the_page_measures_the_round_trip(talk_task: Run) -> None:
    """A report comes back 0.75 s after the page's own, which the other end held for 0.5 s."""
    settings = {"codebooks": 12, "frames": 1, "redundancy": 0}
    report = {"lastReport": 100 << 16, "sinceLastReport": 1 << 15, "lostShare": 0.25, "lost": 3}
    script = [["control", 100.0, None], ["report", 100.75, {**report, "highest": 5, "jitter": 0}]]
    found = talk_task("call", model=spec_of(MODEL), settings=settings, script=script)
    ((source, values),) = found["reports"]
    assert source == 5
    assert values["lossPercent"] == 25
    assert values["roundTripMs"] == pytest.approx(250, abs=0.1)


def test_streams_have_a_limit(talk_task: Run) -> None:
    settings = {"codebooks": 12, "frames": 1, "redundancy": 0}
    described = rtp.Application(rtp.DESCRIPTION, DESCRIPTION.text.encode())
    script = [["receive", 1.0, rtp.Control(n, (described,)).pack().hex()] for n in range(20)]
    script += [["receive", 1.1, rtp.Control(3, (rtp.Bye(),)).pack().hex()]]
    script += [["receive", 1.2, rtp.Control(99, (described,)).pack().hex()]]
    found = talk_task("call", model=spec_of(MODEL), settings=settings, script=script)
    assert (found["begun"], found["ended"]) == ([*range(8), 99], [3])
