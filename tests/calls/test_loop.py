"""The loop of a connection, with a socket as the other end."""

import socket
import threading
import time
from pathlib import Path

import numpy as np
import soundfile

import chirrup
from chirrup.calls.call import Call
from chirrup.calls.outputs import Output
from chirrup.live.endpoint import Endpoint
from chirrup.live.link import UdpLink
from chirrup.live.rtp import Control, parse
from chirrup.live.sender import Sender


def test_the_description_precedes_the_voice(tmp_path: Path) -> None:
    """Otherwise the caller cannot decode the beginning of the answer."""
    codec, talk = chirrup.load("iris-t1"), tmp_path / "talk.wav"
    soundfile.write(talk, np.zeros(codec.input_rate_hz), codec.input_rate_hz)
    caller, stop = Endpoint(7, Sender(codec, 6000, 0, codec.input_rate_hz, 7)), threading.Event()
    link = UdpLink("127.0.0.1", 0, listen=True)
    with (
        Call(link, None, None) as call,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        call.send(talk, codec, 6000, 0)
        call.receive(Output(tmp_path / "out.wav", raw=False, force=False), lambda _: codec)
        thread = threading.Thread(target=call.run, args=(stop, lambda: None))
        thread.start()
        try:
            time.sleep(0.3)  # the clock of the source must not have run meanwhile
            other.settimeout(10)
            other.sendto(caller.control(0.0) or b"", link.socket.getsockname())
            assert isinstance(parse(other.recv(2000)), Control)
        finally:
            stop.set()
            link.wake()
            thread.join()
