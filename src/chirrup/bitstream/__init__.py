"""Reading and writing of ``.chirrup`` files and live packets (docs/reference/format.md)."""

from chirrup.bitstream.bare import END_FRAMES, BareFormat, BareFrame, BitWriter, frames_of
from chirrup.bitstream.bits import code_dtype, pack, packed_size, unpack
from chirrup.bitstream.header import MAGIC, MAX_METADATA, ChannelMode, Header
from chirrup.bitstream.messages import message_frames, pack_messages, unpack_messages
from chirrup.bitstream.packets import (
    MAX_PACKET_FRAMES,
    MAX_REDUNDANT,
    Packet,
    pack_packet,
    peek_packet,
    unpack_packet,
)
from chirrup.bitstream.reader import Reader, read
from chirrup.bitstream.record import default_chunk_frames, max_chunk_frames
from chirrup.bitstream.side_text import MAX_TEXT_BYTES, TextReceiver, TextSender
from chirrup.bitstream.source import Readable
from chirrup.bitstream.writer import Writer
from chirrup.errors import FormatError

__all__ = [
    "END_FRAMES",
    "MAGIC",
    "MAX_METADATA",
    "MAX_PACKET_FRAMES",
    "MAX_REDUNDANT",
    "MAX_TEXT_BYTES",
    "BareFormat",
    "BareFrame",
    "BitWriter",
    "ChannelMode",
    "FormatError",
    "Header",
    "Packet",
    "Readable",
    "Reader",
    "TextReceiver",
    "TextSender",
    "Writer",
    "code_dtype",
    "default_chunk_frames",
    "frames_of",
    "max_chunk_frames",
    "message_frames",
    "pack",
    "pack_messages",
    "pack_packet",
    "packed_size",
    "peek_packet",
    "read",
    "unpack",
    "unpack_messages",
    "unpack_packet",
]
