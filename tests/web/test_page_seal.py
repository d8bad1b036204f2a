"""The encryption of the page Talk, in Node: vectors of the RFCs, and datagrams of Python."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cryptography", reason="pip install 'chirrup[live]'")

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from chirrup.live import rtp
from chirrup.live.rooms import DIRECTION
from chirrup.live.seal import WINDOW, Opener, Sealer, key_of_passphrase

Run = Callable[..., Any]
KEY = bytes(range(40))
RFC_8439 = [  # sections 2.8.2 and A.5: key, nonce, data, head, sealed
    (
        bytes(range(0x80, 0xA0)).hex(),
        "070000004041424344454647",
        (
            b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
            b"future, sunscreen would be it."
        ).hex(),
        "50515253c0c1c2c3c4c5c6c7",
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da"
        "92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585"
        "808b4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691",
    ),
]
RFC_7914 = [  # section 12: passphrase, salt, n, r, length, key
    (
        b"pleaseletmein",
        b"SodiumChloride",
        *(16384, 8, 64),
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242"
        "a9af9e61e85dc0d651e40dfcf017b45575887",
    ),
]


def test_the_cipher_is_that_of_the_rfc(talk_task: Run) -> None:
    random = np.random.default_rng(1)
    vectors = [list(vector) for vector in RFC_8439]
    for size in (0, 1, 15, 16, 17, 63, 64, 65, 200, 1400):
        key, nonce, data = (random.bytes(count) for count in (32, 12, size))
        head = random.bytes(size % 33)
        sealed = ChaCha20Poly1305(key).encrypt(nonce, data, head)
        vectors.append([part.hex() for part in (key, nonce, data, head, sealed)])
    found = talk_task("cipher", vectors=[vector[:4] for vector in vectors])
    assert found == [[sealed, data, None] for _, _, data, _, sealed in vectors]


def test_scrypt_is_that_of_the_rfc(talk_task: Run) -> None:
    vectors = [[phrase.hex(), salt.hex(), *cost] for phrase, salt, *cost, _ in RFC_7914]
    assert talk_task("scrypt", vectors=vectors) == [key for *_, key in RFC_7914]


@pytest.mark.slow
def test_a_passphrase_makes_the_key_of_python(talk_task: Run) -> None:
    phrase = "fünf zufällige Wörter, mehr nicht"
    assert talk_task("passphrase", text=phrase) == key_of_passphrase(phrase).hex()
    assert "has 11 characters" in talk_task("passphrase", text="x" * 11)


def voice(number: int) -> rtp.Voice:
    return rtp.Voice(number & 0xFFFF, 480 * number, 9, b"voice %d" % number, number == 0)


def test_datagrams_are_sealed_and_opened_as_in_python(talk_task: Run) -> None:
    sealer, control = Sealer(KEY, DIRECTION), rtp.Control(9, (rtp.Bye(),))
    early, described, *voices = (
        sealer.voice(voice(0)),
        sealer.control(control),
        *(sealer.voice(voice(number)) for number in range(1, 6)),
    )
    changed = bytearray(sealer.voice(voice(6)))
    changed[14] ^= 1
    far = [sealer.voice(voice(number)) for number in range(WINDOW + 3)][-1]
    other = Sealer(KEY[1:], DIRECTION).control(control)
    reflected = Sealer(KEY, "call").control(control)
    datagrams = [early, described, *reversed(voices), voices[2], bytes(changed), early]
    datagrams += [far, described, other, reflected, control.pack(), voice(1).pack() + bytes(20)]
    packets = [{"source": 7, "messages": [{"type": "bye"}]}]
    packets.append(
        {"source": 7, "sequence": 3, "timestamp": 480, "starts": True, "payload": "0102"}
    )
    texts = [datagram.hex() for datagram in datagrams]
    found = talk_task("seal", key=KEY.hex(), datagrams=texts, packets=packets)
    opened = found["opened"]
    assert opened[0] == "no control packet of this session has arrived"
    assert opened[1] == {"source": 9, "messages": [{"type": "bye"}]}
    payloads = [bytes.fromhex(packet["payload"]) for packet in opened[2:7]]
    assert payloads == [b"voice %d" % number for number in range(5, 0, -1)]
    assert opened[7] == "a datagram has arrived before"
    assert "not sealed with this key" in opened[8]
    assert bytes.fromhex(opened[9]["payload"]) == b"voice 0"
    assert bytes.fromhex(opened[10]["payload"]) == b"voice %d" % (WINDOW + 2)
    assert opened[11] == "a datagram has arrived before"  # too old to know
    assert all(isinstance(text, str) for text in opened[12:]), opened[12:]
    opener = Opener(KEY, DIRECTION)
    sealed = [opener.open(bytes.fromhex(text)) for text in found["sealed"]]
    assert sealed == [rtp.Control(7, (rtp.Bye(),)), rtp.Voice(3, 480, 7, b"\1\2", True)]
