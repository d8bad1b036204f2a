"""Lyra v2: Google's neural speech codec (a SoundStream), 16 kHz.

Lyra needs the package ai-edge-litert, and the folder ``lyra/model_coeffs`` of
https://github.com/google/lyra with ``soundstream_encoder.tflite``, ``quantizer.tflite`` and
``lyragan.tflite``. The environment variable CHIRRUP_LYRA2 names the folder.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np

from chirrup.evaluate.peers.peer import Coded, Peer, timed

VARIABLE = "CHIRRUP_LYRA2"
FRAME_SAMPLES = 320
BITS_PER_QUANTIZER = 4
QUANTIZERS = {3200: 16, 6000: 30, 9200: 46}
FILES = ("soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite")


class Lyra2(Peer):
    """The networks of Lyra v2, called frame by frame on one thread.

    A frame of 20 ms has 4 bits a quantizer: 64, 120 or 184 bits. The delay is not removed. Seconds
    include the calls of the networks, but not their loading.

    Args:
        folder: folder of the three files; by default the one that CHIRRUP_LYRA2 names.
    """

    name, label = "lyra2", "Lyra v2"
    bitrates_bps, sample_rate_hz = tuple(QUANTIZERS), 16_000

    def __init__(self, folder: Path | str | None = None) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path | None:
        """Folder of the networks; None if neither the constructor nor CHIRRUP_LYRA2 names one."""
        named = self._folder or os.environ.get(VARIABLE)
        return Path(named) if named else None

    def missing(self) -> str | None:
        if importlib.util.find_spec("ai_edge_litert") is None:
            return "pip install ai-edge-litert"
        if self.folder is None:
            return (
                f"set {VARIABLE} to the folder lyra/model_coeffs of https://github.com/google/lyra"
            )
        absent = [name for name in FILES if not (self.folder / name).is_file()]
        return f"{self.folder} has no {', '.join(absent)}" if absent else None

    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        assert self.folder is not None  # `missing` has checked it
        networks = Networks(self.folder)
        end = FRAME_SAMPLES + -audio.shape[1] % FRAME_SAMPLES  # one more frame, for the delay
        frames = np.pad(audio[0], (0, end)).reshape(-1, 1, FRAME_SAMPLES)
        codes, encode_seconds = timed(networks.encode, frames, QUANTIZERS[bitrate_bps])
        decoded, decode_seconds = timed(networks.decode, codes)
        bits = len(frames) * QUANTIZERS[bitrate_bps] * BITS_PER_QUANTIZER
        return Coded(decoded[None], bits, encode_seconds, decode_seconds)


class Networks:
    """The networks, which store their state. Each signal needs a new object."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._encoder = self._load(FILES[0]).get_signature_runner()
        quantizer = self._load(FILES[1])
        self._quantize = quantizer.get_signature_runner("encode")
        self._dequantize = quantizer.get_signature_runner("decode")
        self._decoder = self._load(FILES[2]).get_signature_runner()

    def _load(self, name: str) -> Any:
        from ai_edge_litert.interpreter import (  # pyright: ignore[reportMissingImports]
            Interpreter,
        )

        return Interpreter(str(self._folder / name), num_threads=1)

    def encode(self, frames: np.ndarray, quantizers: int) -> list[np.ndarray]:
        """Encode ``float32 [frames, 1, 320]``.

        Returns:
            Codes ``int32 [46, 1, 1]`` of each frame. The codes of unused quantizers are -1.
        """
        count = np.int32(quantizers)
        return [
            self._quantize(
                input_frames=self._encoder(input_audio=frame)["output_0"], num_quantizers=count
            )["output_0"]
            for frame in frames
        ]

    def decode(self, codes: list[np.ndarray]) -> np.ndarray:
        """Decode the codes of the frames into ``float32 [samples]``."""
        frames = [
            self._decoder(input_audio=self._dequantize(encoding_indices=frame)["output_0"])
            for frame in codes
        ]
        return np.concatenate([frame["output_0"].ravel() for frame in frames])
