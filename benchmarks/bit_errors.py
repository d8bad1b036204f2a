"""Compare models at random bit errors in their codes, clip by clip, with equal wrong bits.

    python benchmarks/bit_errors.py CORPUS/speech_test runs/plain runs/pseudo-gray --clips 12

The codes are wrong, but none is lost: this is a link without retransmission and without checksums.
"""

import argparse
from pathlib import Path

import numpy as np

import chirrup
from chirrup.evaluate.clips import audio_files, read_clip, speaker
from chirrup.evaluate.metrics import score
from chirrup.evaluate.statistics import interval, paired


def with_bit_errors(
    codes: np.ndarray, bits_per_code: int, rate: float, seed: int, first: int = 0
) -> np.ndarray:
    """Return codes ``int [codebooks, frames]`` with independent wrong bits.

    Args:
        rate: probability that a bit is wrong.
        seed: seed of the wrong bits.
        first: the first codebook with errors.
    """
    wrong = np.random.default_rng(seed).random((*codes.shape, bits_per_code)) < rate
    wrong[:first] = False
    masks = (wrong << np.arange(bits_per_code)).sum(axis=-1)
    return codes ^ masks.astype(codes.dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--bitrate", type=int, default=3000)
    parser.add_argument("--rate", type=float, nargs="+", default=[0.0, 0.01])
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--draws", type=int, default=3, help="Draws of the wrong bits for a clip.")
    parser.add_argument("--metrics", nargs="+", default=["pesq_wb", "estoi"])
    given = parser.parse_args()
    every = audio_files(given.folder)
    clips = [every[i] for i in np.linspace(0, len(every) - 1, given.clips).round().astype(int)]
    speakers = [speaker(clip) for clip in clips]
    codecs = [chirrup.load(model) for model in given.models]
    for rate in given.rate:
        figures = {metric: [[] for _ in codecs] for metric in given.metrics}
        for seed, clip in enumerate(clips):
            audio = read_clip(clip, codecs[0].sample_rate_hz, mono=True)[0].reshape(-1)
            for index, codec in enumerate(codecs):
                codes = codec.encode(audio, given.bitrate)
                sounds = []
                for draw in range(given.draws if rate else 1):
                    seeds = 1000 * seed + draw
                    data = with_bit_errors(codes.data, codec.bits_per_code, rate, seeds)
                    data = np.minimum(data, codec.codebook_size - 1)
                    sounds.append(codec.decode(data)[: len(audio)])
                for metric, columns in figures.items():
                    scores = [score(metric, audio, y, codec.sample_rate_hz) for y in sounds]
                    known = [value for value in scores if value is not None]
                    columns[index].append(float(np.mean(known)) if known else None)
        for metric, columns in figures.items():
            for model, column in zip(given.models, columns, strict=True):
                values = np.array([np.nan if value is None else value for value in column])
                mean = interval(values, speakers)
                change = paired(column, columns[0], speakers)
                assert mean is not None
                assert change is not None
                print(
                    f"rate {rate:g}  {metric}  {model}: {mean.mean:.3f} "
                    f"[{mean.low:.3f}, {mean.high:.3f}], less the first "
                    f"{change.mean:+.3f} [{change.low:+.3f}, {change.high:+.3f}]",
                    flush=True,
                )


if __name__ == "__main__":
    main()
