"""Make files and packets for the archive, with the code of the version that is imported.

    PYTHONPATH=SRC_OF_THE_VERSION python tests/archive/make.py tests/archive/VERSION [--radio]
    python tests/archive/make.py tests/archive/VERSION --levels MODEL

`--radio` makes bare frames and messages only. `--levels` changes no file and no packet: it measures
the levels of their audio again, after the decoder of MODEL was trained on. It uses functions that
all versions have.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import chirrup
from chirrup.files import decode_file, encode_file

CLIP = Path(chirrup.__file__).parent / "clips" / "joe.flac"
SAMPLES = slice(12_000, 21_600)
"""0.4 s of speech, at 24 kHz."""
RADIO_MODEL, RADIO_BITRATE_BPS = "iris-t1", 3000


def levels_db(audio: np.ndarray, rate_hz: int) -> list[float]:
    """Return the level of each 20 ms of all channels."""
    size = rate_hz // 50
    channels = np.atleast_2d(audio)
    whole = channels[:, : channels.shape[1] // size * size].reshape(len(channels), -1, size)
    power = np.square(whole.astype(np.float64)).mean((0, 2))
    return [round(float(level), 2) for level in 10 * np.log10(power + 1e-10)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--radio", action="store_true")
    parser.add_argument("--levels", metavar="MODEL")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.levels:
        measure_again(given.folder, given.levels)
    else:
        (make_radio if given.radio else make_files_and_packets)(given.folder)


def make_files_and_packets(folder: Path) -> None:
    clip, rate_hz = soundfile.read(CLIP, dtype="float32")
    speech = clip[SAMPLES]
    stereo = np.stack([speech, 0.5 * speech[::-1]], 1)
    soundfile.write(folder / "mono.wav", speech, rate_hz)
    soundfile.write(folder / "stereo.wav", stereo, rate_hz)
    levels, packets = {}, {}
    for name in chirrup.models():
        codec = chirrup.load(name)
        modes: dict[str, tuple[str, Any]] = {
            f"{name}.chirrup": ("stereo" if codec.channels == 2 else "mono", "separate")
        }
        if name == "iris-t1":
            modes |= {
                "separate.chirrup": ("stereo", "separate"),
                "mid-side.chirrup": ("stereo", "mid-side"),
            }
        for file, (source, mode) in modes.items():
            place = folder / file
            encode_file(
                codec,
                folder / f"{source}.wav",
                place,
                bitrate_bps=codec.lowest_bitrate_bps,
                stereo=mode,
                metadata={"title": name},
                force=True,
            )
            levels[file] = levels_of_file(place)
        size = round(0.4 * codec.input_rate_hz)
        signal = np.tile(clip[12_000 : 12_000 + size], (codec.channels, 1))
        encoder = codec.encoder(codec.lowest_bitrate_bps, redundancy=1)
        sent = [*encoder.push(signal if codec.channels > 1 else signal[0]), *encoder.flush()]
        texts = [bytes(packet).hex() for packet in sent]
        packets[name] = {"packets": texts, "levels_db": levels_of_packets(name, texts)}
    for source in ("mono.wav", "stereo.wav"):
        (folder / source).unlink()
    _write(folder / "files.json", levels)
    _write(folder / "packets.json", packets)


def measure_again(folder: Path, name: str) -> None:
    levels, packets = (json.loads((folder / f"{x}.json").read_text()) for x in ("files", "packets"))
    levels[f"{name}.chirrup"] = levels_of_file(folder / f"{name}.chirrup")
    packets[name]["levels_db"] = levels_of_packets(name, packets[name]["packets"])
    _write(folder / "files.json", levels)
    _write(folder / "packets.json", packets)


def levels_of_file(path: Path) -> list[float]:
    decoded = path.with_name("decoded.wav")
    decode_file(None, path, decoded, force=True)
    levels = levels_db(*_channels_first(*soundfile.read(decoded)))
    decoded.unlink()
    return levels


def levels_of_packets(name: str, packets: list[str]) -> list[float]:
    codec = chirrup.load(name)
    decoder = codec.decoder()
    audio = [np.atleast_2d(decoder.push(bytes.fromhex(packet))) for packet in packets]
    return levels_db(np.concatenate(audio, 1), codec.sample_rate_hz)


def make_radio(folder: Path) -> None:
    from chirrup import radio
    from chirrup.files.bare import decode_bare, encode_bare

    codec = chirrup.load(RADIO_MODEL)
    clip, rate_hz = soundfile.read(CLIP, dtype="float32")
    source, decoded, frames = folder / "mono.wav", folder / "decoded.wav", folder / "bare.bin"
    soundfile.write(source, clip[SAMPLES], rate_hz)
    encode_bare(codec, source, frames, bitrate_bps=RADIO_BITRATE_BPS, text="N0CALL", bits=72)
    decode_bare(codec, frames, decoded, bitrate_bps=RADIO_BITRATE_BPS, bits=72)
    levels = levels_db(*_channels_first(*soundfile.read(decoded)))
    messages = radio.to_messages(codec, clip[SAMPLES], max_bytes=60, bitrate_bps=RADIO_BITRATE_BPS)
    audio, _ = radio.from_messages(codec, messages)
    about = {
        "bare": {"bits": 72, "text": "N0CALL", "levels_db": levels},
        "messages": {
            "messages": [message.hex() for message in messages],
            "levels_db": levels_db(audio, rate_hz),
        },
    }
    _write(folder / "radio.json", about)
    source.unlink()
    decoded.unlink()


def _channels_first(audio: np.ndarray, rate_hz: int) -> tuple[np.ndarray, int]:
    return audio.T, rate_hz


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=0) + "\n")


if __name__ == "__main__":
    main()
