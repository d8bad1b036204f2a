"""Why datagrams of other ends are ignored, as the commands state it."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import chirrup
from chirrup.calls.call import Call
from chirrup.calls.outputs import Output
from chirrup.cli.connections import ANSWER_S, Printer, causes, check_received, unanswered
from chirrup.errors import FileError
from chirrup.live.endpoint import Endpoint
from chirrup.live.link import UdpLink
from chirrup.live.rtp import DESCRIPTION, Application, Control, Report
from chirrup.live.sender import Sender

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def codec() -> chirrup.Codec:
    return chirrup.load("iris-t1")


@pytest.fixture
def call(codec: chirrup.Codec, tmp_path: Path) -> Generator[Call, None, None]:
    with Call(UdpLink("127.0.0.1", 0, listen=True), None, None) as call:
        call.receive(Output(tmp_path / "out.wav", raw=False, force=False), lambda _: codec)
        yield call


def sent(codec: chirrup.Codec, source: int, sealed: bool = False) -> list[bytes]:
    """Return a description and a voice."""
    end = Endpoint(source, Sender(codec, 6000, 0, codec.input_rate_hz, source))
    if sealed:
        from chirrup.live.seal import Sealer

        end.sealer = Sealer(KEY, "call")
    return [end.control(0.0) or b"", *end.push(np.zeros(2400, np.float32))]


@pytest.mark.parametrize(
    ("sealed", "words"),
    [(True, "give the key of the other end with --key-file"), (False, "the key to the other end")],
)
def test_only_one_end_has_a_key(codec: chirrup.Codec, call: Call, sealed: bool, words: str) -> None:
    pytest.importorskip("cryptography", reason="pip install 'chirrup[live]'")
    from chirrup.live import seal

    call.endpoint.opener = None if sealed else seal.Opener(KEY, "call")
    datagrams = sent(codec, 1, sealed)
    for datagram in datagrams:
        call.endpoint.receive(datagram, ("192.0.2.1", 1), 0.0)
    with pytest.raises(FileError, match=f" {len(datagrams)} datagrams were ignored.*{words}"):
        check_received(call, "out.wav", quiet=False)


def test_a_stream_that_comes_too_early_or_has_another_model(
    codec: chirrup.Codec, call: Call
) -> None:
    for source in (1, 2):
        for datagram in sent(codec, source):
            call.endpoint.receive(datagram, ("192.0.2.1", source), 0.0)
    [text] = causes(call)
    assert "another stream arrives and is ignored" in text
    busy = len(sent(codec, 2)) - 1
    assert f"{busy} datagrams ignored" in call.meters().line()
    made = replace(Sender(codec, 6000, 0, codec.input_rate_hz).description, model="iris-x")
    description = Application(DESCRIPTION, made.text.encode())
    for datagram in [Control(3, (description,)).pack(), *sent(codec, 3)[1:]]:
        call.endpoint.receive(datagram, ("192.0.2.1", 3), 4.0)
    assert "another model than iris-t1 is ignored" in causes(call)[-1]
    assert f"{2 * busy} datagrams ignored" in call.meters().line()


def test_an_answer_from_another_address(codec: chirrup.Codec, tmp_path: Path) -> None:
    link = UdpLink("127.0.0.1", 9, listen=False)
    with Call(link, None, None) as call:
        call.receive(Output(tmp_path / "out.wav", raw=False, force=False), lambda _: codec)
        link.strangers = 1
        with pytest.raises(FileError, match=r"1 datagrams were.*--port ADDRESS:PORT"):
            check_received(call, "out.wav", quiet=False)


@pytest.mark.parametrize("answers", [False, True])
def test_nobody_receives(
    codec: chirrup.Codec, capsys: pytest.CaptureFixture[str], answers: bool
) -> None:
    with Call(UdpLink("127.0.0.1", 9, listen=False), None, None) as call:
        call.endpoint.sender = sender = Sender(codec, 6000, 0, codec.input_rate_hz, 1)
        printer = Printer(call, call.meters(), as_json=True, quiet=False)
        for second in range(1, 9):
            printer.second()
            if answers:
                sender.receive(Report(1, 0.0, 0, 9, 240), 1.0)
            warned = "no receiver answers at 127.0.0.1:9" in capsys.readouterr().err
            assert warned == (second == ANSWER_S and not answers)


def test_an_end_that_waits_expects_no_answer(codec: chirrup.Codec, call: Call) -> None:
    call.endpoint.sender = Sender(codec, 6000, 0, codec.input_rate_hz, 1)
    assert unanswered(call) == []


def test_values_of_the_receiver_are_unknown_until_it_reports(
    codec: chirrup.Codec, call: Call
) -> None:
    call.endpoint.sender = sender = Sender(codec, 6000, 0, codec.input_rate_hz, 1)
    meters = call.meters()
    names = ("loss_percent", "lost", "jitter_ms", "round_trip_ms")
    assert [meters.values()["sent"][name] for name in names] == [None] * 4
    for text in (meters.short(), meters.line()):
        assert "no report from a receiver" in text
        assert "loss" not in text
    sender.receive(Report(1, 0.25, 3, 9, 240), 1.0)
    assert [meters.values()["sent"][name] for name in names] == [25, 3, 10, None]
    assert meters.short().endswith("kbit/s, loss 25 %")
    assert "at the receiver: loss 25 %, jitter 10 ms; no stream" in meters.line()
    sender.receive(Report(1, 0.0, 3, 9, 240, 1 << 16, 1 << 15), 2.0)
    assert "loss 0 %, jitter 10 ms, round trip 500 ms;" in meters.line()
