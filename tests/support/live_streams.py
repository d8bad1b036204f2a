"""Conversion of samples to packets and back in a live stream."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import chirrup
from chirrup.bitstream import unpack_packet
from chirrup.stream import Encoder
from small_model import RATE_HZ, speech_like

AUDIO = speech_like(RATE_HZ + 123)


def cut(x: np.ndarray, lengths: list[int]) -> Iterator[np.ndarray]:
    """Yield pieces of ``x`` with these lengths, and the rest."""
    place = 0
    for length in lengths:
        yield x[place : place + length]
        place += length
    yield x[place:]


def send(encoder: Encoder, audio: np.ndarray, lengths: list[int] | None = None) -> list[bytes]:
    packets = [packet for piece in cut(audio, lengths or []) for packet in encoder.push(piece)]
    return packets + encoder.flush()


def receive(codec: chirrup.Codec, packets: list[bytes], **settings: Any) -> np.ndarray:
    decoder = codec.decoder(**settings)
    return np.concatenate([*(decoder.push(packet) for packet in packets), decoder.flush()])


def codes_of(codec: chirrup.Codec, packets: list[bytes]) -> np.ndarray:
    unpacked = [unpack_packet(p, codec.bits_per_code, codec.codebooks) for p in packets]
    return np.concatenate([packet.codes for packet in unpacked], axis=1)
