"""AMR-WB (3GPP TS 26.171): the wideband speech codec of mobile telephony, 16 kHz.

The encoder and the decoder are C libraries, called through ctypes.
"""

import ctypes
import ctypes.util
from functools import cache

import numpy as np

from chirrup.evaluate.peers.peer import Coded, Peer, PeerError, from_int16, timed, to_int16

FRAME_SAMPLES = 320
LARGEST_FRAME_BYTES = 64
BITS = {
    6600: 132,
    8850: 177,
    12_650: 253,
    14_250: 285,
    15_850: 317,
    18_250: 365,
    19_850: 397,
    23_050: 461,
    23_850: 477,
}
"""Bits of a 20 ms frame by bitrate, in the order of the modes."""
LIBRARIES = {"vo-amrwbenc": "libvo-amrwbenc0", "opencore-amrwb": "libopencore-amrwb0"}
"""Debian package of each library."""


class AmrWb(Peer):
    """AMR-WB without discontinuous transmission.

    Bits are the size of a frame in the standard, without the header byte and the padding of the
    storage format. The delay is not removed.
    """

    name, label = "amr-wb", "AMR-WB"
    bitrates_bps, sample_rate_hz = tuple(BITS), 16_000

    def missing(self) -> str | None:
        absent = [LIBRARIES[name] for name in LIBRARIES if find_library(name) is None]
        return f"apt-get install {' '.join(absent)}" if absent else None

    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        end = FRAME_SAMPLES + -audio.shape[1] % FRAME_SAMPLES  # one more frame, for the delay
        samples = np.pad(to_int16(audio[0]), (0, end)).astype(np.int16).reshape(-1, FRAME_SAMPLES)
        frames, encode_seconds = timed(encode, samples, list(BITS).index(bitrate_bps))
        decoded, decode_seconds = timed(decode, frames)
        bits = len(frames) * BITS[bitrate_bps]
        return Coded(from_int16(decoded)[None], bits, encode_seconds, decode_seconds)


def encode(samples: np.ndarray, mode: int) -> list[bytes]:
    """Encode ``int16 [frames, 320]`` into frames of the storage format (RFC 4867)."""
    library = load("vo-amrwbenc")
    state = ctypes.c_void_p(library.E_IF_init())
    out = ctypes.create_string_buffer(LARGEST_FRAME_BYTES)
    size = 1 + (list(BITS.values())[mode] + 7) // 8
    try:
        frames = []
        for frame in samples:
            got = library.E_IF_encode(state, mode, frame.ctypes.data_as(ctypes.c_void_p), out, 0)
            if got != size:
                raise PeerError(f"the AMR-WB encoder returned {got} bytes instead of {size}")
            frames.append(out.raw[:size])
        return frames
    finally:
        library.E_IF_exit(state)


def decode(frames: list[bytes]) -> np.ndarray:
    """Decode frames of the storage format into ``int16 [samples]``."""
    library = load("opencore-amrwb")
    state = ctypes.c_void_p(library.D_IF_init())
    samples = np.empty((len(frames), FRAME_SAMPLES), np.int16)
    try:
        for frame, out in zip(frames, samples):
            library.D_IF_decode(state, frame, out.ctypes.data_as(ctypes.c_void_p), 0)
    finally:
        library.D_IF_exit(state)
    return samples.ravel()


@cache
def find_library(name: str) -> str | None:
    return ctypes.util.find_library(name)


@cache
def load(name: str) -> ctypes.CDLL:
    library = ctypes.CDLL(find_library(name))
    starts = {"vo-amrwbenc": "E_IF_init", "opencore-amrwb": "D_IF_init"}
    getattr(library, starts[name]).restype = ctypes.c_void_p
    return library
