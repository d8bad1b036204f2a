"""The models of this package, with the interface of the codecs that they are compared with."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from chirrup.bitstream import packed_size
from chirrup.codec import Codec
from chirrup.codes import ABSENT, Codes
from chirrup.evaluate.conditions import lost_frames
from chirrup.evaluate.peers.peer import Coded, Peer, resampled, timed
from chirrup.zoo import load, models

loaded = cache(load)


class ModelPeer(Peer):
    """A model, coded and decoded as whole signals.

    The decoder removes the delay and returns the length of the input. ``bits`` counts the packed
    codes. The seconds are the wall time of `Codec.encode` and `Codec.decode` on one thread.

    Args:
        model: one of `chirrup.models`, or a folder that ``chirrup export`` wrote.
        name: key in tables; by default the name of the model or of its folder.
    """

    ours, delay_ms, accepts_loss = True, 0.0, True

    def __init__(self, model: str | Path, name: str | None = None) -> None:
        self._model = model
        self._loss: tuple[float, str] | None = None
        codec = self.codec
        self.name = name or (codec.name if model in models() else Path(model).resolve().name)
        self.label = self.name
        self.sample_rate_hz = codec.sample_rate_hz
        self.bitrates_bps = tuple(codec.bitrates_bps)
        self.channels = tuple(sorted({1, codec.channels}))
        self.version = codec.weights_sha256[:12]

    @property
    def default_bitrates_bps(self) -> tuple[int, ...]:
        """The lowest bitrate that the model was trained for, and the highest."""
        return tuple(dict.fromkeys((self.codec.lowest_bitrate_bps, self.bitrates_bps[-1])))

    @property
    def codec(self) -> Codec:
        """The model. The peer does not store it, so that the peer can be sent to a process."""
        return loaded(self._model)

    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        codec = self.codec
        codec.engines()  # opens them, so that no time below includes it
        model_input = resampled(audio, codec.sample_rate_hz, codec.input_rate_hz)
        codes, encode_seconds = timed(codec.encode, model_input, bitrate_bps)
        codes = self._lost(codes)
        decoded, decode_seconds = timed(codec.decode, replace(codes, samples=audio.shape[-1]))
        bits = 8 * packed_size(codes.data.size, codec.bits_per_code)
        return Coded(decoded, bits, encode_seconds, decode_seconds)

    def with_loss(self, share: float, seed: str) -> "ModelPeer":
        other = ModelPeer(self._model, self.name)
        other._loss = (share, seed)
        return other

    def _lost(self, codes: Codes) -> Codes:
        if self._loss is None:
            return codes
        data = codes.data.copy()
        data[..., lost_frames(codes.frames, *self._loss)] = ABSENT
        return replace(codes, data=data)
