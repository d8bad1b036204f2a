"""``chirrup record`` and ``chirrup play``, with a module in place of sounddevice."""

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import chirrup
import fake_sounddevice
from chirrup.cli import run
from chirrup.files import decode_file, describe
from chirrup.live import devices
from fake_sounddevice import Sounds
from file_samples import noise

SECONDS = 0.5


@pytest.fixture
def sounds(monkeypatch: pytest.MonkeyPatch) -> Sounds:
    sounds = Sounds()
    monkeypatch.setitem(sys.modules, "sounddevice", sounds.module())
    sounds.recorded = noise(12_000)
    return sounds


@pytest.mark.parametrize("rates_hz", [(24_000,), (48_000, 44_100)])
def test_a_recording_is_coded(sounds: Sounds, tmp_path: Path, rates_hz: tuple[int, ...]) -> None:
    """If the device does not support the rate of the model, its own rate is kept."""
    sounds.rates_hz = rates_hz
    out = tmp_path / "talk.chirrup"
    assert run(["record", str(out), "--duration", str(SECONDS), "--chunk", "100", "-q"]) == 0
    facts = describe(out, check=True)
    assert facts["damage"] == []
    assert facts["original_sample_rate_hz"] == rates_hz[0]
    assert facts["sample_count"] == SECONDS * rates_hz[0]


def test_a_recording_as_audio(sounds: Sounds, tmp_path: Path) -> None:
    out = tmp_path / "talk.flac"
    assert run(["record", str(out), "--duration", str(SECONDS)]) == 0
    audio, rate_hz = soundfile.read(out, dtype="float32")
    assert rate_hz == 24_000
    assert np.abs(audio - sounds.recorded[:, 0]).max() < 1e-4
    assert run(["record", str(out), "--duration", str(SECONDS)]) == 2  # it exists
    assert soundfile.info(out).frames == 12_000


def test_the_microphone_is_named(
    sounds: Sounds, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sounds.recorded[240] = np.nan
    assert run(["record", str(tmp_path / "talk.wav"), "--duration", str(SECONDS)]) == 2
    said = capsys.readouterr().err
    assert "the microphone has a sample that is not a finite number at 0.010 s" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", [("--bitrate", "6k"), ("--chunk", "60")])
def test_an_option_of_coding_is_refused_for_audio(
    sounds: Sounds, tmp_path: Path, option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["record", str(tmp_path / "talk.flac"), *option]) == 2
    assert f"leave {option[0]} out, or give OUT the ending .chirrup" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_quiet_recording_is_raised(sounds: Sounds, tmp_path: Path) -> None:
    sounds.recorded = noise(48_000) * np.float32(0.01)
    peaks = []
    for options in ([], ["--level"]):
        out = tmp_path / f"talk{len(options)}.wav"
        assert run(["record", str(out), "--duration", "2", *options]) == 0
        peaks.append(np.abs(soundfile.read(out)[0][24_000:]).max())
    assert peaks[1] > 3 * peaks[0]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("talk.chirrup", signal.SIGINT),
        ("talk.wav", signal.SIGINT),
        ("talk.chirrup", signal.SIGTERM),
        ("talk.wav", signal.SIGHUP),
    ],
)
def test_a_signal_ends_a_recording(sounds: Sounds, tmp_path: Path, name: str, number: int) -> None:
    """The file is whole and the exit code is 0, because nothing else ends a recording."""
    timer = threading.Timer(1.0, lambda: signal.raise_signal(number))
    chirrup.load().engines()  # imports what a signal must not interrupt
    timer.start()
    assert run(["record", str(tmp_path / name), "-q"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {name}
    if name.endswith(".chirrup"):
        assert describe(tmp_path / name, check=True)["damage"] == []
    else:
        assert soundfile.info(tmp_path / name).frames % 480 == 0


INTERRUPTED = """
import random, signal, sys, threading, time
from types import SimpleNamespace
import numpy as np
from chirrup.live.devices import Microphone
from fake_sounddevice import Sounds

sys.modules["sounddevice"] = Sounds().module()
sys.setswitchinterval(1e-5)
microphone, block = Microphone(24_000), np.zeros((8, 1), np.float32)
blocks, armed = 0, False

def record():
    global blocks
    while True:
        microphone._take(block, 8, None, SimpleNamespace(input_overflow=False))
        blocks += 1
        if blocks % 20 == 0:
            time.sleep(1e-4)

def interrupt():
    global armed
    while True:
        time.sleep(3e-4 * random.random())
        if armed:
            armed = False
            signal.raise_signal(signal.SIGINT)

for work in (record, interrupt):
    threading.Thread(target=work, daemon=True).start()
end = time.monotonic() + 3
while time.monotonic() < end:
    armed = True
    try:
        while True:
            microphone.read(32)
    except KeyboardInterrupt:
        pass
"""


def test_ctrl_c_at_any_moment_leaves_no_lock() -> None:
    """With `queue.Queue`, a recording and its device wait for each other after about a second."""
    environment = os.environ | {"PYTHONPATH": str(Path(fake_sounddevice.__file__).parent)}
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, env=environment, timeout=60, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("pipe", [False, True])
def test_what_is_played(
    sounds: Sounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipe: bool
) -> None:
    """A loudspeaker gets all samples of decode and of an audio file."""
    soundfile.write(tmp_path / "talk.wav", sounds.recorded, 24_000)
    assert run(["encode", str(tmp_path / "talk.wav"), "-q"]) == 0
    decoded = io.BytesIO()
    decode_file(None, tmp_path / "talk.chirrup", decoded, raw=True, floating=True)
    expected = {
        "talk.chirrup": np.frombuffer(decoded.getvalue(), "<f4"),
        "talk.wav": soundfile.read(tmp_path / "talk.wav", dtype="float32")[0],
    }
    for name, audio in expected.items():
        sounds.played, sounds.stopped = [], False
        stdin = io.BytesIO((tmp_path / name).read_bytes())
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False, buffer=stdin))
        assert run(["play", "-" if pipe else str(tmp_path / name)]) == 0
        assert np.array_equal(np.concatenate(sounds.played)[:, 0], audio)
        assert sounds.stopped
        assert sounds.played_rate_hz == 24_000


