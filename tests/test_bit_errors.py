"""Codes that a receiver marks as unreliable are treated as absent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.bitstream import pack_packet
from chirrup.codes import ABSENT, reliable_codes
from live_streams import AUDIO, send

pytest_plugins = ["models_fixture"]

CLIP = Path(chirrup.__file__).parent / "clips" / "joe.flac"


def spectral_error_db(reference: np.ndarray, decoded: np.ndarray) -> float:
    """Mean difference of logarithmic magnitudes in frames of 20 ms."""
    levels = [
        np.log10(np.abs(np.fft.rfft(signal[: len(signal) // 480 * 480].reshape(-1, 480))) + 1e-3)
        for signal in (reference, decoded)
    ]
    return float(20 * np.abs(levels[0] - levels[1]).mean())


@pytest.mark.parametrize("wrong_bits", [0.01, 0.05])
@pytest.mark.parametrize(("model", "gray"), [("iris-t1", True), ("iris-t1@86e61466", False)])
def test_wrong_late_codes_are_better_absent_without_a_gray_order(
    model: str, gray: bool, wrong_bits: float
) -> None:
    codec = chirrup.load(model)
    assert (codec.description.get("index_order") == "pseudo-gray") == gray
    audio = soundfile.read(CLIP, dtype="float32")[0][: 4 * codec.sample_rate_hz]
    codes = codec.encode(audio, 3000).data
    wrong = np.random.default_rng(0).random((*codes.shape, 10)) < wrong_bits
    wrong[0] = False
    received = codes ^ (wrong << np.arange(10)).sum(axis=-1).astype(codes.dtype)
    errors = []
    for mask in (None, received == codes):
        decoder, sounds = codec.decoder(), []
        for frame in range(codes.shape[1]):
            packet = pack_packet(received[:, [frame]], None, 10)
            right = None if mask is None else mask[:, [frame]]
            sounds.append(decoder.push(packet, reliable=right))
        clean = codec.decode(codes)
        errors.append(spectral_error_db(clean, np.concatenate(sounds)[codec.delay_samples :]))
    decoded, absent = errors
    assert decoded < 0.95 * absent if gray else absent < 0.9 * decoded


def test_a_number_keeps_the_first_codebooks(small_codec: chirrup.Codec) -> None:
    packets = send(small_codec.encoder(1600, frames_per_packet=2), AUDIO)
    shorter = send(small_codec.encoder(800, frames_per_packet=2), AUDIO)
    decoders = [small_codec.decoder() for _ in range(2)]
    for packet, less in zip(packets[:6], shorter[:6], strict=True):
        expected = decoders[0].push(less)
        assert np.array_equal(decoders[1].push(packet, reliable=2), expected)
    assert np.array_equal(decoders[0].push(None), decoders[1].push(packets[6], reliable=0))


def test_a_frame_whose_first_code_is_wrong_is_lost() -> None:
    codes, right = np.arange(6).reshape(3, 2), np.array([[0, 1], [1, 0], [1, 1]], bool)
    expected = [[ABSENT, 1], [ABSENT, ABSENT], [ABSENT, 5]]
    assert reliable_codes(codes, right).tolist() == expected


@pytest.mark.parametrize("reliable", [-1, 1.5, np.ones((4, 2), bool), np.ones((4, 1)), [1], "2"])
def test_what_does_not_fit_is_refused(small_codec: chirrup.Codec, reliable: Any) -> None:
    packet = send(small_codec.encoder(1600), AUDIO)[0]
    with pytest.raises(ValueError, match="reliable must be"):
        small_codec.decoder().push(packet, reliable=reliable)
