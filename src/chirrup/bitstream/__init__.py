"""The `.chirrup` file and the live packet: codes as bytes and back.

Specified in docs/reference/format.md.
"""

from chirrup.errors import FormatError

from .bits import code_dtype, pack, packed_size, unpack
from .header import MAGIC, MAX_METADATA, ChannelMode, Header
from .packets import MAX_PACKET_FRAMES, MAX_REDUNDANT, Packet, pack_packet, unpack_packet
from .reader import Reader, read
from .record import default_chunk_frames, max_chunk_frames
from .writer import Writer

__all__ = [
    "MAGIC",
    "MAX_METADATA",
    "MAX_PACKET_FRAMES",
    "MAX_REDUNDANT",
    "ChannelMode",
    "FormatError",
    "Header",
    "Packet",
    "Reader",
    "Writer",
    "code_dtype",
    "default_chunk_frames",
    "max_chunk_frames",
    "pack",
    "pack_packet",
    "packed_size",
    "read",
    "unpack",
    "unpack_packet",
]
