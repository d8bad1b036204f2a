"""A module like sounddevice: one microphone, whose callbacks are paced, and one loudspeaker."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np


class PortAudioError(Exception):
    pass


class Sounds:
    """What the fake devices record and play.

    Attributes:
        rates_hz: sample rates that the devices support. The first is their default.
        recorded: samples ``float32 [samples, 1]`` of the microphone; silence follows.
        played: blocks that the loudspeaker got.
        stopped: whether the loudspeaker has played to the end.
        devices: whether there are any devices.
        paced: whether the loudspeaker takes a block in the time that it lasts.
    """

    def __init__(self, rates_hz: tuple[int, ...] = (24_000,), devices: bool = True) -> None:
        self.rates_hz, self.devices = rates_hz, devices
        self.recorded = np.zeros((0, 1), np.float32)
        self.played: list[np.ndarray] = []
        self.played_rate_hz = 0
        self.stopped = self.paced = False

    def module(self) -> Any:
        return SimpleNamespace(
            PortAudioError=PortAudioError,
            query_devices=self.query,
            query_hostapis=lambda: [{"name": "Fake"}],
            check_input_settings=lambda device, channels, dtype, samplerate: self.check(samplerate),
            InputStream=lambda **options: _Input(self, **options),
            OutputStream=lambda **options: _Output(self, **options),
        )

    def query(self, device: object = None, kind: str | None = None) -> Any:
        self._need_device(device)
        found = {
            "name": "both ways",
            "hostapi": 0,
            "max_input_channels": 1,
            "max_output_channels": 2,
            "default_samplerate": float(self.rates_hz[0]),
        }
        return [found] if kind is None and device is None else found

    def check(self, rate_hz: int) -> None:
        self._need_device(None)
        if rate_hz not in self.rates_hz:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]", -9997)

    def _need_device(self, device: object) -> None:
        if device == "none":
            raise ValueError("No input device matching 'none'")
        if not self.devices:
            raise PortAudioError("Error querying device -1")


class _Input:
    def __init__(
        self, sounds: Sounds, *, samplerate: int, blocksize: int, callback: Any, **options: Any
    ) -> None:
        sounds._need_device(options["device"])
        sounds.check(samplerate)
        self.sounds, self.blocksize, self.callback = sounds, blocksize, callback
        self.pace_seconds = blocksize / samplerate
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self.thread.start()

    def _run(self) -> None:
        place = 0
        while not self.closed.wait(self.pace_seconds):
            block = self.sounds.recorded[place : place + self.blocksize]
            block = np.pad(block, ((0, self.blocksize - len(block)), (0, 0)))
            place += self.blocksize
            self.callback(block, self.blocksize, None, SimpleNamespace(input_overflow=False))

    def close(self) -> None:
        self.closed.set()
        self.thread.join()


class _Output:
    def __init__(self, sounds: Sounds, *, samplerate: int, **options: Any) -> None:
        sounds._need_device(options["device"])
        sounds.check(samplerate)
        self.sounds = sounds
        sounds.played_rate_hz = samplerate

    def start(self) -> None:
        pass

    def write(self, block: np.ndarray) -> bool:
        assert block.dtype == np.float32
        assert block.flags.c_contiguous
        self.sounds.played.append(block.copy())
        if self.sounds.paced:
            time.sleep(len(block) / self.sounds.played_rate_hz)
        return False

    def stop(self) -> None:
        self.sounds.stopped = True

    def close(self) -> None:
        pass
