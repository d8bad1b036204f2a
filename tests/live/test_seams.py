"""A third of the packets is lost at random: the level stays, and no seam of frames is a click."""

import numpy as np
import pytest
import soundfile

import chirrup
from chirrup.resampling import Resampler
from clicks import roughness

TALK, TALK_RATE_HZ = soundfile.read(f"{chirrup.__path__[0]}/clips/joe.flac", dtype="float32")
SECONDS = 3


def talk(rate_hz: int, start_s: float) -> np.ndarray:
    part = TALK[round(start_s * TALK_RATE_HZ) :][: SECONDS * TALK_RATE_HZ]
    if rate_hz == TALK_RATE_HZ:
        return part
    resampler = Resampler(1, TALK_RATE_HZ, rate_hz)
    return np.concatenate([resampler.push(part[None]), resampler.finish()], axis=1)[0]


def chords(rate_hz: int) -> np.ndarray:
    """Struck chords with harmonics, four a second."""
    time_s, random = np.arange(SECONDS * rate_hz) / rate_hz, np.random.default_rng(0)
    signal = np.zeros(len(time_s))
    for strike in range(4 * SECONDS):
        since_s = np.maximum(time_s - strike / 4, 0)
        level = np.exp(-4 * since_s) * np.minimum(since_s / 0.005, 1)
        for frequency_hz in 220 * 2 ** (random.choice([0, 3, 5, 7, 10, 12, 15], 3) / 12):
            for harmonic in range(1, 8):
                tone = np.sin(2 * np.pi * frequency_hz * harmonic * since_s)
                signal += level * tone / harmonic**1.5
    return (0.3 * signal / np.abs(signal).max()).astype(np.float32)


CLIPS = {
    "talk": lambda rate_hz: talk(rate_hz, 0.5),
    "more talk": lambda rate_hz: talk(rate_hz, 3.5),
    "chords": chords,
}


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize(
    ("model", "bitrate_bps", "redundancy", "roughest"),
    [("iris-t1", 6000, 0, 1.5), ("lrac-t1", 6000, 0, 1.5), ("tq-small", 62_016, 0, 6)],
)
def test_losses_keep_the_level_and_make_no_clicks(
    model: str, bitrate_bps: int, redundancy: int, roughest: float, clip: str
) -> None:
    """Packets that are replaced by zeros are clicks, far rougher than the audio around them.

    tq-small was not trained with losses, and its frames have 1.5 ms. Its seams are rougher."""
    codec = chirrup.load(model)
    encoder = codec.encoder(bitrate_bps, redundancy=redundancy)
    packets = encoder.push(CLIPS[clip](codec.input_rate_hz)) + encoder.flush()
    lost = np.random.default_rng(1).random(len(packets)) < 0.3
    arrived = [None if gone else packet for gone, packet in zip(lost, packets, strict=True)]
    whole, decoder = codec.decoder(), codec.decoder()
    clean = np.concatenate([whole.push(packet) for packet in packets])
    ticks = [
        decoder.push(packet, following)
        for packet, following in zip(arrived, [*arrived[1:], None], strict=True)
    ]
    audio = np.concatenate(ticks)
    assert np.isfinite(audio).all()
    assert abs(10 * np.log10(np.square(audio).sum() / np.square(clean).sum())) < 3
    seams = lost[1:] | lost[:-1]
    assert roughness(ticks, codec.sample_rate_hz)[seams].max() < roughest
    zeros = [tick * (not gone) for tick, gone in zip(ticks, lost, strict=True)]
    assert roughness(zeros, codec.sample_rate_hz)[seams].max() > 2 * roughest
