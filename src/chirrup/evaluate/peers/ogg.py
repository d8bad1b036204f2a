"""The sizes of the packets in Ogg files (RFC 3533)."""


def packet_sizes(data: bytes) -> list[int]:
    """Return the size in bytes of each packet, including the codec's headers, of one stream.

    Raises:
        ValueError: the data does not consist of whole Ogg pages.
    """
    sizes, size, at = [], 0, 0
    while at < len(data):
        if data[at : at + 4] != b"OggS" or at + 27 > len(data):
            raise ValueError(f"no Ogg page at byte {at}")
        lacing = data[at + 27 : at + 27 + data[at + 26]]
        at += 27 + data[at + 26] + sum(lacing)
        if at > len(data):
            raise ValueError("the last Ogg page is cut off")
        for value in lacing:  # after 255 the packet continues, perhaps on the next page
            size += value
            if value < 255:
                sizes.append(size)
                size = 0
    return sizes


def payload_bits(data: bytes, headers: int) -> int:
    """Return the bits of the audio packets, which follow the first ``headers`` packets."""
    return 8 * sum(packet_sizes(data)[headers:])
