"""Copies, other processes, comparisons and arguments of wrong types."""

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import chirrup
from small_model import Exported, speech_like

pytest_plugins = ["models_fixture"]

AUDIO = speech_like(12_000)
CODES = np.zeros((1, 9), np.int16)


@pytest.fixture(scope="module")
def focal() -> chirrup.Codec:
    """A model of two sample rates whose voice can be changed."""
    return chirrup.load("focal-small")


# --- codes ---------------------------------------------------------------------------------------


def test_codes_compare_and_hash(small_codec: chirrup.Codec) -> None:
    codes = small_codec.encode(AUDIO)
    other_data = codes.data.copy()
    other_data[0, 0] ^= 1
    same = [small_codec.encode(AUDIO), replace(codes, data=codes.data.astype(np.int64))]
    others = [
        replace(codes, data=other_data),
        replace(codes, data=codes.data[:2]),
        replace(codes, data=codes.data[None]),
        replace(codes, samples=codes.samples - 1),
        replace(codes, channels=1),
    ]
    assert {codes, *same} == {codes}
    assert all(other != codes for other in others)
    assert len({codes, *others}) == 1 + len(others)
    assert codes != codes.data.tobytes()


# --- copies --------------------------------------------------------------------------------------


def pickled(codec: chirrup.Codec) -> chirrup.Codec:
    return pickle.loads(pickle.dumps(codec))


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy, copy.copy])
@pytest.mark.parametrize("used", [False, True])
def test_a_codec_can_be_copied_before_and_after_its_first_use(
    small_export: Exported, copied: Callable[[chirrup.Codec], chirrup.Codec], used: bool
) -> None:
    codec = chirrup.load(small_export.folder)
    if used:
        codec.decode(codec.encode(AUDIO))
        codec.decoder().push(codec.encoder().push(AUDIO)[0])
    again = copied(codec)
    codes = codec.encode(AUDIO)
    assert again.encode(AUDIO) == codes
    assert np.array_equal(again.decode(codes), codec.decode(codes))


def test_a_voice_goes_with_a_copy(focal: chirrup.Codec) -> None:
    codec = chirrup.in_voice(focal, [AUDIO])
    codes = codec.encode(AUDIO)
    assert np.array_equal(pickled(codec).decode(codes), codec.decode(codes))


