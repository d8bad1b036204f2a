"""A codec that takes 16 kHz and decodes to 24 kHz, in chunks of four frames, with codes of 16 bits.

The tests cover signals, live streams, files, the audit and the evaluation.
"""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.cli import run
from chirrup.codes import Codes
from chirrup.evaluate.peers.model import ModelPeer
from chirrup.files import decode_file, describe, encode_file
from chirrup.lab.audit.comparison import compare_with_paper
from chirrup.live.network import parse_network
from file_samples import Pipe
from small_model import Exported, speech_like

pytest_plugins = ["models_fixture"]

CHUNK, OUT_CHUNK = 4 * 320, 4 * 480
AUDIO = speech_like(16_000, seed=3)[: 9 * CHUNK + 777]


def test_export_agrees(small_focal_export: Exported) -> None:
    assert small_focal_export.parity.codes_equal >= 0.999
    assert small_focal_export.parity.audio_error_db < -80
    about = json.loads((small_focal_export.folder / "model.json").read_text())
    assert about["format"] == 2
    states = about["states"]["encoder"]
    assert [states[name] for name in states if name.endswith(".keys")] == [[4, 28, 8]] * 2


def test_what_it_says(small_focal_codec: chirrup.Codec) -> None:
    codec = small_focal_codec
    assert (codec.input_rate_hz, codec.input_frame_samples) == (16_000, 320)
    assert (codec.sample_rate_hz, codec.frame_samples) == (24_000, 480)
    assert (codec.chunk_frames, codec.latency_samples) == (4, OUT_CHUNK)
    assert codec.bitrates_bps == [800]
    assert codec.frame_rate_hz == 50


def test_a_folder_of_format_1_has_one_rate(model_folder: Path) -> None:
    codec = chirrup.load(model_folder)
    assert codec.description["format"] == 1
    assert codec.input_rate_hz == codec.sample_rate_hz
    assert codec.input_frame_samples == codec.frame_samples
    assert codec.chunk_frames == 1


def test_signal(small_focal_codec: chirrup.Codec) -> None:
    codes = small_focal_codec.encode(AUDIO)
    assert codes.data.dtype == np.int32
    assert codes.data.shape == (1, 40), "whole chunks"
    assert codes.data.max() > 32_767, "beyond int16"
    assert codes.samples == -(-len(AUDIO) * 3 // 2)
    sound = small_focal_codec.decode(codes)
    assert sound.shape == (codes.samples,)
    assert sound.std() > 0


def test_codes_of_part_of_a_chunk(small_focal_codec: chirrup.Codec) -> None:
    """Missing frames count as lost."""
    codes = small_focal_codec.encode(AUDIO).data[:, :10]
    sound = small_focal_codec.decode(codes)
    assert sound.shape == (10 * 480,)
    filled = np.concatenate([codes, np.full((1, 2), -1)], axis=1)
    whole = small_focal_codec.decode(filled)[: 10 * 480]
    np.testing.assert_allclose(sound, whole, atol=1e-5)


def test_blocks_do_not_matter(small_focal_codec: chirrup.Codec) -> None:
    codec = small_focal_codec
    whole = codec.encode(AUDIO)
    cuts = np.cumsum([1, 100, 4000, 3, 2000])
    pieces = codec.encode_blocks(iter(np.split(AUDIO[None], cuts, axis=1)), 1)
    assert np.mean(np.concatenate(list(pieces), axis=2)[0] == whole.data) > 0.99
    frames = np.split(whole.data[None], [1, 2, 9, 10, 30], axis=2)
    sound = np.concatenate(list(codec.decode_blocks(iter(frames))), axis=1)[0, : whole.samples]
    np.testing.assert_allclose(sound, codec.decode(whole), atol=1e-5)


@pytest.mark.parametrize("frames_per_packet", [None, 1, 2, 3, 4])
def test_live_is_the_signal(
    small_focal_codec: chirrup.Codec, frames_per_packet: int | None
) -> None:
    codec = small_focal_codec
    encoder = codec.encoder(frames_per_packet=frames_per_packet)
    decoder = codec.decoder(frames_per_packet=frames_per_packet)
    packets = []
    for piece in np.split(AUDIO, np.cumsum([5, 1279, 700, 3000])):
        packets += encoder.push(piece)
    packets += encoder.flush()
    assert len(packets) == -(-40 // (frames_per_packet or 4))
    sound = np.concatenate([*map(decoder.push, packets), decoder.flush()])
    whole = codec.encode(AUDIO)
    assert len(sound) == 40 * 480
    np.testing.assert_allclose(sound[: whole.samples], codec.decode(whole), atol=1e-4)


def test_latency_of_a_live_stream(small_focal_codec: chirrup.Codec) -> None:
    """Samples are pushed one by one. The first sample of a chunk is decoded 80 ms later."""
    encoder, decoder = small_focal_codec.encoder(), small_focal_codec.decoder()
    pushed = 0
    sounds = np.zeros(0, np.float32)
    while not len(sounds):
        packets = encoder.push(AUDIO[pushed : pushed + 1])
        pushed += 1
        sounds = np.concatenate([sounds, *map(decoder.push, packets)])
    assert pushed / 16_000 == 0.080
    assert len(sounds) / 24_000 == 0.080

    changed = AUDIO.copy()
    changed[0] += 0.5
    plain, other = (small_focal_codec.encode(audio).data for audio in (AUDIO, changed))
    assert (plain != other).any(axis=0)[:4].any(), "and it changes the codes of that chunk"


def test_lost_packets(small_focal_codec: chirrup.Codec) -> None:
    encoder, decoder = small_focal_codec.encoder(), small_focal_codec.decoder()
    packets: list[bytes | None] = [*encoder.push(AUDIO), *encoder.flush()]
    packets[2] = packets[3] = None
    sound = np.concatenate([decoder.push(packet) for packet in packets])
    lost = small_focal_codec.encode(AUDIO)
    lost.data[:, 8:16] = -1
    np.testing.assert_allclose(sound[: lost.samples], small_focal_codec.decode(lost), atol=1e-4)


def test_a_stream_goes_on_elsewhere_in_the_middle_of_a_chunk(
    small_focal_codec: chirrup.Codec,
) -> None:
    codec = small_focal_codec
    first = codec.encoder(frames_per_packet=1)
    packets = first.push(AUDIO)
    before, after = codec.decoder(), codec.decoder()
    sounds = [before.push(packet) for packet in packets[:6]]
    assert len(sounds[-1]) == 0
    after.restore(before.save())
    for packet in packets[6:8]:
        np.testing.assert_array_equal(before.push(packet), after.push(packet))
    assert len(after.flush()) == 0
    after.push(packets[0])
    assert len(after.flush()) == 480


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 24_000, 44_100])
def test_files(small_focal_codec: chirrup.Codec, tmp_path: Path, rate_hz: int) -> None:
    codec = small_focal_codec
    source = tmp_path / "talk.wav"
    said = np.stack([AUDIO, AUDIO[::-1]], axis=1)
    soundfile.write(source, said, rate_hz)
    coded, heard = tmp_path / "talk.chirrup", tmp_path / "decoded.wav"
    encode_file(codec, source, coded)
    facts = describe(coded)
    assert facts["sample_rate_hz"] == 24_000
    assert facts["bits_per_code"] == 16
    assert facts["frames"] % 4 == 0
    decode_file(codec, coded, heard)
    audio, rate = soundfile.read(heard)
    assert (audio.shape, rate) == (said.shape, rate_hz)
    if rate_hz == 16_000:
        decode_file(codec, coded, heard, rate_hz=24_000, floating=True, force=True)
        audio, _ = soundfile.read(heard)
        read, _ = soundfile.read(source, dtype="float32")
        expected = codec.decode(codec.encode(read[:, 0]))
        assert np.abs(audio[:, 0] - expected).max() < 1e-4


