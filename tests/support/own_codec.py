"""Codecs for tests of the evaluation."""

import os
from pathlib import Path

import numpy as np

import data_jobs
from chirrup.evaluate.peers import Coded, Peer
from chirrup.live.network import NetworkConditions

DELAY = 100


class Coarse(Peer):
    """Coarse samples, and a known delay.

    Adds a line for each clip to ``coded.log``, if the current folder has that."""

    name, label = "coarse", "Coarse"
    bitrates_bps, sample_rate_hz = (64_000, 128_000), 16_000

    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        if Path("coded.log").exists():
            with Path("coded.log").open("a") as log:
                log.write(f"{bitrate_bps}\n")
        step = 2.0 ** (bitrate_bps / 16_000 - 1)
        decoded = np.pad(np.round(audio * step) / step, ((0, 0), (DELAY, 0)))
        return Coded(decoded, bitrate_bps * audio.shape[1] // 16_000, 0.1, 0.2)


class Stated(Coarse):
    """States a delay and a version, and accepts a network: it loses all packets."""

    name, label = "stated", "Stated"
    delay_ms, version, accepts_network = 5.0, "2", True

    def with_network(self, conditions: NetworkConditions, seed: str) -> Peer:
        return Silent()


class Silent(Coarse):
    name, label = "silent", "Silent"

    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        return Coded(0 * audio, bitrate_bps, 0.1, 0.2)


class Waiting(Peer):
    """Never ends."""

    name, label = "waiting", "Waiting"
    bitrates_bps, sample_rate_hz = (64_000,), 16_000

    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        data_jobs.wait("")
        raise AssertionError("never reached")


class Crashing(Coarse):
    """Ends its process, as native code may."""

    name, label = "crashing", "Crashing"

    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        os._exit(1)
