"""The codecs of a comparison, with one small interface.

>>> peer = find("opus")
>>> peer.missing()  # None, or what to install
>>> coded = peer.code(audio, 48_000, bitrate_bps=6000)
>>> kbps = coded.bits / seconds / 1000

`PEERS` has the codecs of other projects. `find` also finds the models of this package and your own
codecs: ``find("mulaw:MuLaw")`` imports the class from ``mulaw.py`` in the current folder. Every
command that accepts the name of a codec accepts this form, too. docs/how-to/evaluate.md shows a
codec in twenty lines. A codec that consists of two commands needs fewer: see `CommandPeer` and
``speex.py``. ``find("amr-wb+opus")`` is two codecs in series.
"""

import importlib
import re
import sys
from pathlib import Path

from chirrup.evaluate.peers.amr_wb import AmrWb
from chirrup.evaluate.peers.codec2 import Codec2
from chirrup.evaluate.peers.commands import CommandPeer
from chirrup.evaluate.peers.deepfilternet import DeepFilterNet3
from chirrup.evaluate.peers.lc3 import LC3_PEERS
from chirrup.evaluate.peers.lyra import Lyra2
from chirrup.evaluate.peers.model import ModelPeer
from chirrup.evaluate.peers.mp3 import Mp3
from chirrup.evaluate.peers.opus import Opus, OpusCbr
from chirrup.evaluate.peers.pcm import Pcm
from chirrup.evaluate.peers.peer import Coded, Peer, PeerError, timed
from chirrup.evaluate.peers.speex import Speex, SpeexWideband
from chirrup.evaluate.peers.tandem import Tandem
from chirrup.evaluate.peers.vorbis import Vorbis
from chirrup.hub import PREFIX
from chirrup.model_folders import is_shipped, models

__all__ = [
    "PEERS",
    "Coded",
    "CommandPeer",
    "Lyra2",
    "ModelPeer",
    "Peer",
    "PeerError",
    "find",
    "register",
    "timed",
]

PEERS: dict[str, Peer] = {}
"""Codecs by name, without the models of this package. Some of them may not be installed."""


def register(peer: Peer) -> None:
    """Add a codec to `PEERS`. It replaces a codec of the same name and class.

    Raises:
        ValueError: a codec of another class has the name, or the name is not valid.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", peer.name):
        raise ValueError(
            f"{peer.name!r} is not a valid name: use lower-case letters, digits and . _ -"
        )
    if peer.name in PEERS and type(PEERS[peer.name]) is not type(peer):
        raise ValueError(f"there is already a codec named {peer.name}: choose another name")
    PEERS[peer.name] = peer


def find(name: str) -> Peer:
    """Return a codec.

    Args:
        name: a key of `PEERS`, a model of this package, the folder of a model, the address
            ``hf://owner/name`` of a model, or ``module:name`` of a codec's class or instance, which
            is registered. The module may be in the current folder. ``FIRST+SECOND`` are two codecs
            in series.

    Raises:
        ValueError: there is no such codec.
        FileError: a model cannot be downloaded.
    """
    if name in PEERS:
        return PEERS[name]
    local = is_shipped(name) or (Path(name) / "model.json").is_file()
    if local or name.startswith(PREFIX):
        return ModelPeer(name)
    first, plus, second = name.partition("+")
    if plus:
        return Tandem(find(first), find(second))
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(
            f"no codec {name!r}: use one of {', '.join([*PEERS, *models()])}, the folder of a "
            "model, module:name of your own codec, or two of them as FIRST+SECOND@BITRATES"
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
for _peer in (*LC3_PEERS, Vorbis(), Mp3(), Pcm(), DeepFilterNet3()):
    register(_peer)