@pytest.mark.parametrize("samples", [1, 7321, 16_000])
def test_length_is_kept_through_pipes(small_focal_codec: chirrup.Codec, samples: int) -> None:
    """The encoder pads its last chunk, which may reach far beyond the end of the signal."""
    coded, heard = io.BytesIO(), io.BytesIO()
    audio = np.rint(np.resize(AUDIO, samples) * 32767).astype("<i2")
    encode_file(small_focal_codec, Pipe(audio.tobytes()), coded, raw="s16@16000")
    result = decode_file(small_focal_codec, Pipe(coded.getvalue()), heard)
    assert result.samples == samples


def test_a_file_that_was_cut_off(small_focal_codec: chirrup.Codec) -> None:
    codec = small_focal_codec
    whole, heard = io.BytesIO(), io.BytesIO()
    source = io.BytesIO()
    soundfile.write(source, np.tile(AUDIO, 8), 16_000, format="WAV")
    source.seek(0)
    encode_file(codec, source, whole)
    cut = io.BytesIO(whole.getvalue()[:-200])
    result = decode_file(codec, cut, heard)
    assert result.damage
    assert result.samples > 0


def test_audit(small_focal_codec: chirrup.Codec) -> None:
    facts = compare_with_paper(small_focal_codec)
    assert facts["latency_ms"]["nominal"] == 80
    assert 0 < facts["latency_ms"]["measured"] <= 80
    assert facts["bits_per_frame"] == {"800": 16}


def test_compared_with_others(small_focal_export: Exported) -> None:
    peer = ModelPeer(small_focal_export.folder)
    audio = speech_like(24_000)[None]
    coded = peer.roundtrip(audio, 800)
    assert coded.audio.shape == audio.shape
    assert coded.bits == 16 * 52
    lossy = peer.with_network(parse_network("loss:50%"), "seed").roundtrip(audio, 800)
    assert not np.array_equal(lossy.audio, coded.audio)


def test_codes_by_hand(small_focal_codec: chirrup.Codec) -> None:
    """0 and 65535 are valid codes, and 65536 is out of range."""
    corners = np.array([[0, 65_535, -1, 32_768]])
    assert small_focal_codec.decode(Codes(corners, 1920)).shape == (1920,)
    with pytest.raises(ValueError, match="from 0 to 65535"):
        small_focal_codec.decode(np.array([[65_536]]))


def test_demo_at_the_one_bitrate_there_is(
    small_focal_export: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo", str(tmp_path / "demo"), "--model", str(small_focal_export.folder)]) == 0
    assert "original.wav, 0.8kbps.wav in" in " ".join(capsys.readouterr().out.split())
    kinds = ("original.wav", "0.8kbps.wav", "0.8kbps.chirrup")
    assert {path.name for path in (tmp_path / "demo").iterdir()} == set(kinds)