def test_devices_are_listed(
    sounds: Sounds, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in ("record", "play"):
        assert run([command, "--list-devices"]) == 0
        assert capsys.readouterr().out == "  0 both ways (Fake): 1 in, 2 out, 24000 Hz\n"
    monkeypatch.setenv("COLUMNS", "40")
    assert run(["play", "--list-devices"]) == 0
    lines = "  0 both ways (Fake): 1 in, 2 out, 24000\n    Hz\n"
    assert capsys.readouterr().out == lines


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["record", "OUT", "--device", "none"], "device 'none' cannot be used: No input device"),
        (["play", "IN", "--device", "none"], "device 'none' cannot play 24000 Hz x 1: No input"),
        (["record"], "OUT is missing"),
        (["play"], "IN is missing"),
        (["play", "IN", "--rate", "8000"], "only for .chirrup files"),
        (["play", "missing.wav"], "missing.wav does not exist"),
    ],
)
def test_wrong_arguments(
    sounds: Sounds,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
) -> None:
    soundfile.write(tmp_path / "in.wav", sounds.recorded, 24_000)
    names = {"OUT": str(tmp_path / "out.chirrup"), "IN": str(tmp_path / "in.wav")}
    assert run([names.get(argument, argument) for argument in arguments]) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out.chirrup").exists()


def test_no_device(sounds: Sounds, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sounds.devices = False
    assert run(["record", str(tmp_path / "out.wav")]) == 2
    assert (
        "the input device (default) cannot be used: the machine has no such device"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("command", ["play", "record"])
def test_the_file_is_checked_before_the_library(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    monkeypatch.setattr(devices, "import_module", None)
    assert run([command, str(tmp_path / "none" / "a.wav")]) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ModuleNotFoundError("sounddevice"), "pip install 'chirrup[live]'"),
        (OSError("PortAudio library not found"), "apt-get install libportaudio2"),
    ],
)
def test_missing_libraries(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    text: str,
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(devices, "import_module", fail)
    assert run(["play", "--list-devices"]) == 2
    assert text in capsys.readouterr().err