def test_a_used_codec_goes_to_another_process_and_folder(
    small_export: Exported, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A DataLoader with spawned workers pickles the codec."""
    monkeypatch.chdir(small_export.folder.parent)
    codec = chirrup.load(small_export.folder.name)
    monkeypatch.chdir(tmp_path)
    codes = codec.encode(AUDIO)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(codec.encode, [AUDIO]) == codes


# --- wrong types ---------------------------------------------------------------------------------


def pieces(codec: chirrup.Codec, piece: np.ndarray) -> list[np.ndarray]:
    return list(codec.encode_blocks(iter([piece]), 2))


def decoded_pieces(codec: chirrup.Codec, piece: np.ndarray, channels: int) -> list[np.ndarray]:
    return list(codec.decode_blocks(iter([piece]), channels))


WRONG: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda codec: codec.encode(AUDIO, "6k"), TypeError, "bit/s, such as 6000; got '6k'"),
    (lambda codec: codec.encoder("6k"), TypeError, "bit/s, such as 6000; got '6k'"),
    (lambda codec: codec.codebooks_within("6k"), TypeError, "bit/s, such as 6000; got '6k'"),
    (lambda codec: codec.encode([[0.1], [0.1, 0.2]]), TypeError, "rows of one length; got list"),
    (lambda codec: codec.encode([AUDIO, AUDIO[1:]]), TypeError, "rows of one length; got list"),
    (lambda codec: codec.encode(torch.zeros(9, requires_grad=True)), TypeError, r"\.detach\(\)"),
    (lambda codec: codec.encode(torch.zeros(3, 1, 9)), ValueError, r"give audio\[:, 0\]"),
    (lambda codec: codec.encode(np.zeros((1, 2, 9))), ValueError, r"got \[1, 2, 9\]$"),
    (lambda codec: codec.encode("talk.wav"), ValueError, "audio must be floating point"),
    (lambda codec: codec.encode(np.zeros((24_000, 2))), ValueError, "give audio.T"),
    (lambda codec: codec.encode(AUDIO, sample_rate_hz="44k"), TypeError, "44100; got '44k'"),
    (lambda codec: codec.encode(AUDIO, sample_rate_hz=44.1), TypeError, "44100; got 44.1"),
    (lambda codec: codec.decode([[1, 2], [3]]), TypeError, "codes must be integers .*; got list"),
    (lambda codec: codec.decode(np.zeros((0, 2, 5), int)), ValueError, "not empty; .*0, 2, 5"),
    (lambda codec: codec.decode(chirrup.Codes(CODES, -5)), ValueError, "samples of codes are -5"),
    (lambda codec: codec.decode(chirrup.Codes(CODES, 1.5)), ValueError, "samples of codes are 1.5"),  # pyright: ignore[reportArgumentType]
    (lambda codec: codec.encoder(frames_per_packet="2"), ValueError, "1 to 4 frames, not '2'"),
    (lambda codec: codec.decoder(frames_per_packet=0), ValueError, "1 to 4 frames, not 0"),
    (lambda codec: codec.encoder(redundancy=0.5), ValueError, "0 to 4 codebooks, not 0.5"),
    (lambda codec: codec.decoder().push("AB"), TypeError, "a packet must be bytes, .* got str"),
    (lambda codec: codec.decoder().push_codes([[1, 2], [3]]), TypeError, "integers .*; got list"),
    (lambda codec: pieces(codec, np.zeros((1, 9), np.int16)), ValueError, "divide 16-bit integers"),
    (lambda codec: pieces(codec, AUDIO), ValueError, r"must be \[1, samples\], got \[12000\]"),
    (lambda codec: pieces(codec, np.zeros((2, 9))), ValueError, r"\[1, samples\], got \[2, 9\]"),
    (lambda codec: pieces(codec, np.full((1, 9), np.nan)), ValueError, "not finite"),
    (lambda codec: decoded_pieces(codec, CODES, 1), ValueError, r"integers \[1, codebooks, fra"),
    (lambda codec: decoded_pieces(codec, CODES[None], 2), ValueError, r"\[2, codebooks, frames\]"),
    (lambda codec: decoded_pieces(codec, CODES[None] * 1.0, 1), ValueError, "got float64"),
    (lambda codec: codec.decoder().push_codes(CODES[None]), ValueError, r"\[codebooks, frames\]"),
    (lambda codec: codec.decoder().push_codes(CODES[0]), ValueError, r"\[codebooks, frames\]"),
    (lambda codec: codec.decoder().push(None, np.zeros(3)), TypeError, "got ndarray"),
    (lambda _: chirrup.Codec("iris-t1"), chirrup.ModelError, r"chirrup\.load\('iris-t1'\)"),
    (lambda _: chirrup.load("a" * 999), chirrup.ModelError, "no model 'aaa"),
]


@pytest.mark.parametrize(("call", "error", "words"), WRONG)
def test_a_wrong_type_names_the_right_one(
    small_codec: chirrup.Codec,
    call: Callable[[Any], Any],
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        call(small_codec)


def test_a_single_recording_is_not_a_list(focal: chirrup.Codec) -> None:
    recording: Any = AUDIO
    with pytest.raises(TypeError, match=r"pass \[recording\]"):
        chirrup.in_voice(focal, recording)


def test_lists_and_tensors_are_taken(small_codec: chirrup.Codec) -> None:
    others: list[Any] = [AUDIO.tolist(), torch.from_numpy(AUDIO)]
    assert {small_codec.encode(audio) for audio in others} == {small_codec.encode(AUDIO)}
    codes: list[Any] = [CODES.tolist(), torch.from_numpy(CODES)]
    sounds = [small_codec.decoder().push_codes(one) for one in codes]
    assert all(np.array_equal(sound, small_codec.decoder().push_codes(CODES)) for sound in sounds)


def test_a_whole_number_may_be_a_float(small_codec: chirrup.Codec) -> None:
    two: Any = 2.0
    wanted = small_codec.encoder(redundancy=2).push(AUDIO)
    assert small_codec.encoder(redundancy=two).push(AUDIO) == wanted
    encoder = small_codec.encoder()
    encoder.change(redundancy=two)
    assert encoder.push(AUDIO) == wanted
    (codes,) = small_codec.encode_blocks(iter([AUDIO[None]]), two)
    assert np.array_equal(codes[0], small_codec.encode(AUDIO).data[:2])
