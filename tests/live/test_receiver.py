"""Which streams a receiver accepts, and what it does while a model is loaded."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import chirrup
from chirrup.live.description import Description
from chirrup.live.endpoint import Endpoint
from chirrup.live.receiver import (
    AWAY_S,
    GONE_S,
    MAX_HELD,
    MAX_OFFERS,
    UNPROVED_S,
    Found,
    Loading,
    Receiver,
)
from chirrup.live.rtp import DESCRIPTION, Application, Control, Report
from chirrup.live.sender import Sender

ALICE, EVE = ("192.0.2.1", 5004), ("192.0.2.6", 5004)
FRAME_S = 0.02


@pytest.fixture(scope="module")
def codec() -> chirrup.Codec:
    return chirrup.load("iris-t1")


def sender_of(codec: chirrup.Codec, source: int = 7) -> Endpoint:
    bitrate_bps = codec.bitrates_bps[-1]
    return Endpoint(source, Sender(codec, bitrate_bps, 1, codec.input_rate_hz, source))


def receiver_of(find_codec: Callable[[Description], Found]) -> tuple[Endpoint, Receiver]:
    receiver = Receiver(find_codec)
    return Endpoint(9, receiver=receiver), receiver


def voice_of(end: Endpoint, codec: chirrup.Codec, frames: int) -> list[bytes]:
    return end.push(np.zeros(frames * codec.frame_samples, np.float32))


def control_of(end: Endpoint) -> bytes:
    datagram = end.control(0.0)
    assert datagram is not None
    return datagram


@pytest.mark.parametrize("source", [7, 66])
def test_a_stream_belongs_to_the_address_of_its_description(
    codec: chirrup.Codec, source: int
) -> None:
    """Descriptions alone take no place, whatever SSRC they state."""
    end, receiver = receiver_of(lambda description: codec)
    alice, eve = sender_of(codec), sender_of(codec, source)
    voice = voice_of(alice, codec, 12)
    for number in range(50):
        end.receive(control_of(eve), EVE, 0.1 * number)
    end.receive(voice[0], ALICE, 5.0)
    assert (receiver.codec, receiver.statistics.undescribed) == (None, 1)
    end.receive(control_of(alice), ALICE, 5.1)
    end.receive(control_of(eve), EVE, 5.1)
    assert receiver.report(5.1) is None
    for number, datagram in enumerate(voice[1:]):
        end.receive(datagram, ALICE, 5.2 + number * FRAME_S)
        end.receive(datagram, EVE, 5.2 + number * FRAME_S)
    assert receiver.playout is not None
    count = receiver.playout.statistics
    assert (count.received, count.duplicates) == (len(voice) - 1, 0)
    counts = receiver.statistics
    assert counts.undescribed + counts.busy == 1 + len(voice) - 1
    assert (counts.busy > 0) == (source == alice.source)  # Eve has described this SSRC
    assert receiver.sender(6.0) == ALICE
    end.receive(control_of(eve), EVE, 6.0)
    away_s = 6.0 + AWAY_S
    end.receive(voice_of(eve, codec, 2)[0], EVE, away_s)
    assert receiver.sender(away_s) == EVE  # Alice is away
    assert receiver.statistics.streams == 2


def test_descriptions_and_packets_that_wait_are_bounded(codec: chirrup.Codec) -> None:
    end, receiver = receiver_of(lambda description: Loading())
    alice = sender_of(codec)
    voice = voice_of(alice, codec, 3)
    addresses = [("192.0.2.9", port) for port in range(10 * MAX_OFFERS)]
    for address in addresses:
        end.receive(control_of(alice), address, 0.0)
    for _ in range(2 * MAX_HELD):
        end.receive(voice[0], addresses[-1], 0.0)
    assert len(receiver._offers) == MAX_OFFERS
    assert len(receiver._held) == MAX_HELD


def test_packets_are_kept_while_the_model_is_loaded(codec: chirrup.Codec) -> None:
    found: list[Found] = [Loading()]
    asked = []

    def find(description: Description) -> Found:
        asked.append(description)
        return found[0]

    end, receiver = receiver_of(find)
    alice = sender_of(codec)
    voice = voice_of(alice, codec, 12)
    end.receive(control_of(alice), ALICE, 0.0)
    assert len(asked) == 1  # the first description loads the model
    for number, datagram in enumerate(voice[:5]):
        end.receive(datagram, ALICE, number * FRAME_S)
    assert receiver.pull(0.1) is None
    found[0] = codec
    end.receive(voice[5], ALICE, 0.1)
    assert receiver.playout is not None
    assert receiver.playout.statistics.received == 6
    audio = receiver.pull(0.1)
    assert audio is not None
    assert len(audio) == codec.frame_samples


def test_a_stream_that_cannot_be_decoded(codec: chirrup.Codec) -> None:
    """It takes no place, and another one may begin."""
    end, receiver = receiver_of(
        lambda description: codec if description.model == codec.name else None
    )
    eve, alice = sender_of(codec, 66), sender_of(codec)
    assert eve.sender is not None
    text = replace(eve.sender.description, model="other").text
    end.receive(Control(66, (Application(DESCRIPTION, text.encode()),)).pack(), EVE, 0.0)
    end.receive(voice_of(eve, codec, 3)[0], EVE, 0.0)
    assert (receiver.codec, receiver.statistics.other_model) == (None, 1)
    end.receive(control_of(alice), ALICE, 0.1)
    end.receive(voice_of(alice, codec, 3)[0], ALICE, 0.1)
    assert receiver.sender(0.1) == ALICE


def test_the_description_is_left_out_while_reports_come(codec: chirrup.Codec) -> None:
    end, _ = receiver_of(lambda description: codec)
    alice = sender_of(codec)
    assert alice.sender is not None
    first = control_of(alice)
    end.receive(first, ALICE, 0.0)
    for datagram in voice_of(alice, codec, 3):
        end.receive(datagram, ALICE, 0.0)
    report = end.control(1.0)
    assert report is not None
    alice.receive(report, ("192.0.2.9", 5004), 1.25)
    assert alice.sender.statistics.reports == 1
    assert len(alice.control(2.0) or b"") < len(first) / 2
    assert len(alice.control(10.0) or b"") == len(first)  # the receiver may have been restarted
    end.receive(alice.control(2.0) or b"", ALICE, 2.0)
    alice.receive(end.control(2.5) or b"", ("192.0.2.9", 5004), 2.75)
    assert alice.sender.statistics.round_trip_ms == pytest.approx(250, abs=1)


def test_the_description_stays_if_there_may_be_several_receivers(codec: chirrup.Codec) -> None:
    sender = Sender(codec, 1000, 1, codec.input_rate_hz, 7, shared=True)
    sender.receive(Report(7, 0.0, 0, 0, 0), 1.0)
    messages = sender.control(1.1)
    assert any(isinstance(m, Application) and m.kind == DESCRIPTION for m in messages)


@pytest.mark.parametrize("sealed", [False, True])
def test_datagrams_that_are_sent_back_are_ignored(codec: chirrup.Codec, sealed: bool) -> None:
    """In a room, all ends seal alike: the relay could send an end its own voice."""
    ann = sender_of(codec)
    ann.receiver = Receiver(lambda description: codec)
    if sealed:
        pytest.importorskip("cryptography", reason="pip install 'chirrup[live]'")
        from chirrup.live import seal

        ann.sealer, ann.opener = seal.Sealer(bytes(32), "room"), seal.Opener(bytes(32), "room")
    datagrams = [control_of(ann), *voice_of(ann, codec, 3)]
    for datagram in datagrams:
        ann.receive(datagram, ALICE, 0.0)
    assert ann.ignored == len(datagrams)
    assert ann.receiver.codec is None


def test_one_description_causes_a_second_of_voice(codec: chirrup.Codec) -> None:
    """A replayed description, or one with a false address, must not direct a voice for long."""
    end, receiver = receiver_of(lambda description: codec)
    alice = sender_of(codec)
    end.receive(control_of(alice), ALICE, 10.0)
    assert receiver.sender(10.0 + UNPROVED_S) == ALICE
    assert receiver.sender(10.1 + UNPROVED_S) is None
    end.receive(voice_of(alice, codec, 2)[0], ALICE, 10.1 + GONE_S)
    assert (receiver.codec, receiver.statistics.undescribed) == (None, 1)  # it has expired


def test_a_caller_that_only_listens_is_sent_the_voice(codec: chirrup.Codec) -> None:
    """Its reports prove its address: they name the SSRC of this end's stream."""
    end, receiver = receiver_of(lambda description: codec)
    alice = sender_of(codec)
    end.receive(control_of(alice), ALICE, 10.0)
    for source, last_s in ((8, 10.0 + UNPROVED_S), (end.source, 10.5 + GONE_S)):
        report = Report(source, 0.0, 0, 0, 0, 0, 0)
        end.receive(Control(7, (report,)).pack(), ALICE, 10.5)
        assert receiver.sender(last_s) == ALICE
        assert receiver.sender(last_s + 0.1) is None


@pytest.mark.parametrize("leaves", [False, True])
def test_the_voice_ends_soon_after_the_other_end(codec: chirrup.Codec, leaves: bool) -> None:
    """The end of a stream alone does not end the connection: its sender may listen."""
    end, receiver = receiver_of(lambda description: codec)
    alice = sender_of(codec)
    for datagram in [control_of(alice), *voice_of(alice, codec, 3)]:
        end.receive(datagram, ALICE, 10.0)
    last = alice.leave() if leaves else alice.control(11.0, end=True)
    assert last is not None
    end.receive(last, ALICE, 11.0)
    assert receiver.ended
    assert receiver.sender(11.0) == (None if leaves else ALICE)
    assert receiver.sender(11.1 + GONE_S) is None


def test_a_caller_that_pauses_is_sent_the_voice(codec: chirrup.Codec) -> None:
    end, receiver = receiver_of(lambda description: codec)
    alice = sender_of(codec)
    for datagram in [control_of(alice), *voice_of(alice, codec, 3)]:
        end.receive(datagram, ALICE, 10.0)
    for now_s in range(11, 31):
        end.receive(alice.control(now_s) or b"", ALICE, now_s)
        assert receiver.sender(now_s + 0.9) == ALICE
