"""Two codecs in series: a call that is transcoded, or an enhancer before a codec."""

import numpy as np

from chirrup.evaluate.peers.peer import Coded, Peer


class Tandem(Peer):
    """The second codec codes the audio that the first decodes.

    The first codec has its highest bitrate. Bitrates and bits are the second one's; the seconds are
    the sums of both.
    """

    def __init__(self, first: Peer, second: Peer) -> None:
        self._first, self._second = first, second
        self.name = f"{first.name}+{second.name}"
        self.label = f"{first.label} + {second.label}"
        self.bitrates_bps = second.bitrates_bps
        self.sample_rate_hz = max(first.sample_rate_hz, second.sample_rate_hz)
        self.channels = tuple(sorted({*first.channels, *second.channels}))
        self.version = f"{first.version}+{second.version}"
        delays = first.delay_ms, second.delay_ms
        self.delay_ms = None if None in delays else sum(filter(None, delays))

    @property
    def default_bitrates_bps(self) -> tuple[int, ...]:
        """The second codec's."""
        return self._second.default_bitrates_bps

    def missing(self) -> str | None:
        return self._first.missing() or self._second.missing()

    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        first = self._first.code(audio, self.sample_rate_hz, self._first.bitrates_bps[-1])
        second = self._second.code(first.audio, self.sample_rate_hz, bitrate_bps)
        return Coded(
            second.audio,
            second.bits,
            first.encode_seconds + first.decode_seconds + second.encode_seconds,
            second.decode_seconds,
        )
