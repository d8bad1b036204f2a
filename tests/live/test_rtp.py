"""RTP and RTCP datagrams, and descriptions of streams."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from chirrup.errors import FormatError
from chirrup.live.description import Description, parse_description, session_description
from chirrup.live.rtp import (
    COMFORT_NOISE,
    DESCRIPTION,
    MAX_DATAGRAM,
    Application,
    Bye,
    Control,
    Report,
    Sent,
    Voice,
    parse,
)

DOC = (Path(__file__).parents[2] / "docs" / "reference" / "format.md").read_text()
DEMO = Description("demo", "00112233445566778899aabbccddeeff", 24_000, 1, 1000, 2, 1, 0)
VOICE = Voice(7, 480, 0x01020304, bytes.fromhex("00006000"), starts=True)


def test_examples_of_the_reference() -> None:
    blocks = re.findall(r"```chirrup-datagram\n(.*?)```", DOC, re.DOTALL)
    found = [
        bytes.fromhex("".join(line[4:].partition(";")[0] for line in block.splitlines()))
        for block in blocks
    ]
    noise = Control(0x01020304, (Application(COMFORT_NOISE, b"\x32"),))
    assert found == [VOICE.pack(), noise.pack()]
    assert [parse(data) for data in found] == [VOICE, noise]
    lines = session_description(DEMO, "192.0.2.1", 5004).split("\r\n")
    documented = DOC.partition("```\nm=audio")[2].partition("```")[0]
    assert set(f"m=audio{documented}".split("\n")) <= {*lines}


def test_datagrams_return_from_bytes() -> None:
    """Numbers at the ends of their ranges overflow as RFC 3550 says."""
    voice = replace(VOICE, sequence=65_536, timestamp=(1 << 32) + 5)
    assert parse(voice.pack()) == replace(voice, sequence=0, timestamp=5)
    messages = (
        Sent(1 << 63, 480, 3, 12),
        Report(9, 0.25, -3, (5 << 16) + 7, 12, 13, 14),
        Report(10, 0.0, 1 << 22, 0, 0),
        Application(DESCRIPTION, DEMO.text.encode()),
        Bye(),
    )
    assert parse(Control(8, messages).pack()) == Control(8, messages)
    far = Control(8, (Report(9, 2.0, 1 << 30, 0, 0),)).pack()
    assert parse(far) == Control(8, (Report(9, 255 / 256, 0x7FFFFF, 0, 0),))


def test_optional_parts_of_the_header_are_skipped() -> None:
    plain = bytearray(VOICE.pack())
    plain[0] |= 0x20 | 0x10 | 2
    sources, extension, padding = bytes(8), b"\xbe\xde\0\1abcd", b"\0\0\3"
    assert parse(bytes(plain[:12]) + sources + extension + VOICE.payload + padding) == VOICE


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes"),
        (VOICE.pack()[:11], "11 bytes"),
        (b"\x40" + VOICE.pack()[1:], "version is 1"),
        (b"\x90" + VOICE.pack()[1:12] + b"\0\0", "header extension"),
        (b"\x90" + VOICE.pack()[1:12] + b"\0\0\0\1", "within its header"),
        (b"\x8f" + VOICE.pack()[1:], "within its header"),
        (b"\xa0" + VOICE.pack()[1:] + b"\x09", "padding"),
        (bytes(MAX_DATAGRAM + 1), "1401 bytes"),
        (b"\x81\xc9\0\1" + bytes(4), "too short for its 1 reports"),
        (b"\x80\xc8\0\1" + bytes(4), "sender report is too short"),
        (b"\x80\xcc\0\1" + bytes(4), "no name"),
        (b"\x80\xcb\0\0" + bytes(4), "states 4 bytes"),
        (b"\x80\xcb\0\2" + bytes(4), "states 12 bytes"),
        (Control(1, (Bye(),)).pack() + Control(2, (Bye(),)).pack(), "several sources"),
    ],
)
def test_malformed_datagrams(data: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        parse(data)


def test_descriptions() -> None:
    """Names may have any printable characters. Parameters of later versions are ignored."""
    odd = replace(DEMO, model="a;b=ü c")
    assert parse_description(odd.text.encode() + b";later=1") == odd


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("model=demo", "model="), "no name"),
        (("weights=0011", "weights=xx11"), "no hash"),
        (("rate=24000", "rate=24e3"), "rate='24e3'"),
        (("frames=1", "frames=5"), "frames='5'"),
        (("channels=1;", ""), "channels=''"),
    ],
)
def test_wrong_descriptions(change: tuple[str, str], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        parse_description(DEMO.text.replace(*change, 1).encode())
    with pytest.raises(FormatError, match="not text"):
        parse_description(b"\xff")
