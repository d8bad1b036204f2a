"""The systems that `quality.py` compares: audio at RATE in; decoded audio at RATE and bytes out.

A coder is given an empty folder for its files. Its bytes are those of the codes or packets alone,
without a container (Ogg, .chirrup). Delay is left in, but where a decoder removes its own.
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import soundfile
import soxr

import chirrup
from chirrup.bitstream import packed_size

RATE = 24_000
Coder = Callable[[np.ndarray, Path], tuple[np.ndarray, int]]


@dataclass(frozen=True)
class System:
    name: str
    kbps: float  # nominal
    code: Coder
    tools: tuple[str, ...] = ()
    package: str = ""  # Debian's


load = cache(chirrup.load)


def model(
    audio: np.ndarray, folder: Path, *, name: str, bitrate_bps: int
) -> tuple[np.ndarray, int]:
    """A model of this package."""
    codec = load(name)
    if codec.sample_rate_hz != RATE:
        audio = soxr.resample(audio, RATE, codec.sample_rate_hz)
    codes = codec.encode(audio.astype(np.float32), bitrate_bps)
    decoded = codec.decode(codes)
    if codec.sample_rate_hz != RATE:
        decoded = soxr.resample(decoded, codec.sample_rate_hz, RATE)
    return decoded, packed_size(codes.data.size, codec.bits_per_code)


def opus(audio: np.ndarray, folder: Path, *, kbps: float) -> tuple[np.ndarray, int]:
    """opusenc with its defaults: variable bitrate, 20 ms frames, complexity 10."""
    wav, coded, decoded = folder / "in.wav", folder / "coded.opus", folder / "out.wav"
    soundfile.write(wav, audio, RATE, subtype="PCM_16")
    run("opusenc", "--quiet", "--bitrate", f"{kbps:g}", wav, coded)
    run("opusdec", "--quiet", "--float", "--rate", RATE, coded, decoded)
    return soundfile.read(decoded)[0], ogg_payload(coded.read_bytes())


def codec2(audio: np.ndarray, folder: Path, *, mode: str, frame: int) -> tuple[np.ndarray, int]:
    """8 kHz inside. One frame of silence more than the clip, so that its end comes out."""
    raw, coded, decoded = folder / "in.raw", folder / "coded.c2b", folder / "out.raw"
    narrow = soxr.resample(audio, RATE, 8000)
    narrow = np.pad(narrow, (0, frame + -len(narrow) % frame))
    np.clip(np.round(narrow * 32768), -32768, 32767).astype("<i2").tofile(raw)
    run("c2enc", mode, raw, coded)
    run("c2dec", mode, coded, decoded)
    return soxr.resample(np.fromfile(decoded, "<i2") / 32768, 8000, RATE), coded.stat().st_size


def run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def ogg_payload(data: bytes) -> int:
    """Bytes of the packets of an Ogg file, the two header packets left out."""
    sizes, size, at = [], 0, 0
    while at < len(data):
        lacing = data[at + 27 : at + 27 + data[at + 26]]
        for value in lacing:
            size += value
            if value < 255:
                sizes.append(size)
                size = 0
        at += 27 + len(lacing) + sum(lacing)
    return sum(sizes[2:])


C2, OPUS = ("c2enc", "c2dec"), ("opusenc", "opusdec")
PEERS = [
    System("Codec2 700C", 0.7, partial(codec2, mode="700C", frame=320), C2, "codec2"),
    System("Codec2 1200", 1.2, partial(codec2, mode="1200", frame=320), C2, "codec2"),
    System("Codec2 3200", 3.2, partial(codec2, mode="3200", frame=160), C2, "codec2"),
    System("Opus 6", 6.0, partial(opus, kbps=6), OPUS, "opus-tools"),
]


def models(name: str) -> list[System]:
    """The model at 1, 3 and 6 kbit/s, as far as it has them."""
    codec = load(name)
    rates = [rate for rate in (1000, 3000, 6000) if rate in codec.bitrates_bps]
    return [
        System(f"{codec.name} {r // 1000}", r / 1000, partial(model, name=name, bitrate_bps=r))
        for r in rates
    ]
