"""``chirrup send``, ``chirrup receive`` and ``chirrup talk``: a live voice over UDP or a relay."""

from pathlib import Path
from typing import Annotated

import typer

from chirrup.cli import connections, console, options
from chirrup.errors import UsageError
from chirrup.live.rooms import TOKEN, is_room

Bitrate = Annotated[
    str | None,
    options.bitrate("Highest bitrate of the codes: 6000 or 6k"),
]
Redundancy = Annotated[
    int,
    typer.Option(
        min=0, max=16, metavar="N", help="Codebooks of a packet that the next one repeats."
    ),
]
Adapt = Annotated[
    bool,
    typer.Option("--adapt", help="Choose bitrate and redundancy from the receiver's reports."),
]
MaxRate = Annotated[
    str | None,
    typer.Option(
        metavar="BPS",
        help="Highest rate with all headers: 16000 or 16k; by default no limit, with --adapt the "
        "rate of --bitrate.",
    ),
]
Vad = Annotated[
    bool, typer.Option("--vad", help="Leave out pauses; the receiver plays noise in them.")
]
RawSource = Annotated[
    str | None,
    typer.Option("--raw", metavar="TYPE@RATExCHANNELS", help="Format of SOURCE without a header."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        help="File with the key of the encryption, 32 bytes or more; or set the environment "
        f"variable {connections.PASSPHRASE} to a passphrase. By default the voice is not "
        "encrypted.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help=f"File with the token of the relay; or set the environment variable {TOKEN}.",
    ),
]
Simulate = Annotated[
    str | None,
    typer.Option(metavar="CONDITIONS", help="Simulate a network, such as loss:10%+jitter:40ms."),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of the simulated network.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite files that exist.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print meters as a line of JSON a second, and at the end.")
]
Announce = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Announce this end in the local network as name:NAME."),
]
PORT = "5004"
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no meters and no summary.")]


def send(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Audio file, - for a pipe, or mic.")
    ],
    to: Annotated[
        str,
        typer.Argument(metavar="HOST:PORT|name:NAME|ws://HOST/relay/ROOM", help="The receiver."),
    ],
    model: options.Model = "iris-t1",
    bitrate: Bitrate = None,
    redundancy: Redundancy = 0,
    adapt: Adapt = False,
    max_rate: MaxRate = None,
    vad: Vad = False,
    raw: RawSource = None,
    device: options.Device = None,
    key_file: KeyFile = None,
    token_file: TokenFile = None,
    sdp: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the SDP description of the stream.")
    ] = None,
    simulate: Simulate = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Send a voice to chirrup receive, in real time.

    Ctrl-C ends the stream. A receiver that is started later begins in its middle.
    """
    from chirrup.calls.call import Call
    from chirrup.zoo import load

    seals, codec = connections.seals(to, key_file, calls=True), load(model)
    codec.check_encodes()
    link = connections.link(to, calls=True, token_file=token_file, simulate=simulate, seed=seed)
    with Call(link, *seals) as call:
        audio = call.send(
            connections.source(source, device, codec.input_rate_hz, raw=raw),
            codec,
            console.optional_bitrate(bitrate),
            redundancy,
            raw=raw,
            adapt=adapt,
            limit_bps=console.optional_bitrate(max_rate),
            vad=vad,
        )
        if sdp is not None:
            connections.write_sdp(call, sdp)
        connections.run(call, as_json, quiet)
    console.warn(audio.notes, source)


def receive(
    at: Annotated[
        str,
        typer.Argument(
            metavar="[HOST:]PORT|ws://HOST/relay/ROOM",
            help="Port, and own address, to receive at; or a room.",
        ),
    ],
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="Audio file, - for a pipe, or speaker.")
    ],
    model: Annotated[
        str | None,
        options.model("Name or folder of the model; by default the one that the sender names."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End with the first stream.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Write s16 samples without a header.")] = False,
    device: options.Device = None,
    announce: Announce = None,
    key_file: KeyFile = None,
    token_file: TokenFile = None,
    simulate: Simulate = None,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Receive a voice of chirrup send, and write it in real time.

    OUT begins with the first stream. Ctrl-C ends it. A sender may be restarted.
    """
    from chirrup.calls.call import Call
    from chirrup.calls.models import Models
    from chirrup.zoo import load

    output = connections.output(out, device, raw=raw, force=force, as_json=as_json)
    seals = connections.seals(at, key_file, calls=False)
    models = Models(None if model is None else load(model), console.note)
    link = connections.link(
        at, calls=False, token_file=token_file, simulate=simulate, seed=seed, incoming=True
    )
    with Call(link, *seals, once=once) as call:
        call.receive(output, models.find)
        with connections.announced(announce, link):
            connections.run(call, as_json, quiet)
    connections.check_received(call, out, quiet)


