"""Voice conversion of signals, live streams and files."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile

import chirrup
from chirrup.cli import run
from chirrup.files import FileError, convert_file, encode_file
from chirrup.voice import VoiceDecoder
from chirrup.zoo import FOLDER
from small_model import Exported, speech_like

pytest_plugins = ["models_fixture"]

TALK, OTHER, THIRD = (speech_like(16_000, seed=seed) for seed in (3, 4, 5))


@pytest.fixture(scope="module")
def speaking(small_focal_codec: chirrup.Codec) -> chirrup.Codec:
    return chirrup.in_voice(small_focal_codec, [OTHER, THIRD])


def features(codec: chirrup.Codec, codes: np.ndarray) -> np.ndarray:
    """Return the features ``[frames, dim]`` of codes ``[codebooks, frames]``."""
    half = VoiceDecoder(codec, 1).halves[0]
    return half(codes[None].astype(np.int32), half.initial_state())[0][0].T


def test_the_two_halves_are_the_decoder(small_focal_codec: chirrup.Codec) -> None:
    codec = small_focal_codec
    codes = codec.encode(TALK).data[None].astype(np.int32)
    whole, halves = codec.engines()[1], VoiceDecoder(codec, 1)
    expected, after = whole(codes, whole.initial_state())
    got, states = halves(codes, halves.initial_state())
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert list(states) == list(after)
    for name, value in after.items():
        np.testing.assert_allclose(states[name].numpy(), value.numpy(), atol=1e-5)


def test_in_its_own_voice_a_talk_stays(small_focal_codec: chirrup.Codec) -> None:
    """With one neighbour, the nearest frame of each frame is the frame itself."""
    codec = small_focal_codec
    codes = codec.encode(TALK)
    own = chirrup.in_voice(codec, [TALK], neighbours=1).decode(codes)
    np.testing.assert_allclose(own[: 50 * 480], codec.decode(codes)[: 50 * 480], atol=1e-4)
    mixed = chirrup.in_voice(codec, [TALK], neighbours=4).decode(codes)
    assert np.abs(mixed - codec.decode(codes)).max() > 1e-3


def test_frames_become_the_mean_of_the_most_alike(
    small_focal_codec: chirrup.Codec, speaking: chirrup.Codec
) -> None:
    codec, decoder = small_focal_codec, speaking.engines()[1]
    assert isinstance(decoder, VoiceDecoder)
    voice = [features(codec, codec.encode(audio).data)[:50] for audio in (OTHER, THIRD)]
    frames = np.concatenate(voice)
    np.testing.assert_allclose(decoder.voice, frames, atol=1e-5)
    said = features(codec, codec.encode(TALK).data)
    for row, got in zip(said, decoder.exchange(said.T[None])[0].T, strict=True):
        cosines = [x @ row / np.linalg.norm(x) / np.linalg.norm(row) for x in frames]
        best = np.argsort(cosines)[-4:]
        np.testing.assert_allclose(got, frames[best].mean(axis=0), atol=1e-4)


def test_the_codec_itself_is_as_before(
    small_focal_codec: chirrup.Codec, speaking: chirrup.Codec
) -> None:
    codes = small_focal_codec.encode(TALK)
    np.testing.assert_array_equal(speaking.encode(TALK).data, codes.data)
    plain, changed = small_focal_codec.decode(codes), speaking.decode(codes)
    assert plain.shape == changed.shape
    assert np.abs(plain - changed).max() > 1e-3


def test_live_is_the_signal(speaking: chirrup.Codec) -> None:
    encoder, decoder = speaking.encoder(), speaking.decoder()
    packets = [*encoder.push(TALK), *encoder.flush()]
    first = [decoder.push(packet) for packet in packets[:5]]
    other = speaking.decoder()
    other.restore(decoder.save())
    sound = np.concatenate([*first, *map(other.push, packets[5:])])
    whole = speaking.decode(speaking.encode(TALK))
    np.testing.assert_allclose(sound[: len(whole)], whole, atol=1e-4)


def test_what_cannot_be_a_voice(
    small_codec: chirrup.Codec, small_focal_codec: chirrup.Codec
) -> None:
    with pytest.raises(chirrup.ModelError, match="small cannot change the voice"):
        chirrup.in_voice(small_codec, [OTHER])
    with pytest.raises(ValueError, match="at least one recording"):
        chirrup.in_voice(small_focal_codec, [])
    with pytest.raises(ValueError, match="a recording of the voice is silent"):
        chirrup.in_voice(small_focal_codec, [OTHER, 0 * OTHER])
    with pytest.raises(ValueError, match="neighbours is 4, but the voice has 3 frames"):
        chirrup.in_voice(small_focal_codec, [OTHER[:700]])
    with pytest.raises(ValueError, match="mono"):
        chirrup.in_voice(small_focal_codec, [np.stack([OTHER, OTHER])])
    with pytest.raises(ValueError, match="not finite"):
        chirrup.in_voice(small_focal_codec, [OTHER * np.nan])


# --- files and command ---------------------------------------------------------------------------


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("talk.wav", np.stack([TALK, TALK[::-1]], axis=1), 22_050)
    soundfile.write("voice.flac", OTHER, 16_000)
    soundfile.write("more.wav", np.stack([THIRD, THIRD], axis=1), 48_000)
    soundfile.write("empty.wav", np.zeros((0, 1)), 16_000)


def test_a_file_in_another_voice(
    talk: None, small_focal_export: Exported, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(small_focal_export.folder)
    line = ["convert", "talk.wav", "out.wav", "--model", model, "--voice", "voice.flac"]
    assert run(line) == 0
    assert "out.wav: 0.73 s at 22050 Hz" in capsys.readouterr().err
    once, rate = soundfile.read("out.wav")
    assert (once.shape, rate) == ((16_000, 2), 22_050)
    assert run([*line, "--voice", "more.wav", "-f", "-q"]) == 0
    twice, _ = soundfile.read("out.wav")
    assert np.abs(once - twice).max() > 1e-3
    assert run([*line, "--neighbours", "1", "-f", "--float"]) == 0
    assert soundfile.info("out.wav").subtype == "FLOAT"


def test_a_voice_that_is_cut_off_is_noted(talk: None, small_focal_codec: chirrup.Codec) -> None:
    Path("more.wav").write_bytes(Path("more.wav").read_bytes()[:40_044])
    note = "voice more.wav: its header states 64000 bytes of samples, but it has 40000"
    encode_file(small_focal_codec, "talk.wav", "talk.chirrup")
    for source in ("talk.wav", "talk.chirrup"):
        result = convert_file(small_focal_codec, source, f"{source}.wav", ["more.wav"])
        assert result.damage[0] == note


def test_a_coded_file_is_decoded_in_the_voice(talk: None, small_focal_codec: chirrup.Codec) -> None:
    codec = small_focal_codec
    encode_file(codec, "talk.wav", "talk.chirrup")
    convert_file(codec, "talk.chirrup", "a.wav", ["voice.flac"])
    convert_file(codec, "talk.wav", "b.wav", ["voice.flac"])
    a, b = soundfile.read("a.wav")[0], soundfile.read("b.wav")[0]
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("none.wav x.wav --voice voice.flac", "none.wav does not exist"),
        ("talk.wav x.wav --voice none.wav", "none.wav does not exist"),
        ("talk.wav x.wav", "Missing option '--voice'"),
        ("talk.wav voice.flac --voice voice.flac -f", "voice.flac is both input and output"),
        ("talk.wav talk.wav --voice voice.flac -f", "talk.wav is both input and output"),
        ("talk.wav more.wav --voice voice.flac", "more.wav exists"),
        ("talk.wav x.xyz --voice voice.flac", "use .wav, .flac"),
        ("talk.wav x.wav --voice empty.wav", "voice empty.wav: audio must be"),
        (
            "talk.wav x.wav --voice voice.flac --neighbours 99",
            "neighbours is 99, but the voice has",
        ),
        (
            "talk.wav x.wav --voice voice.flac --model iris-t1",
            "error: iris-t1 cannot change",
        ),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    talk: None,
    small_focal_export: Exported,
    capsys: pytest.CaptureFixture[str],
    line: str,
    message: str,
) -> None:
    before = {path: path.read_bytes() for path in Path().iterdir()}
    model = [] if "--model" in line else ["--model", str(small_focal_export.folder)]
    assert run(["convert", *line.split(), *model]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_nothing_is_converted_before_the_output_is_known_to_be_free(
    talk: None, small_focal_codec: chirrup.Codec
) -> None:
    with pytest.raises(FileError, match=r"more\.wav exists"):
        convert_file(small_focal_codec, "empty.wav", "more.wav", ["voice.flac"])


def test_features_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER / "focal-small", tmp_path / "model")
    about = json.loads((folder / "model.json").read_text())
    del about["graphs_sha256"]
    (folder / "model.json").write_text(json.dumps(about))
    graph = onnx.load(folder / "features.onnx", load_external_data=False)
    last = next(node for node in graph.graph.node if "output" in node.output)
    last.output[list(last.output).index("output")] = "features"
    graph.graph.node.append(onnx.helper.make_node("Flatten", ["features"], ["output"]))
    del graph.graph.output[0].type.tensor_type.shape.dim[:]
    (folder / "features.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(chirrup.ModelError, match=r"features\.onnx .* not features"):
        chirrup.in_voice(chirrup.load(folder), [OTHER])
