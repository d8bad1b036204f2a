"""Bitrate of a ``.chirrup`` stream against the duration of its chunks.

python benchmarks/chunks.py [MODEL]
"""

import argparse
import io

import numpy as np

import chirrup
from chirrup.bitstream import Header, Writer

CHUNKS_MS = (20, 40, 60, 100, 200, 500, 1000, 2000)
BITRATES_BPS = (1000, 3000, 6000)
SECONDS = 60


def stream_bytes(codec: chirrup.Codec, bitrate_bps: int, chunk_ms: float) -> int:
    """Return the size of the chunks of a minute, without the header and the end of the file."""
    codebooks = codec.codebooks_at(bitrate_bps)
    header = Header(
        model=codec.name,
        weights_hash=codec.codes_sha256,
        sample_rate_hz=codec.sample_rate_hz,
        original_sample_rate_hz=codec.sample_rate_hz,
        channels=1,
        original_channels=1,
        channel_mode="separate",
        codebooks=codebooks,
        bits_per_code=codec.bits_per_code,
        frame_samples=codec.frame_samples,
        delay_samples=codec.delay_samples,
        preroll_frames=codec.spec.preroll_frames,
        bitrate_bps=bitrate_bps,
    )
    file = io.BytesIO()
    writer = Writer(file, header, codec.spec.frames_within(chunk_ms))
    start = file.tell()
    writer.write(np.zeros((1, codebooks, round(SECONDS * codec.frame_rate_hz)), np.int16))
    return file.tell() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="name or folder of a model")
    name = parser.parse_args().model
    codec = chirrup.load(name) if name else chirrup.load()
    names = [f"{rate / 1000:g} kbit/s of codes" for rate in BITRATES_BPS]
    print(f"| chunk, ms | {' | '.join(names)} |")
    print("|---" * (1 + len(names)) + "|")
    for chunk_ms in CHUNKS_MS:
        sizes = (stream_bytes(codec, rate, chunk_ms) for rate in BITRATES_BPS)
        rates = (f"{size * 8 / SECONDS / 1000:.2f}" for size in sizes)
        print(f"| {chunk_ms} | {' | '.join(rates)} |")


if __name__ == "__main__":
    main()
