"""The codecs that a codec is compared with, behind one small interface.

>>> peer = find("opus")
>>> peer.missing()  # None, or what to install
>>> coded = peer.code(audio, 48_000, bitrate_bps=6000)
>>> kbps = coded.bits / seconds / 1000

`PEERS` has the codecs, `find` also knows the models of this package and codecs of your own. To add
one, write what it is and what it does to a signal at its rate: twenty lines, shown in
docs/evaluate.md. ``find("mulaw:MuLaw")`` takes in a class of a file ``mulaw.py`` in the current
folder, and so does every command that takes the names of codecs; in Python, ``register(MuLaw())``
puts it into `PEERS`. A codec that is two commands has even less to write: see `CommandPeer` and
``speex.py``.
"""

import importlib
import re
import sys
from pathlib import Path

from chirrup.evaluate.peers.amr_wb import AmrWb
from chirrup.evaluate.peers.codec2 import Codec2
from chirrup.evaluate.peers.commands import CommandPeer
from chirrup.evaluate.peers.lc3 import LC3_PEERS
from chirrup.evaluate.peers.lyra import Lyra2
from chirrup.evaluate.peers.model import Model
from chirrup.evaluate.peers.mp3 import Mp3
from chirrup.evaluate.peers.opus import Opus, OpusCbr
from chirrup.evaluate.peers.pcm import Pcm
from chirrup.evaluate.peers.peer import Coded, Peer, PeerError, timed
from chirrup.evaluate.peers.speex import Speex, SpeexWideband
from chirrup.evaluate.peers.vorbis import Vorbis
from chirrup.zoo import models

__all__ = [
    "PEERS",
    "Coded",
    "CommandPeer",
    "Lyra2",
    "Model",
    "Peer",
    "PeerError",
    "find",
    "register",
    "timed",
]

PEERS: dict[str, Peer] = {}
"""Every codec that is known, by name, whether it is installed or not. Models are not among them."""


def register(peer: Peer) -> None:
    """Add a codec to `PEERS`; one of the same name and class takes the place of the earlier.

    Raises:
        ValueError: another codec has that name, or it is no name for tables and files.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", peer.name):
        raise ValueError(f"{peer.name!r} is no name: use lower-case letters, digits and . _ -")
    if peer.name in PEERS and type(PEERS[peer.name]) is not type(peer):
        raise ValueError(f"there is already a codec of the name {peer.name}")
    PEERS[peer.name] = peer


def find(name: str) -> Peer:
    """A codec by what a user calls it.

    Args:
        name: a key of `PEERS`; a model of this package or a folder of one; or ``module:name`` of a
            codec's class or instance, which is registered. The module may be in the current folder.

    Raises:
        ValueError: no such codec.
    """
    if name in PEERS:
        return PEERS[name]
    if name in models() or (Path(name) / "model.json").is_file():
        return Model(name)
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(
            f"no codec {name!r}: it is none of {', '.join([*PEERS, *models()])}, no folder of a "
            "model, and not the module:name of a codec of your own"
        )
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"no codec {name!r}: {error}") from error
    peer = found() if isinstance(found, type) else found
    if not isinstance(peer, Peer):
        raise ValueError(f"{name!r} is not a codec: derive it from chirrup.evaluate.peers.Peer")
    register(peer)
    return peer


for _peer in (Codec2(), Speex(), SpeexWideband(), Lyra2(), AmrWb(), Opus(), OpusCbr()):
    register(_peer)
for _peer in (*LC3_PEERS, Vorbis(), Mp3(), Pcm()):
    register(_peer)
