"""Messages: a recording in pieces of a few bytes, each of which is decodable without the others.

docs/reference/format.md describes the layout.
"""

from binascii import crc_hqx
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chirrup.bitstream.bits import code_dtype, pack, unpack
from chirrup.errors import FormatError
from chirrup.words import counted

MESSAGE_HEADER_BYTES: Final = 6
MAX_MESSAGES: Final = 256
MAX_MESSAGE_FRAMES: Final = 256
_ABSENT = -1


def message_frames(max_bytes: int, codebooks: int, bits_per_code: int, chunk_frames: int) -> int:
    """Return the number of frames that fit in a message: a whole number of chunks.

    Raises:
        ValueError: no chunk fits, or the codes of a frame have less than 8 bits.
    """
    bits = codebooks * bits_per_code
    if bits < 8:
        raise ValueError(f"messages need 8 bits a frame or more, not {bits}: use more codebooks")
    frames = min((max_bytes - MESSAGE_HEADER_BYTES) * 8 // bits, MAX_MESSAGE_FRAMES)
    if (frames := frames - frames % chunk_frames) < 1:
        least = MESSAGE_HEADER_BYTES - (-chunk_frames * bits // 8)
        raise ValueError(f"{max_bytes} bytes are too few for a message: use {least} or more")
    return frames


def pack_messages(codes: NDArray[np.integer], bits_per_code: int, frames: int) -> list[bytes]:
    """Pack the codes of a recording.

    Args:
        codes: ``int [codebooks, frames]`` with no absent code.
        bits_per_code: width of a code.
        frames: frames of each message but the last; see `message_frames`.

    Raises:
        ValueError: the recording needs more than 256 messages, or is empty.
    """
    codebooks, total = codes.shape
    count = -(-total // frames)
    if not 1 <= count <= MAX_MESSAGES:
        raise ValueError(f"{counted(count, 'message')} do not fit: use 1 to {MAX_MESSAGES}")
    parts = [pack(codes[:, i * frames : (i + 1) * frames].T, bits_per_code) for i in range(count)]
    return [
        bytes([codebooks - 1]) + _checksum(parts) + bytes([index, count - 1, frames - 1]) + part
        for index, part in enumerate(parts)
    ]


def _checksum(parts: Iterable[bytes]) -> bytes:
    """Return the checksum of the packed codes of a recording."""
    return crc_hqx(b"".join(parts), 0xFFFF).to_bytes(2, "big")


def unpack_messages(
    messages: Iterable[bytes],
    bits_per_code: int,
    max_codebooks: int,
    codebook_size: int,
    on_damage: Callable[[int | None, FormatError], None] | None = None,
) -> tuple[NDArray[np.integer], list[int]]:
    """Unpack the messages of a recording, in any order, with repetitions and losses.

    Args:
        messages: the messages.
        bits_per_code, max_codebooks, codebook_size: of the model.
        on_damage: called with the position in ``messages`` and the fault of each message that is
            malformed, does not fit the model, or is the only one of another recording. Such a
            message counts as lost. If no message is lost and the codes do not match the checksum of
            the recording, the position is None, and all codes are returned. If ``on_damage`` is
            None, the fault is raised.

    Returns:
        The codes ``int [codebooks, frames]``, which are -1 in lost messages, and the numbers of the
        lost messages, from 0 on. If the last message is lost, its frames are unknown and it counts
        as long as the others.

    Raises:
        FormatError: there is no sound message, the messages are of several recordings, or
            ``on_damage`` is None and there is damage.
    """
    found: dict[int, _Message] = {}
    faults: dict[int, FormatError] = {}
    for position, data in enumerate(messages):
        try:
            found[position] = _unpack(data, bits_per_code, max_codebooks, codebook_size)
        except FormatError as error:
            faults[position] = error
            if on_damage is None:
                raise
    if not found:
        if not faults:
            raise FormatError("there is no message", 0)
        first = next(iter(faults.values()))
        raise FormatError(
            f"no message can be read ({counted(len(faults), 'message')}; the first: "
            f"{first.args[0]})",
            0,
            "give the model of the sender",
        )
    (common, most), *others = Counter(message.common for message in found.values()).most_common()
    if others and (on_damage is None or most == 1 or others[0][1] > 1):
        raise FormatError("the messages are of several recordings", 0, "decode one at a time")
    parts: dict[int, NDArray[np.integer]] = {}
    packed: dict[int, bytes] = {}
    for position, message in found.items():
        if message.common == common:
            parts[message.number], packed[message.number] = message.codes, message.packed
        else:
            faults[position] = FormatError("the message is of another recording", 0)
    for position in sorted(faults):
        assert on_damage is not None
        on_damage(position, faults[position])
    lost = [index for index in range(common.messages) if index not in parts]
    if not lost and _checksum(packed[index] for index in sorted(packed)) != common.start[1:]:
        error = FormatError("the codes do not match the checksum of the recording", 1)
        if on_damage is None:
            raise error
        on_damage(None, error)
    for index in lost:
        shape = common.start[0] + 1, common.frames
        parts[index] = np.full(shape, _ABSENT, code_dtype(bits_per_code))
    return np.concatenate([parts[index] for index in range(common.messages)], axis=1), lost


class _Common(NamedTuple):
    """The fields that the messages of a recording have in common; ``start`` is bytes 0 to 2."""

    start: bytes
    messages: int
    frames: int


class _Message(NamedTuple):
    common: _Common
    number: int
    codes: NDArray[np.integer]
    packed: bytes


def _unpack(data: bytes, bits_per_code: int, max_codebooks: int, codebook_size: int) -> _Message:
    """Unpack a message; raise FormatError if it is malformed or does not fit the model."""
    if len(data) <= MESSAGE_HEADER_BYTES:
        raise FormatError(f"a message has only {counted(len(data), 'byte')}", len(data))
    codebooks, index, count, frames = data[0] + 1, data[3], data[4] + 1, data[5] + 1
    if codebooks > max_codebooks:
        raise FormatError(
            f"the message has {counted(codebooks, 'codebook')}, the model {max_codebooks}", 0
        )
    if index >= count:
        raise FormatError(f"the message is number {index} of {count}", 3)
    bits = codebooks * bits_per_code
    size = (len(data) - MESSAGE_HEADER_BYTES) * 8 // bits
    if bits < 8 or not 1 <= size <= frames or (index < count - 1 and size < frames):
        raise FormatError(f"the message has {counted(size, 'frame')} of {frames}", len(data))
    if len(data) != MESSAGE_HEADER_BYTES + -(-size * bits // 8):
        raise FormatError("the message has bytes after its codes", len(data))
    flat = unpack(data, bits_per_code, size * codebooks, MESSAGE_HEADER_BYTES)
    if (largest := int(flat.max())) >= codebook_size:
        raise FormatError(
            f"code {largest} is too large for a codebook of {codebook_size} entries",
            MESSAGE_HEADER_BYTES,
        )
    codes = flat.astype(code_dtype(bits_per_code)).reshape(size, codebooks).T
    packed = data[MESSAGE_HEADER_BYTES:]
    return _Message(_Common(data[:3], count, frames), index, codes, packed)
