"""Short text in the spare bits of bare frames (docs/reference/format.md).

The framing is HDLC: texts stand between flags, and bit stuffing keeps flags out of texts. A
receiver can therefore begin anywhere. A checksum rejects texts with wrong bits.
"""

from binascii import crc_hqx
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

MAX_TEXT_BYTES: Final = 255
_FLAG = [0, 1, 1, 1, 1, 1, 1, 0]
_MOST_BITS = (MAX_TEXT_BYTES + 2) * 8


def text_bits(text: str) -> list[int]:
    """Return the bits of a text with its checksum, and the flag after it.

    Raises:
        ValueError: the text is empty or too long.
    """
    data = text.encode()
    if not 1 <= len(data) <= MAX_TEXT_BYTES:
        raise ValueError(f"the text has {len(data)} bytes: use 1 to {MAX_TEXT_BYTES}")
    data += crc_hqx(data, 0xFFFF).to_bytes(2, "big")
    bits, ones = [], 0
    for bit in np.unpackbits(np.frombuffer(data, np.uint8)).tolist():
        bits.append(bit)
        ones = ones + 1 if bit else 0
        if ones == 5:
            bits.append(0)
            ones = 0
    return bits + _FLAG


class TextSender:
    """An endless source of spare bits, which repeats a text.

    Args:
        text: the text; None sends flags only.
    """

    def __init__(self, text: str | None = None) -> None:
        self.repeat(text)
        self.restart()

    def repeat(self, text: str | None) -> None:
        """Change the text. The present one ends first.

        Raises:
            ValueError: the text is empty or too long.
        """
        self.packed = _FLAG if text is None else text_bits(text)

    def restart(self) -> None:
        """Begin another stream with a flag, and do not end the present text."""
        self.waiting = list(_FLAG)
        """The rest of the present text."""

    def take(self, count: int) -> list[int]:
        """Return the next ``count`` bits."""
        while len(self.waiting) < count:
            self.waiting += self.packed
        bits, self.waiting = self.waiting[:count], self.waiting[count:]
        return bits

    def save(self) -> dict[str, Any]:
        """Return the state as arrays."""
        return {"packed": np.array(self.packed), "waiting": np.array(self.waiting, int)}

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from a state that `save` returned."""
        self.packed, self.waiting = saved["packed"].tolist(), saved["waiting"].tolist()


class TextReceiver:
    """Recovery of texts from spare bits."""

    def __init__(self) -> None:
        self.bits: list[int] | None = None
        """Bits since the last flag without stuffed ones; None before the first flag."""
        self.ones = 0

    def push(self, bits: Iterable[int]) -> list[str]:
        """Take further bits and return the texts that end in them, if their checksum is right."""
        texts = []
        for bit in bits:
            if bit:
                self.ones += 1
                if self.ones > 6:  # not part of a text or a flag
                    self.bits = None
                elif self.bits is not None:
                    self.bits.append(1)
                continue
            ones, self.ones = self.ones, 0
            if ones == 6:
                texts += self._text()
                self.bits = []
            elif self.bits is not None and ones != 5:
                self.bits.append(0)
            if self.bits is not None and len(self.bits) > _MOST_BITS + 8:
                self.bits = None
        return texts

    def _text(self) -> list[str]:
        """Return the text before a flag, whose first seven bits are at the end of ``bits``."""
        bits = (self.bits or [])[:-7]
        data = np.packbits(np.array(bits, np.uint8)).tobytes()
        if (
            len(bits) % 8
            or len(data) < 3
            or crc_hqx(data[:-2], 0xFFFF) != int.from_bytes(data[-2:], "big")
        ):
            return []
        try:
            return [data[:-2].decode()]
        except UnicodeDecodeError:
            return []

    def save(self) -> dict[str, Any]:
        """Return the state as arrays and numbers."""
        return {
            "begun": self.bits is not None,
            "bits": np.array(self.bits or [], int),
            "ones": self.ones,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from a state that `save` returned."""
        self.bits = saved["bits"].tolist() if saved["begun"] else None
        self.ones = saved["ones"]
