"""``chirrup send`` and ``chirrup receive``: a live voice over UDP."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chirrup.cli import console
from chirrup.errors import FileError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from chirrup.codec import Codec
    from chirrup.live.description import Description

PASSPHRASE = "CHIRRUP_PASSPHRASE"

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        help="File with the key of the encryption, 32 bytes or more; or set the environment "
        f"variable {PASSPHRASE} to a passphrase.",
    ),
]
Simulate = Annotated[
    str | None,
    typer.Option(metavar="CONDITIONS", help="Simulate a network, such as loss:10%+jitter:40ms."),
]
Seed = Annotated[int, typer.Option(help="Seed of the simulated network.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print meters as a line of JSON a second, and at the end.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no meters and no summary.")]


def send(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Audio file, or - for a pipe.")],
    to: Annotated[str, typer.Argument(metavar="HOST:PORT", help="The receiver.")],
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "iris-t1",
    bitrate: Annotated[
        str | None, typer.Option("--bitrate", "-b", help="Highest bitrate of the codes: 6000 or 6k")
    ] = None,
    redundancy: Annotated[
        int, typer.Option(min=0, max=16, help="Codebooks of a packet that the next one repeats.")
    ] = 1,
    raw: Annotated[
        str | None,
        typer.Option(metavar="TYPE@RATExCHANNELS", help="Format of SOURCE without a header."),
    ] = None,
    key_file: KeyFile = None,
    simulate: Simulate = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Send a voice to chirrup receive, in real time.

    Ctrl-C ends the stream. A receiver that is started later begins in its middle.
    """
    from chirrup.files.inputs import open_audio
    from chirrup.live.calls import transmit
    from chirrup.live.link import Link, parse_address
    from chirrup.live.network import Network
    from chirrup.live.sender import Sender
    from chirrup.zoo import load

    host, port = parse_address(to, host_needed=True)
    network = None if simulate is None else Network(simulate, seed)
    sealer, opener = _seals(key_file, own="voice", other="report")
    codec = load(model)
    try:
        bitrate_bps = None if bitrate is None else console.parse_bitrate(bitrate)
        codes_bps = codec.bitrates_bps[codec.codebooks_within(bitrate_bps) - 1]
    except ValueError as error:
        raise UsageError(str(error)) from error
    with ExitStack() as stack:
        pipe = source == "-"
        file = stack.enter_context(console.live_input()) if pipe else source
        audio = stack.enter_context(open_audio(file, raw))
        link = Link(host, port, listen=False, network=network)
        stack.callback(link.close)
        try:
            sender = Sender(codec, codes_bps, redundancy, audio.sample_rate_hz, sealer, opener)
        except ValueError as error:
            raise UsageError(str(error)) from error
        start_s, cpu_s = time.monotonic(), time.process_time()

        def meters() -> dict[str, Any]:
            count, seconds = sender.statistics, max(1e-9, time.monotonic() - start_s)
            total = count.datagram_bytes + count.datagrams * link.header_bytes
            return {
                "seconds": round(seconds, 3),
                **vars(count),
                "codes_bps": codes_bps,
                "payload_bps": round(8 * count.payload_bytes / seconds),
                "total_bps": round(8 * total / seconds),
                "unreachable": link.refused,
                "cpu_percent": round(100 * (time.process_time() - cpu_s) / seconds, 1),
            }

        def line() -> str:
            now = meters()
            return (
                f"{now['seconds']:.0f} s, {now['payload_bps'] / 1000:.1f} kbit/s of packets, "
                f"{now['total_bps'] / 1000:.1f} with all headers; at the receiver: loss "
                f"{now['loss_percent']:.0f} %, jitter {now['jitter_ms']:.0f} ms, "
                f"round trip {now['round_trip_ms']:.0f} ms"
            )

        meter = _Meter(meters, line, as_json, quiet)
        joint = codec.channels > 1 and audio.channels == codec.channels
        blocks = (block if joint else block.mean(axis=0) for block in audio.blocks)
        with _stopping() as stop:
            transmit(
                sender,
                link,
                blocks,
                audio.sample_rate_hz,
                live=pipe,
                stop=stop,
                each_second=meter.second,
            )
        console.warn(audio.notes, source)
        meter.end("sent")


