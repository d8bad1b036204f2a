"""A connection in real time: a link, and what is sent and received over it."""

import math
import secrets
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from chirrup.bitstream import Readable
from chirrup.calls.loop import CONTROL_S, FASTER, Loop
from chirrup.calls.meters import Meters
from chirrup.calls.outputs import Output
from chirrup.calls.recorder import Recorder
from chirrup.calls.sources import Source
from chirrup.codec import Codec
from chirrup.errors import UsageError
from chirrup.files.inputs import Audio, open_audio, open_source
from chirrup.files.names import names_file
from chirrup.live.adaptation import Adaptation, Choice, Costs, frames_for
from chirrup.live.description import Description
from chirrup.live.devices import Microphone
from chirrup.live.endpoint import Endpoint
from chirrup.live.link import Link
from chirrup.live.pauses import Pauses
from chirrup.live.receiver import Found, Receiver
from chirrup.live.rtp import HEADER_BYTES, SEAL_BYTES
from chirrup.live.sender import Sender

if TYPE_CHECKING:
    from chirrup.live.seal import Opener, Sealer

CONTROL_BYTES: Final = 300
"""Bytes of a control datagram with all headers, until one has been sent. They may be fewer."""
CONTROL_SHARE: Final = 0.25
"""Share of a limit that they may have in the first second, if the rest adapts."""


class Call:
    """A connection. It is a context manager, which closes the link and completes the output.

    After an error, the output and the recordings keep the audio until then.

    Args:
        link: the link.
        sealer: encrypts the datagrams; None leaves them in clear.
        opener: opens the datagrams of the other end; None expects them in clear.
        once: end when the streams have ended.
    """

    def __init__(
        self,
        link: Link,
        sealer: "Sealer | None",
        opener: "Opener | None",
        *,
        once: bool = False,
    ) -> None:
        self.link, self.once = link, once
        self.endpoint = Endpoint(secrets.randbits(32), sealer=sealer, opener=opener)
        self.source: Source | None = None
        self.output: Output | None = None
        self._recorder: Recorder | None = None
        self._pace: float | None = 1.0
        self._control_bps = math.inf
        self._stack = ExitStack()
        self._stack.callback(link.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            if self.source is not None:
                self.source.close()
            for output in (self._recorder, self.output):
                if output is not None:
                    self._stack.callback(output.close)

    def send(
        self,
        file: str | Path | Readable | Microphone,
        codec: Codec,
        bitrate_bps: float | None,
        redundancy: int,
        *,
        raw: str | None = None,
        adapt: bool = False,
        limit_bps: float | None = None,
        vad: bool = False,
    ) -> Audio:
        """Send a file in real time, or a pipe or a microphone as it comes.

        Args:
            file: path, pipe or microphone.
            codec: the model.
            bitrate_bps: highest bitrate of the codes.
            redundancy: codebooks of the previous packet that each packet repeats.
            raw: format of samples without a header.
            adapt: choose bitrate and redundancy from the reports of the receiver.
            limit_bps: highest rate with all headers.
            vad: leave out pauses.

        Returns:
            The source, whose notes describe its faults.

        Raises:
            FileError: the file cannot be read.
            UsageError: the bitrate or the redundancy is not one of the model, or the limit is too
                low.
        """
        microphone = isinstance(file, Microphone)
        if microphone:
            raw = f"f32@{self._stack.enter_context(file).rate_hz}x1"
        live = not isinstance(file, (str, Path))
        if isinstance(file, (str, Path)) and not names_file(Path(file)):
            opened = self._stack.enter_context(open_source(file))
            file, live = getattr(opened, "raw", opened), True  # a buffer would wait for its reader
        audio = self._stack.enter_context(open_audio(file, raw))
        try:
            choice = Choice(codec.codebooks_within(bitrate_bps), redundancy)
            policy = self._policy(codec, choice, adapt, limit_bps)
            if policy is not None:
                choice, self._control_bps = policy.choice, policy.costs.control_bps
                if adapt:
                    self._control_bps = max(self._control_bps, CONTROL_SHARE * policy.limit_bps)
            self.endpoint.sender = Sender(
                codec,
                codec.bitrates_bps[choice.codebooks - 1],
                choice.redundancy,
                audio.sample_rate_hz,
                self.endpoint.source,
                None if policy is None else policy.costs.frames,
                policy if adapt else None,
                Pauses(audio.sample_rate_hz, codec.sample_rate_hz) if vad else None,
                self.link.shared,
            )
        except ValueError as error:
            raise UsageError(str(error)) from error
        joint = codec.channels > 1 and audio.channels == codec.channels
        blocks = (block if joint else block.mean(axis=0) for block in audio.blocks)
        self._pace = None if microphone else FASTER if live else 1.0
        self.source = Source(blocks, audio.sample_rate_hz, self.link.wake, live=live)
        return audio

    def _policy(
        self, codec: Codec, given: Choice, adapt: bool, limit_bps: float | None
    ) -> Adaptation | None:
        """Return the policy; without a limit, the rate of the given bitrate and redundancy."""
        if not adapt and limit_bps is None:
            return None
        sealer = self.endpoint.sealer
        header_bytes = self.link.header_bytes + HEADER_BYTES + SEAL_BYTES * (sealer is not None)
        frames = codec.packet_frames
        if limit_bps is not None:
            frames = frames_for(codec.spec, header_bytes, limit_bps)
        costs = Costs(codec.spec, frames, header_bytes, 8 * CONTROL_BYTES / CONTROL_S)
        if limit_bps is None:
            limit_bps = costs.rate_bps(given)
        return Adaptation(costs, limit_bps, given.codebooks, None if adapt else given.redundancy)

    def receive(self, output: Output, find_codec: Callable[[Description], Found]) -> None:
        """Receive streams.

        Args:
            output: output of the audio.
            find_codec: finds the model of a description, as `Receiver` asks for it.
        """
        self.endpoint.receiver, self.output = Receiver(find_codec), output
        output.wake = self.link.wake

    def record(self, folder: Path, *, force: bool) -> None:
        """Record both ends in a folder; `Recorder` describes the files."""
        self._recorder = Recorder(folder, force=force)

    def meters(self) -> Meters:
        """Return meters from now on."""
        return Meters(self.endpoint, self.link, self.output)

    def run(
        self,
        stop: threading.Event,
        each_second: Callable[[], None],
        talks: Callable[[], bool] = lambda: True,
    ) -> None:
        """Send and receive until ``stop`` is set, or the streams have ended.

        Args:
            stop: ends the connection.
            each_second: called once a second.
            talks: returns whether the samples of the source are to be sent.
        """
        Loop(
            self.endpoint,
            self.link,
            self.source,
            self.output,
            self._pace,
            self._control_bps,
            self.once,
            stop,
            each_second,
            talks,
            self._recorder,
        ).run()