def talk(
    to: Annotated[
        str | None,
        typer.Argument(
            metavar="HOST:PORT|name:NAME|ws://HOST/relay/ROOM",
            help="The other end, or a room. Without it, wait for a call.",
        ),
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT", help=f"Port at which to wait for a call; by default {PORT}."
        ),
    ] = None,
    source: Annotated[
        str, typer.Option("--in", metavar="SOURCE", help="Audio file, - for a pipe, or mic.")
    ] = connections.MICROPHONE,
    out: Annotated[
        str, typer.Option("--out", metavar="OUT", help="Audio file, - for a pipe, or speaker.")
    ] = connections.SPEAKER,
    model: options.Model = "iris-t1",
    bitrate: Bitrate = None,
    redundancy: Redundancy = 0,
    adapt: Adapt = False,
    max_rate: MaxRate = None,
    vad: Vad = False,
    push_to_talk: Annotated[
        str | None,
        typer.Option(
            metavar="hold|toggle",
            help="Send only while the space bar is pressed, or from one press to the next; by "
            "default always.",
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Record both ends as sent.wav and received.wav."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="End when SOURCE and the other voice have ended.")
    ] = False,
    raw: RawSource = None,
    device_in: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            help="Number of a microphone, or a part of its name; by default the system's.",
        ),
    ] = None,
    device_out: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            help="Number of a speaker, or a part of its name; by default the system's.",
        ),
    ] = None,
    announce: Announce = None,
    key_file: KeyFile = None,
    token_file: TokenFile = None,
    simulate: Simulate = None,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Talk with another machine, in both directions.

    One end waits for a call, the other one calls it. Ctrl-C ends the talk.
    """
    from chirrup.calls.call import Call
    from chirrup.calls.models import Models
    from chirrup.zoo import load

    if to is not None and (port is not None or announce is not None):
        raise UsageError("--port and --announce are for the end that waits: leave out HOST:PORT")
    if port is not None and is_room(port):
        raise UsageError(f"--port {port} is a room: give it without --port")
    output = connections.output(
        out, device_out, force=force, as_json=as_json, device_option="--device-out"
    )
    seals = connections.seals(to or "", key_file, calls=to is not None)
    codec = load(model)
    codec.check_encodes()
    link = connections.link(
        to or port or PORT,
        calls=to is not None,
        token_file=token_file,
        simulate=simulate,
        seed=seed,
    )
    with Call(link, *seals, once=once) as call:
        audio = call.send(
            connections.source(
                source, device_in, codec.input_rate_hz, raw=raw, device_option="--device-in"
            ),
            codec,
            console.optional_bitrate(bitrate),
            redundancy,
            raw=raw,
            adapt=adapt,
            limit_bps=console.optional_bitrate(max_rate),
            vad=vad,
        )
        call.receive(output, Models(None, console.note, codec).find)
        if record is not None:
            call.record(record, force=force)
        with connections.announced(announce, link):
            connections.run(call, as_json, quiet, push_to_talk)
    console.warn(audio.notes, source)
    connections.check_received(call, out, quiet)


COMMANDS = (send, receive, talk)
