"""The models of this package, behind the interface of those that they are compared with."""

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


class Model(Peer):
    """A model, by one path for files: delay removed, the length of the input.

    Bits are those of the packed codes. Seconds are those of `Codec.encode` and `Codec.decode` on
    one thread, loading left out.

    Args:
        model: one of `chirrup.models`, or a folder that ``chirrup export`` wrote.
        name: key in tables; by default the model's own, or the name of its folder.
    """

    def __init__(self, model: str | Path, name: str | None = None) -> None:
        self._model = model
        self._loss: tuple[float, str] | None = None
        codec = self.codec
        self.name = name or (codec.name if model in models() else Path(model).resolve().name)
        self.label = self.name
        self.sample_rate_hz = codec.sample_rate_hz
        self.bitrates_bps = tuple(codec.bitrates_bps)
        self.channels = tuple(sorted({1, codec.channels}))

    @property
    def codec(self) -> Codec:
        """The model itself. It is not kept here, so that the peer can go to another process."""
        return loaded(self._model)

    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        codec = self.codec
        codec.graphs()  # loads what is not loaded yet
        heard = resampled(audio, codec.sample_rate_hz, codec.input_rate_hz)
        codes, encode_seconds = timed(codec.encode, heard, bitrate_bps)
        codes = self.lose(codes)
        decoded, decode_seconds = timed(codec.decode, replace(codes, samples=audio.shape[-1]))
        bits = 8 * packed_size(codes.data.size, codec.bits_per_code)
        return Coded(decoded, bits, encode_seconds, decode_seconds)

    def with_loss(self, share: float, seed: str) -> "Model":
        """The same, but ``share`` of the frames, drawn by ``seed``, never arrive."""
        other = Model(self._model, self.name)
        other._loss = (share, seed)
        return other

    def lose(self, codes: Codes) -> Codes:
        if self._loss is None:
            return codes
        data = codes.data.copy()
        data[..., lost_frames(codes.frames, *self._loss)] = ABSENT
        return replace(codes, data=data)
