"""One end of a live connection: a sender, a receiver or both, whose datagrams have one source.

It has no socket and reads no clock. `chirrup.calls` connects it to a socket, files and devices.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from chirrup.errors import FormatError
from chirrup.live import rtp
from chirrup.live.link import Address
from chirrup.live.receiver import Receiver
from chirrup.live.sender import Sender

if TYPE_CHECKING:
    from chirrup.live.seal import Opener, Sealer


@dataclass
class Traffic:
    """Datagrams in one direction, and their bytes without UDP and IP."""

    datagrams: int = 0
    datagram_bytes: int = 0

    def count(self, datagram: bytes) -> bytes:
        """Count a datagram and return it."""
        self.datagrams += 1
        self.datagram_bytes += len(datagram)
        return datagram


@dataclass
class Endpoint:
    """One end. It belongs to one thread at a time.

    Args:
        source: SSRC of the datagrams. The sender has the same one.
        sender: sender of a stream.
        receiver: receiver of streams.
        sealer: encrypts the datagrams; None leaves them in clear.
        opener: opens the datagrams of the other end; None expects them in clear.

    Attributes:
        sent: datagrams that were made.
        received: datagrams that arrived.
        ignored: datagrams that were malformed, sealed otherwise, replayed, or of this end.
        sealed: the sealed control datagrams among them, if this end has no key.
        clear: the descriptions in clear among them, if this end has a key.
    """

    source: int
    sender: Sender | None = None
    receiver: Receiver | None = None
    sealer: "Sealer | None" = None
    opener: "Opener | None" = None
    sent: Traffic = field(default_factory=Traffic)
    received: Traffic = field(default_factory=Traffic)
    ignored: int = 0
    sealed: int = 0
    clear: int = 0

    def receive(self, datagram: bytes, address: Address, now_s: float) -> None:
        """Take a datagram. One that does not belong to the connection is counted and ignored."""
        self.received.count(datagram)
        try:
            packet = rtp.parse(datagram) if self.opener is None else self.opener.open(datagram)
            if packet.source == self.source:  # sent back: in a room, its key would be accepted
                self.ignored += 1
            elif isinstance(packet, rtp.Control):
                self._control(packet, address, now_s)
            elif packet.kind == rtp.VOICE_TYPE and self.receiver is not None:
                self.receiver.voice(packet, address, now_s)
            else:
                self.ignored += 1
        except FormatError:
            self.ignored += 1
            if self.opener is not None and _has(datagram, rtp.DESCRIPTION):
                self.clear += 1

    def _control(self, packet: rtp.Control, address: Address, now_s: float) -> None:
        if self.opener is None and _holds(packet, rtp.SEALED):
            self.ignored += 1
            self.sealed += 1
            return
        reports = [message for message in packet.messages if isinstance(message, rtp.Report)]
        if self.receiver is not None:
            ours = any(report.source == self.source for report in reports)
            self.receiver.control(packet.source, packet.messages, address, now_s, ours)
        if self.sender is not None:
            for report in reports:
                self.sender.receive(report, now_s)

    def push(self, samples: np.ndarray, talks: bool = True) -> list[bytes]:
        """Return the datagrams of the next samples; `Sender.push` describes the arguments."""
        if self.sender is None:
            return []
        datagrams = self._packed(self.sender.push(samples, talks))
        if (noise := self.sender.noise()) is not None:
            datagrams.append(self._sealed([rtp.Application(rtp.COMFORT_NOISE, noise)]))
        return datagrams

    def flush(self) -> list[bytes]:
        """Return the last datagrams of voice."""
        return [] if self.sender is None else self._packed(self.sender.flush())

    def _packed(self, packets: list[rtp.Voice]) -> list[bytes]:
        sealer = self.sealer
        return [
            self.sent.count(packet.pack() if sealer is None else sealer.voice(packet))
            for packet in packets
        ]

    def control(self, now_s: float, *, sending: bool = True, end: bool = False) -> bytes | None:
        """Return the datagram of reports to be sent once a second, or None if there is nothing.

        Args:
            now_s: the time.
            sending: whether the sender's stream goes on.
            end: whether it ends now. The receiver may go on.
        """
        messages: list[rtp.Message] = []
        if self.sender is not None and sending:
            messages += self.sender.control(now_s)
        if self.receiver is not None and (report := self.receiver.report(now_s)) is not None:
            messages.append(report)
        messages += [rtp.Bye()] * end
        return self._sealed(messages) if messages else None

    def leave(self) -> bytes:
        """Return the datagram that ends the connection."""
        return self._sealed([rtp.Bye()])

    def _sealed(self, messages: list[rtp.Message]) -> bytes:
        packet = rtp.Control(self.source, tuple(messages))
        return self.sent.count(
            packet.pack() if self.sealer is None else self.sealer.control(packet)
        )


def _holds(packet: rtp.Control, kind: int) -> bool:
    """Return whether a control datagram holds an application packet of a kind."""
    return any(isinstance(m, rtp.Application) and m.kind == kind for m in packet.messages)


def _has(datagram: bytes, kind: int) -> bool:
    """Return whether a datagram is RTCP in clear with an application packet of a kind."""
    try:
        packet = rtp.parse(datagram) if rtp.is_control(datagram) else None
    except FormatError:
        return False
    return isinstance(packet, rtp.Control) and _holds(packet, kind)
