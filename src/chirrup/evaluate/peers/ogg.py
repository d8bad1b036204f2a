"""Ogg files (RFC 3533): the sizes of their packets."""


def packet_sizes(data: bytes) -> list[int]:
    """Bytes of each packet of an Ogg file of one stream, headers of the codec included.

    Raises:
        ValueError: not whole Ogg pages.
    """
    sizes, size, at = [], 0, 0
    while at < len(data):
        if data[at : at + 4] != b"OggS" or at + 27 > len(data):
            raise ValueError(f"no Ogg page at byte {at}")
        lacing = data[at + 27 : at + 27 + data[at + 26]]
        at += 27 + data[at + 26] + sum(lacing)
        if at > len(data):
            raise ValueError("the last Ogg page is cut off")
        for value in lacing:  # 255 says that the packet goes on, if need be on the next page
            size += value
            if value < 255:
                sizes.append(size)
                size = 0
    return sizes


def payload_bits(data: bytes, headers: int) -> int:
    """Bits of the packets of audio: all but the first ``headers``."""
    return 8 * sum(packet_sizes(data)[headers:])
