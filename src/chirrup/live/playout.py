"""Playout of a received stream: a jitter buffer and a decoder, which turn packets into audio."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from chirrup.errors import FormatError
from chirrup.live import jitter
from chirrup.live.jitter import JitterBuffer
from chirrup.stream import Decoder

QUIET: Final = 0.1
"""Level of a quiet tick, relative to the loudest recent one: 20 dB less."""
SILENCE: Final = 1e-4
"""Level of a tick, relative to full scale, below which it is always quiet: -80 dB."""
FORGET_S: Final = 3.0
"""Time in which the level of the loudest recent tick halves."""


@dataclass
class Statistics(jitter.Statistics):
    """Statistics of the jitter buffer, and of the decoder.

    Attributes:
        malformed: packets that the decoder refused. They were concealed.
    """

    malformed: int = 0


class Playout:
    """The receiver's end of a live stream. It belongs to one thread at a time.

    >>> playout = Playout(codec.decoder())
    >>> playout.push(sequence, timestamp, packet, time.monotonic())
    >>> audio = playout.pull(time.monotonic())

    Args:
        decoder: a new decoder. The timestamps of the packets count samples of its output.
        min_depth_s: lowest delay of the jitter buffer.
        max_depth_s: highest delay of the jitter buffer.
    """

    def __init__(
        self, decoder: Decoder, *, min_depth_s: float = 0.02, max_depth_s: float = 0.5
    ) -> None:
        spec = decoder.spec
        self.decoder, self.rate_hz = decoder, spec.sample_rate_hz
        self.buffer = JitterBuffer(
            spec.frame_samples, self.rate_hz, min_depth_s=min_depth_s, max_depth_s=max_depth_s
        )
        self._shape = (spec.channels,) if spec.channels > 1 else ()
        self._malformed = 0
        self._started, self._quiet, self._loudest = False, True, 0.0

    @property
    def statistics(self) -> Statistics:
        """The counts and the state, as a copy."""
        return Statistics(**vars(self.buffer.statistics), malformed=self._malformed)

    def push(
        self, sequence: int, timestamp: int, packet: bytes, arrival_s: float, source: int = 0
    ) -> None:
        """Store a packet. `JitterBuffer.push` describes the arguments."""
        self.buffer.push(sequence, timestamp, packet, arrival_s, source)

    def pull(self, now_s: float) -> np.ndarray:
        """Return the audio of the next tick. Before the first packet it is silence.

        The first tick of a stream is faded in, because a decoder may begin with a burst.

        The caller pulls when the output needs more samples.

        Args:
            now_s: time of the tick in seconds, on the clock of the arrival times.

        Returns:
            ``float32 [samples]`` or ``[channels, samples]``, as `Decoder.push`.

        Raises:
            ModelError: the model is damaged.
        """
        packet, following = self.buffer.pull(now_s, self._quiet)
        starts = not self._started and (packet is not None or following is not None)
        self._started |= starts
        if not self._started:
            samples = self.decoder.frames_per_packet * self.decoder.spec.frame_samples
            return np.zeros((*self._shape, samples), np.float32)
        try:
            audio = self.decoder.push(packet, following)
        except FormatError:
            self._malformed += packet is not None
            audio = self.decoder.push(None)
        if starts:
            size = audio.shape[-1]
            audio = audio * np.linspace(0, 1, size, endpoint=False, dtype=np.float32)
        self._note_level(audio)
        return audio

    def _note_level(self, audio: np.ndarray) -> None:
        if audio.size:
            level = float(np.sqrt(np.square(audio).mean()))
            faded = self._loudest * 0.5 ** (audio.shape[-1] / self.rate_hz / FORGET_S)
            self._loudest = max(level, faded)
            self._quiet = level <= max(QUIET * self._loudest, SILENCE)
