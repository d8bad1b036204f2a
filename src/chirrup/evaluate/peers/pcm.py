"""Uncompressed samples, as the baseline of models that remove noise."""

import numpy as np

from chirrup.evaluate.peers.peer import Coded, Peer, from_int16, timed, to_int16


class Pcm(Peer):
    """16-bit samples at 48 kHz."""

    name, label = "pcm", "PCM"
    bitrates_bps = (768_000,)
    sample_rate_hz = 48_000

    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        sent, encode_seconds = timed(to_int16, audio)
        decoded, decode_seconds = timed(from_int16, sent)
        return Coded(decoded, 16 * audio.size, encode_seconds, decode_seconds)
