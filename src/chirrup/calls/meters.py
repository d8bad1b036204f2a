"""The meters of a connection: values for JSON, and a line for a terminal."""

import time
from collections.abc import Callable
from typing import Any

from chirrup.calls.outputs import Output
from chirrup.live.endpoint import Endpoint, Traffic
from chirrup.live.link import Link
from chirrup.live.receiver import Receiver
from chirrup.live.sender import Sender


class Meters:
    """The meters from now on. docs/how-to/talk.md describes the values.

    Args:
        endpoint: the end of the connection.
        link: its link.
        output: output of the received audio.

    Attributes:
        talks: returns whether the key of push-to-talk is pressed; None without push-to-talk.
    """

    def __init__(self, endpoint: Endpoint, link: Link, output: Output | None) -> None:
        self.talks: Callable[[], bool] | None = None
        self._endpoint, self._link, self._output = endpoint, link, output
        self._start_s, self._start_cpu_s = time.monotonic(), time.process_time()

    def values(self) -> dict[str, Any]:
        """Return the values of one direction, or of both in two dictionaries."""
        endpoint, seconds = self._endpoint, max(1e-9, time.monotonic() - self._start_s)
        cpu = 100 * (time.process_time() - self._start_cpu_s) / seconds
        common = {"seconds": round(seconds, 3), "cpu_percent": round(cpu, 1)}
        ignored = {"ignored": endpoint.ignored + self._link.strangers}
        if endpoint.sender is None:
            assert endpoint.receiver is not None
            return common | self._received(endpoint.receiver, seconds) | ignored
        sent = self._sent(endpoint.sender, seconds)
        if endpoint.receiver is None:
            return common | sent | ignored
        return (
            common
            | ignored
            | {
                "sent": sent,
                "received": self._received(endpoint.receiver, seconds),
            }
        )

    def _sent(self, sender: Sender, seconds: float) -> dict[str, Any]:
        return {
            **vars(sender.statistics),
            "codes_bps": sender.description.bitrate,
            "redundancy": sender.description.redundancy,
            **self._rates(self._endpoint.sent, sender.statistics.payload_bytes, seconds),
            "unreachable": self._link.refused,
        }

    def _received(self, receiver: Receiver, seconds: float) -> dict[str, Any]:
        count, playout, codec = receiver.statistics, receiver.playout, receiver.codec
        values: dict[str, Any] = {**vars(count), "ended": receiver.ended}
        if self._output is not None:
            written = self._output.written
            values |= {"written_s": written.seconds, "dropped": self._output.dropped}
        if playout is not None and codec is not None:
            played = playout.statistics
            latency_ms = 1000 * codec.latency_samples / codec.sample_rate_hz
            values |= vars(played)
            values["loss_percent"] = 100 * played.lost / max(1, played.lost + played.received)
            values["delay_ms"] = played.depth_ms + latency_ms
        return values | self._rates(self._endpoint.received, count.payload_bytes, seconds)

    def _rates(self, traffic: Traffic, payload_bytes: int, seconds: float) -> dict[str, int]:
        total = traffic.datagram_bytes + traffic.datagrams * self._link.header_bytes
        return {
            **vars(traffic),
            "payload_bps": round(8 * payload_bytes / seconds),
            "total_bps": round(8 * total / seconds),
        }

    def _directions(self, now: dict[str, Any]) -> tuple[dict[str, Any] | None, ...]:
        """Return the values of the sender and the receiver, or None."""
        if self._endpoint.sender is None:
            return None, now
        if self._endpoint.receiver is None:
            return now, None
        return now["sent"], now["received"]

    @property
    def ignored(self) -> int:
        """Datagrams that were not played, for whatever reason."""
        receiver, ignored = self._endpoint.receiver, self._endpoint.ignored + self._link.strangers
        if receiver is None:
            return ignored
        count = receiver.statistics
        return ignored + count.undescribed + count.busy + count.other_model

    def short(self) -> str:
        """Return a few values for one line of a terminal."""
        now = self.values()
        sent, received = self._directions(now)
        parts = [f"{now['seconds']:.0f} s, CPU {now['cpu_percent']:.0f} %"]
        if self.talks is not None:
            parts.append("ON" if self.talks() else "off")
        if received is not None and "delay_ms" in received:
            delay_ms, loss = received["delay_ms"], received["loss_percent"]
            parts.append(f"in delay {delay_ms:.0f} ms, loss {loss:.0f} %")
        elif received is not None:
            parts.append(f"no stream yet, {self.ignored} ignored")
        if sent is not None:
            parts.append(f"out {sent['total_bps'] / 1000:.1f} kbit/s, {_reported(sent, 'loss')}")
        return " | ".join(parts)

    def line(self) -> str:
        """Return the most important values in words."""
        now = self.values()
        sent, received = self._directions(now)
        parts = [f"{now['seconds']:.0f} s"]
        if sent is not None:
            parts.append(
                f"sent {sent['payload_bps'] / 1000:.1f} kbit/s of packets, "
                f"{sent['total_bps'] / 1000:.1f} with all headers; "
                + _reported(sent, "at the receiver: loss", "jitter", "round trip")
            )
        if received is not None and "delay_ms" not in received:
            parts.append(f"no stream at {self._link.name} yet, {self.ignored} datagrams ignored")
        elif received is not None:
            parts.append(
                f"received with loss {received['loss_percent']:.1f} %, jitter "
                f"{received['jitter_ms']:.0f} ms, delay {received['delay_ms']:.0f} ms (buffer "
                f"{received['depth_ms']:.0f} ms), {received['late']} late, "
                f"{received['recovered']} recovered, {received['concealed']} concealed, "
                f"{self.ignored} datagrams ignored"
            )
        return "; ".join(parts)


def _reported(sent: dict[str, Any], loss: str, *times: str) -> str:
    """Return the loss, and times, of the last report in words."""
    if sent["loss_percent"] is None:
        return "no report from a receiver"
    known = {time: sent[f"{time.replace(' ', '_')}_ms"] for time in times}
    parts = [f"{time} {value:.0f} ms" for time, value in known.items() if value is not None]
    return ", ".join([f"{loss} {sent['loss_percent']:.0f} %", *parts])
