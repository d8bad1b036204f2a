"""Conditions: ratios in dB, rooms, networks, and equal signals for all codecs."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.errors import UsageError
from chirrup.evaluate.clips import read_clip
from chirrup.evaluate.conditions import Condition, apply, parse, reference
from chirrup.evaluate.peers.model import ModelPeer
from chirrup.files import FileError
from chirrup.live.network import Network, parse_network
from small_model import speech_like

RATE_HZ = 16_000
CLIP = (0.1 * np.random.default_rng(0).standard_normal((1, RATE_HZ))).astype(np.float32)


def level_db(audio: np.ndarray) -> float:
    return float(10 * np.log10(np.square(audio).mean()))


def recordings(folder: Path) -> list[Path]:
    paths = []
    for index in range(2):
        paths.append(folder / f"{index}.wav")
        noise = np.random.default_rng(index + 1).standard_normal((8000, 2))
        soundfile.write(paths[-1], 0.01 * noise, 8000)
    return paths


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clean", "clean"),
        ("noise", "noise-15"),
        ("noise:-5", "noise--5"),
        ("talkers:3", "talkers-3"),
        ("loss:2.5", "loss-2.5"),
        ("jitter:40ms+loss", "loss-10+jitter-40"),
        ("loss:10%+noise:5", "noise-5+loss-10"),
        ("denoise:5", "denoise-5"),
        ("dereverb", "dereverb"),
    ],
)
def test_names(text: str, expected: str) -> None:
    assert parse(text).name == expected


@pytest.mark.parametrize("text", ["", "rain", "noise:loud", "clean:3", "noise+reverb", "noise:nan"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a condition: use clean"):
        parse(text)
    with pytest.raises(UsageError, match="is not a condition: use clean"):
        parse(f"loss:10%+{text}")
    with pytest.raises(UsageError, match="'101' of 'loss:101' is not 0 to 100 per cent"):
        parse("loss:101")


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("ratio_db", [0.0, 15.0])
def test_noise_has_the_ratio_that_was_asked_for(
    tmp_path: Path, ratio_db: float, real: bool
) -> None:
    others = recordings(tmp_path) if real else []
    noisy = apply(Condition("noise", ratio_db), CLIP, RATE_HZ, "a", others)
    assert noisy.dtype == np.float32
    assert level_db(CLIP) - level_db(noisy - CLIP) == pytest.approx(ratio_db, abs=0.1)


def test_the_same_clip_gets_the_same_and_another_one_does_not() -> None:
    noisy = [apply(Condition("noise", 5), CLIP, RATE_HZ, name, []) for name in "aab"]
    assert np.array_equal(noisy[0], noisy[1])
    assert not np.array_equal(noisy[0], noisy[2])


def test_a_room_keeps_the_direct_sound_in_its_place(tmp_path: Path) -> None:
    click = np.zeros((1, RATE_HZ), np.float32)
    click[0, 1000] = 1
    room = apply(Condition("reverb"), click, RATE_HZ, "a", [])
    assert np.abs(room[0, :1000]).max() < 1e-6
    assert int(np.abs(room[0]).argmax()) == 1000
    assert np.square(room[0, 1001:]).sum() > 0.1


def test_two_talkers_need_another(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="two speakers"):
        apply(Condition("talkers"), CLIP, RATE_HZ, "a", [])
    both = apply(Condition("talkers", 6), CLIP, RATE_HZ, "a", recordings(tmp_path))
    assert level_db(CLIP) - level_db(both - CLIP) == pytest.approx(6, abs=0.1)


def test_a_network_does_not_change_the_noise() -> None:
    conditions = parse("noise:5"), parse("noise:5+loss:10%")
    alone, both = (apply(condition, CLIP, RATE_HZ, "a", []) for condition in conditions)
    assert np.array_equal(alone, both)


def network_numbers(text: str, packets: int) -> set[int]:
    """Return the numbers of the packets that arrive at most 100 ms behind the fastest."""
    network = Network(text, zlib.crc32(b"clip"))
    for number in range(packets):
        network.send(b"", 0.02 * number)
    delays_s = {a.number: a.time_s - 0.02 * a.number for a in network.receive()}
    return {n for n, delay_s in delays_s.items() if delay_s <= min(delays_s.values()) + 0.1}


@pytest.mark.parametrize("text", ["loss:30%", "bursts:30%,4", "jitter:60ms", "loss:100%"])
def test_a_model_gets_the_packets_that_arrive_in_time(text: str) -> None:
    codec = chirrup.load("iris-t1")
    codes = codec.encode(speech_like(24_000)[None], 1000)
    peer = ModelPeer("iris-t1").with_network(parse_network(text), "clip")
    arrived = peer._arrived(codes)
    expected = network_numbers(text, codes.frames)
    assert len(expected) < codes.frames
    assert arrived.data.shape == codes.data.shape
    for frame, (before, after) in enumerate(zip(codes.data.T, arrived.data.T, strict=True)):
        assert np.array_equal(after, before if frame in expected else np.full_like(before, -1))


def test_bit_errors_change_codes_and_cost_packets_with_a_wrong_header() -> None:
    codec = chirrup.load("iris-t1")
    codes = codec.encode(speech_like(24_000)[None], 6000)
    networks = parse_network("bit-errors:0%"), parse_network("bit-errors:1%")
    arrived = [ModelPeer("iris-t1").with_network(n, "a")._arrived(codes) for n in networks]
    assert arrived[0] == codes
    lost = arrived[1].data.squeeze()[0] == -1
    assert lost.mean() == pytest.approx(1 - 0.99**8, abs=0.1)
    wrong = arrived[1].data != codes.data
    assert wrong[..., ~lost].mean() == pytest.approx(1 - 0.99**10, abs=0.05)


def test_reading_resamples_and_mixes(tmp_path: Path) -> None:
    path = recordings(tmp_path)[0]
    assert read_clip(path)[0].shape == (2, 8000)
    assert read_clip(path, 16_000, mono=True)[0].shape == (1, 16_000)
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 1)), 8000)
    with pytest.raises(FileError, match=r"empty\.wav is empty"):
        read_clip(tmp_path / "empty.wav")
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(FileError, match=r"text\.wav cannot be read as audio"):
        read_clip(tmp_path / "text.wav")


@pytest.mark.parametrize("text", ["clean", "noise:5", "reverb", "loss"])
def test_the_reference_is_what_is_heard(text: str) -> None:
    condition = parse(text)
    heard = apply(condition, CLIP, RATE_HZ, "a", [])
    assert np.array_equal(reference(condition, CLIP, RATE_HZ, "a", []), heard)


def test_of_noise_that_is_to_go_nothing_is_in_the_reference() -> None:
    condition = parse("denoise:5")
    heard = apply(condition, CLIP, RATE_HZ, "a", [])
    assert level_db(CLIP) - level_db(heard - CLIP) == pytest.approx(5, abs=0.1)
    assert np.array_equal(reference(condition, CLIP, RATE_HZ, "a", []), CLIP)


def test_of_a_room_that_is_to_go_50_ms_stay() -> None:
    click = np.zeros((1, RATE_HZ), np.float32)
    click[0, 100] = 1
    condition = parse("dereverb")
    heard = apply(condition, click, RATE_HZ, "a", [])
    dry = reference(condition, click, RATE_HZ, "a", [])
    end = 100 + round(0.05 * RATE_HZ)
    assert dry.dtype == np.float32
    assert np.abs(dry[0, end:]).max() < 1e-6
    assert np.abs(heard[0, end:]).max() > 0.01
    assert level_db(dry) == pytest.approx(level_db(heard), abs=0.01)
    ratio = dry[0, 100:end] / heard[0, 100:end]
    assert np.allclose(ratio, np.median(ratio), rtol=1e-2)
