"""The models of this package, with the interface of the codecs that they are compared with."""

import zlib
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from chirrup.bitstream import pack_packet, packed_size, unpack_packet
from chirrup.codec import Codec
from chirrup.codes import ABSENT, Codes
from chirrup.errors import FormatError
from chirrup.evaluate.peers.peer import Coded, Peer, resampled, timed
from chirrup.live.network import Network, NetworkConditions
from chirrup.model_folders import is_shipped
from chirrup.zoo import load

loaded = cache(load)

BUFFER_S = 0.1
"""Delay of a fixed jitter buffer: a packet that comes more than this behind the fastest is lost."""


class ModelPeer(Peer):
    """A model, coded and decoded as whole signals.

    The decoder removes the delay and returns the length of the input. ``bits`` counts the packed
    codes. The seconds are the wall time of `Codec.encode` and `Codec.decode` on one thread.

    Args:
        model: one of `chirrup.models`, ``NAME@DIGITS`` of earlier weights, or a folder that
            ``chirrup export`` wrote.
        name: key in tables; by default the name of the model or of its folder.
    """

    ours, delay_ms, accepts_network = True, 0.0, True

    def __init__(self, model: str | Path, name: str | None = None) -> None:
        self._model = model
        self._network: tuple[NetworkConditions, str] | None = None
        codec = self.codec
        codec.check_encodes()
        self.name = name or (str(model) if is_shipped(str(model)) else Path(model).resolve().name)
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
        codes = self._arrived(codes)
        decoded, decode_seconds = timed(codec.decode, replace(codes, samples=audio.shape[-1]))
        bits = 8 * packed_size(codes.data.size, codec.bits_per_code)
        return Coded(decoded, bits, encode_seconds, decode_seconds)

    def with_network(self, conditions: NetworkConditions, seed: str) -> "ModelPeer":
        other = ModelPeer(self._model, self.name)
        other._network = conditions, seed
        return other

    def _arrived(self, codes: Codes) -> Codes:
        """Send the codes in packets of the default size, and return the codes that arrive.

        Codes of packets that are lost, malformed or more than `BUFFER_S` late are absent.
        """
        if self._network is None:
            return codes
        spec, (conditions, seed) = self.codec.spec, self._network
        network = Network(conditions, zlib.crc32(seed.encode()))
        size, period_s = spec.packet_frames, spec.packet_frames / spec.frame_rate_hz
        sent = codes.data.reshape(codes.codebooks, codes.frames)
        sent = np.pad(sent, ((0, 0), (0, -codes.frames % size)))
        for number, part in enumerate(np.split(sent, sent.shape[1] // size, axis=1)):
            network.send(pack_packet(part, None, spec.bits_per_code), number * period_s)
        arrivals = network.receive()
        delays_s = [arrival.time_s - arrival.number * period_s for arrival in arrivals]
        latest_s = min(delays_s, default=0.0) + BUFFER_S
        arrived = np.full_like(sent, ABSENT)
        for arrival, delay_s in zip(arrivals, delays_s, strict=True):
            if delay_s > latest_s:
                continue
            with suppress(FormatError):
                packet = unpack_packet(
                    arrival.packet, spec.bits_per_code, codes.codebooks, spec.codebook_size
                )
                start = arrival.number * size
                place = arrived[: len(packet.codes), start : start + size]
                place[:, : packet.codes.shape[1]] = packet.codes[:, :size]
        return replace(codes, data=arrived[:, : codes.frames].reshape(codes.data.shape))
