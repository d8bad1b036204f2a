"""A model that codes two channels jointly: signals, files, live streams, mono and errors."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

import chirrup
import small_spectro
from chirrup.bitstream import Reader, unpack_packet
from chirrup.cli import app
from chirrup.evaluate.peers.model import ModelPeer
from chirrup.files import FileError, decode_file, describe, encode_file
from chirrup.lab.audit.comparison import compare_with_paper, measured_latency_samples
from chirrup.lab.export.folding import fold, for_export
from chirrup.live.network import parse_network
from once_a_session import once
from small_model import Exported
from small_spectro import (
    DELAY,
    FRAME,
    RATE_HZ,
    export_small_spectro,
    stereo,
)
from small_spectro import (
    small_spectro as trained,
)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return once(tmp_path_factory, small_spectro.NAME, export_small_spectro)


@pytest.fixture(scope="session")
def codec(exported: Exported) -> chirrup.Codec:
    return chirrup.load(exported.folder)


def wav(path: Path, audio: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    soundfile.write(path, audio.T, rate_hz, subtype="FLOAT")
    return path


def test_the_graphs_are_the_model(exported: Exported) -> None:
    assert exported.parity.codes_equal >= 0.999
    assert exported.parity.audio_error_db < -80


@pytest.mark.parametrize("code_dim", [4, 12])
def test_quantizers_with_and_without_projections_are_folded(code_dim: int) -> None:
    folded = fold(trained(code_dim))
    encoder, decoder = for_export(folded)
    audio = torch.from_numpy(stereo(9600, seed=9))[None]
    codes, *_ = encoder(audio, *folded.encoder.initial_state(1).values())
    expected = folded.quantizer.encode(folded.encoder.offline(audio))
    assert (codes == expected).float().mean() > 0.99
    expected[:, 1:, 5] = expected[:, :, 8] = -1
    sound, *_ = decoder(expected.int(), *folded.decoder.initial_state(1).values())
    whole = folded.decoder.offline(folded.quantizer.decode(expected))
    torch.testing.assert_close(sound, whole, rtol=1e-4, atol=1e-4)


def test_what_the_codec_says_of_itself(codec: chirrup.Codec) -> None:
    assert (codec.channels, codec.frame_samples, codec.delay_samples) == (2, FRAME, DELAY)
    assert codec.bitrates_bps == [4000, 8000, 12_000]
    facts = compare_with_paper(codec)
    assert facts["latency_ms"]["nominal"] == 1000 * (FRAME + DELAY) / RATE_HZ
    assert 0 < measured_latency_samples(codec) <= FRAME + DELAY


def test_stereo_is_one_stream_of_codes(codec: chirrup.Codec) -> None:
    audio = stereo(5000, seed=7)
    codes = codec.encode(audio)
    frames = -(-(5000 + DELAY) // FRAME)
    assert codes.data.shape == (1, 3, frames)
    assert (codes.samples, codes.channels) == (5000, 2)
    decoded = codec.decode(codes)
    assert decoded.shape == (2, 5000)

    model = trained()
    padded = np.pad(audio, ((0, 0), (0, frames * FRAME - 5000)))
    with torch.no_grad():
        quantized = model.quantizer.encode(model.encoder.offline(torch.from_numpy(padded)[None]))
        same = torch.from_numpy(codes.data.astype(np.int64))
        expected = model.decoder.offline(model.quantizer.decode(same))[0].numpy()
    assert np.mean(codes.data[0] == quantized[0].numpy()) > 0.99
    assert np.abs(decoded - expected[:, DELAY : DELAY + 5000]).max() < 1e-3
    assert codec.decode(codes.data[0]).shape == (2, frames * FRAME - DELAY)
    assert np.abs(decoded[0] - decoded[1]).max() > 1e-3


def test_mono_is_repeated_and_averaged(codec: chirrup.Codec) -> None:
    mono = stereo(5000, seed=7)[0]
    codes = codec.encode(mono)
    assert codes.data.ndim == 2
    both = codec.encode(np.stack([mono, mono]))
    assert np.array_equal(codes.data, both.data[0])
    decoded = codec.decode(codes)
    assert decoded.shape == (5000,)
    assert np.allclose(decoded, codec.decode(both).mean(0), atol=1e-6)
    rows = codec.encode(mono[None])
    assert rows.data.shape == both.data.shape
    assert np.array_equal(codec.decode(rows), decoded[None])


def test_other_numbers_of_channels_are_refused(codec: chirrup.Codec) -> None:
    with pytest.raises(ValueError, match="codes 1 or 2 channels, not 3"):
        codec.encode(np.zeros((3, 1000), np.float32))
    with pytest.raises(ValueError, match="one stream"):
        codec.decode(np.zeros((2, 3, 5), np.int16))
    with pytest.raises(ValueError, match=r"\[2, samples\]"):
        codec.encoder().push(np.zeros((3, 10), np.float32))


def test_a_live_stream_has_a_packet_for_both(codec: chirrup.Codec) -> None:
    audio = stereo(3000, seed=5)
    encoder, decoder = codec.encoder(), codec.decoder()
    packets = []
    for start in range(0, 3000, 70):
        packets += encoder.push(audio[:, start : start + 70])
    packets += encoder.flush()
    codes = np.concatenate([unpack_packet(p, 8, 3).codes for p in packets], axis=1)
    assert np.array_equal(codes, codec.encode(audio).data[0])
    sound = np.concatenate([*(decoder.push(packet) for packet in packets), decoder.flush()], axis=1)
    whole = codec.decode(codec.encode(audio))
    assert np.allclose(sound[:, DELAY : DELAY + 3000], whole, atol=1e-4)

    mono, twice = codec.encoder(), codec.encoder()
    assert mono.push(audio[0]) == twice.push(np.stack([audio[0], audio[0]]))


def test_a_long_gap_fades_in_both_channels(codec: chirrup.Codec) -> None:
    audio, lost = stereo(24_000, seed=5), 160  # frames, of 2 ms
    packets = codec.encoder().push(audio)
    decoder = codec.decoder()
    for packet in packets[:30]:
        decoder.push(packet)
    gap = [decoder.push(None) for _ in range(lost)]
    assert all(piece.shape == (2, FRAME) for piece in gap)
    assert np.abs(gap[-1]).max() == 0
    codes = codec.encode(audio)
    codes.data[..., 30 : 30 + lost] = -1
    live = np.concatenate(gap, axis=1)
    whole = codec.decode(codes)
    start = 30 * FRAME - DELAY
    assert np.allclose(whole[:, start : start + lost * FRAME], live, atol=1e-4)


def test_a_state_is_saved_and_restored(codec: chirrup.Codec) -> None:
    audio = stereo(3000, seed=5)
    encoder, other = codec.encoder(), codec.encoder()
    encoder.push(audio[:, :1000])
    other.restore(encoder.save())
    assert other.push(audio[:, 1000:]) == encoder.push(audio[:, 1000:])


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 44_100])
def test_a_stereo_file(codec: chirrup.Codec, tmp_path: Path, rate_hz: int) -> None:
    audio = stereo(6000, seed=3)
    source, coded, out = (tmp_path / name for name in ("in.wav", "a.chirrup", "out.wav"))
    done = encode_file(codec, wav(source, audio, rate_hz), coded)
    assert (done.channels, done.samples, done.codes_bps) == (2, 6000, 12_000)
    with coded.open("rb") as file:
        header = Reader(file).header
    assert (header.channel_mode, header.channels, header.original_channels) == ("joint", 1, 2)
    assert header.bitrate_bps == 12_000
    facts = describe(coded)
    assert (facts["channel_mode"], facts["original_channels"]) == ("joint", 2)
    result = decode_file(codec, coded, out, floating=True)
    assert (result.channels, result.samples) == (2, 6000)
    decoded, rate = soundfile.read(out, dtype="float32", always_2d=True)
    assert (decoded.shape, rate) == ((6000, 2), rate_hz)
    if rate_hz == RATE_HZ:
        assert np.allclose(decoded.T, codec.decode(codec.encode(audio)), atol=1e-4)


def test_a_mono_file_comes_back_mono(codec: chirrup.Codec, tmp_path: Path) -> None:
    mono = stereo(6000, seed=3)[:1]
    source, coded, out = (tmp_path / name for name in ("in.wav", "a.chirrup", "out.wav"))
    encode_file(codec, wav(source, mono), coded)
    facts = describe(coded)
    assert (facts["channel_mode"], facts["original_channels"]) == ("joint", 1)
    assert decode_file(codec, coded, out, floating=True).channels == 1
    decoded, _ = soundfile.read(out, dtype="float32")
    assert np.allclose(decoded, codec.decode(codec.encode(mono[0])), atol=1e-4)


def test_more_channels_are_mixed_or_refused(codec: chirrup.Codec, tmp_path: Path) -> None:
    audio = np.concatenate([stereo(3000), stereo(3000, 1)[:1]])
    source, coded = wav(tmp_path / "in.wav", audio), tmp_path / "a.chirrup"
    with pytest.raises(FileError, match=r"in\.wav.*1 or 2 channels, not 3.*--mix"):
        encode_file(codec, source, coded)
    assert not coded.exists()
    encode_file(codec, source, coded, mix=True)
    facts = describe(coded)
    assert (facts["channel_mode"], facts["original_channels"]) == ("downmix", 3)
    out = tmp_path / "out.wav"
    assert decode_file(codec, coded, out).channels == 1


def test_files_of_other_kinds_of_models_are_refused(codec: chirrup.Codec, tmp_path: Path) -> None:
    source = wav(tmp_path / "in.wav", stereo(3000))
    encode_file(codec, source, tmp_path / "joint.chirrup")
    single = chirrup.load(codec.folder)
    single.channels = 1
    with pytest.raises(FileError, match="cannot decode"):
        decode_file(single, tmp_path / "joint.chirrup", tmp_path / "out.wav")
    other = chirrup.load(codec.folder)
    other.channels = 4
    with pytest.raises(FileError, match="cannot decode"):
        decode_file(other, tmp_path / "joint.chirrup", tmp_path / "out.wav")


def test_the_command_line(codec: chirrup.Codec, tmp_path: Path) -> None:
    source, coded = wav(tmp_path / "in.wav", stereo(6000)), tmp_path / "a.chirrup"
    run = CliRunner().invoke(app, ["encode", str(source), str(coded), "--model", str(codec.folder)])
    assert run.exit_code == 0, run.output
    run = CliRunner().invoke(app, ["info", "--json", str(coded)])
    assert run.exit_code == 0, run.output
    facts = json.loads(run.stdout)
    assert (facts["original_channels"], facts["channel_mode"]) == (2, "joint")


def test_a_peer_codes_stereo_jointly(codec: chirrup.Codec) -> None:
    peer = ModelPeer(codec.folder, "small")
    assert peer.channels == (1, 2)
    audio = stereo(5000, seed=7)
    coded = peer.code(audio, RATE_HZ, 12_000)
    assert coded.audio.shape == (2, 5000)
    mono = peer.code(audio[0], RATE_HZ, 12_000)
    assert mono.audio.shape == (1, 5000)
    assert mono.bits == coded.bits
    over_network = peer.with_network(parse_network("loss:30%"), "seed")
    lossy = over_network.code(audio, RATE_HZ, 12_000)
    assert not np.allclose(lossy.audio, coded.audio)
    assert over_network.code(audio[:1], RATE_HZ, 12_000).audio.shape == (1, 5000)
    codes = codec.encode(audio)
    assert replace(codes, samples=10).channels == 2