def receive(
    at: Annotated[
        str, typer.Argument(metavar="[HOST:]PORT", help="Port, and own address, to receive at.")
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Audio file, or - for a pipe.")],
    model: Annotated[
        str | None,
        typer.Option(help="Name or folder of the model; by default the one that the sender names."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End with the first stream.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Write s16 samples without a header.")] = False,
    key_file: KeyFile = None,
    simulate: Simulate = None,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite OUT.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Receive a voice of chirrup send, and write it in real time.

    OUT begins with the first stream. Ctrl-C ends it. A sender may be restarted.
    """
    from chirrup.files.coding import Decoded, written_as
    from chirrup.files.outputs import Sink, audio_format, check_target, open_sink
    from chirrup.live.calls import listen
    from chirrup.live.link import Link, parse_address
    from chirrup.live.network import Network
    from chirrup.live.receiver import Receiver, is_of
    from chirrup.zoo import load, models

    host, port = parse_address(at, host_needed=False)
    network = None if simulate is None else Network(simulate, seed)
    pipe = out == "-"
    if pipe and as_json:
        raise UsageError("--json and OUT - both need standard output: give a file")
    target = console.pipe_out() if pipe else out
    check_target(target, force)
    if not pipe and not raw:
        audio_format(Path(out), False)
    sealer, opener = _seals(key_file, own="report", other="voice")
    given = None if model is None else load(model)

    def find_codec(description: "Description") -> "Codec | None":
        codec = given
        if codec is None and description.model in models():
            codec = load(description.model)
        if codec is not None and is_of(description, codec):
            return codec
        console.note(
            f"warning: a stream of the model {description.model} with the weights "
            f"{description.weights[:8]} is ignored: install the model, or give its folder (--model)"
        )
        return None

    receiver = Receiver(find_codec, opener, sealer)
    link = Link(host, port, listen=True, network=network)
    sinks: list[Sink] = []
    start_s, cpu_s = time.monotonic(), time.process_time()
    with ExitStack() as stack:
        stack.callback(link.close)
        result = Decoded(1, 1)

        def write(audio: "np.ndarray") -> None:
            codec = receiver.codec
            assert codec is not None
            if not sinks:
                result.sample_rate_hz, result.channels = codec.sample_rate_hz, codec.channels
                opening = open_sink(
                    target, codec.sample_rate_hz, codec.channels, None, raw=raw, force=force
                )
                sinks.append(stack.enter_context(opening))
            block = audio.reshape(-1, audio.shape[-1])
            sinks[0].write(written_as(block, False, result))
            result.samples += block.shape[1]

        def meters() -> dict[str, Any]:
            count, seconds = receiver.statistics, max(1e-9, time.monotonic() - start_s)
            total = count.datagram_bytes + count.datagrams * link.header_bytes
            playout, codec = receiver.playout, receiver.codec
            values = {"seconds": round(seconds, 3), "written_s": result.seconds, **vars(count)}
            values["ended"] = receiver.ended
            if playout is not None and codec is not None:
                played = playout.statistics
                latency_ms = 1000 * codec.latency_samples / codec.sample_rate_hz
                values |= vars(played)
                values["loss_percent"] = 100 * played.lost / max(1, played.lost + played.received)
                values["delay_ms"] = played.depth_ms + latency_ms
            return values | {
                "payload_bps": round(8 * count.payload_bytes / seconds),
                "total_bps": round(8 * total / seconds),
                "cpu_percent": round(100 * (time.process_time() - cpu_s) / seconds, 1),
            }

        def line() -> str:
            now = meters()
            if "delay_ms" not in now:
                return f"no stream at {link.name} yet, {now['ignored']} datagrams ignored"
            return (
                f"{now['written_s']:.0f} s, loss {now['loss_percent']:.1f} %, jitter "
                f"{now['jitter_ms']:.0f} ms, delay {now['delay_ms']:.0f} ms (buffer "
                f"{now['depth_ms']:.0f} ms), {now['recovered']} recovered, {now['concealed']} "
                f"concealed, {now['ignored']} datagrams ignored"
            )

        meter = _Meter(meters, line, as_json, quiet)
        with _stopping() as stop:
            listen(receiver, link, write, once=once, stop=stop, each_second=meter.second)
        meter.end("received")
    if not sinks:
        raise FileError(
            f"no stream arrived at {link.name}, {receiver.statistics.ignored} datagrams were "
            f"ignored: nothing was written; check the address, the key and the model"
        )


class _Meter:
    """Meters that are printed once a second and at the end."""

    def __init__(self, values: Any, line: Any, as_json: bool, quiet: bool) -> None:
        self.values, self.line, self.as_json, self.quiet = values, line, as_json, quiet
        self.terminal = sys.stderr is not None and sys.stderr.isatty()

    def second(self) -> None:
        if self.as_json:
            print(json.dumps(self.values()), flush=True)
        elif self.terminal and not self.quiet:
            print(f"\r\x1b[K{self.line()}", end="", file=sys.stderr, flush=True)

    def end(self, what: str) -> None:
        if self.as_json:
            print(json.dumps({**self.values(), "final": True}), flush=True)
        if not self.quiet:
            if self.terminal and not self.as_json:
                print("\r\x1b[K", end="", file=sys.stderr)
            console.note(f"{what} {self.line()}")


@contextmanager
def _stopping() -> Generator[threading.Event, None, None]:
    """Yield an event that Ctrl-C and SIGTERM set, so that what was received is kept."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _seals(key_file: Path | None, *, own: str, other: str) -> tuple[Any, Any]:
    """Return a sealer and an opener, or None without a key."""
    passphrase = os.environ.get(PASSPHRASE)
    if key_file is not None and passphrase is not None:
        raise UsageError(f"--key-file and {PASSPHRASE} exclude each other: use one")
    if key_file is None and passphrase is None:
        console.note(
            "the voice is NOT encrypted: give a key with --key-file, or a passphrase in "
            f"{PASSPHRASE}"
        )
        return None, None
    from chirrup.live import seal

    if key_file is not None:
        key = seal.read_key(key_file)
    else:
        key = seal.key_of_passphrase(passphrase or "")
    return seal.Sealer(key, own), seal.Opener(key, other)


COMMANDS = (send, receive)
