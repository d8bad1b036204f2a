"""Microphone and loudspeaker, by sounddevice and PortAudio.

sounddevice is imported when a device is opened, because importing it loads PortAudio.
"""

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from queue import SimpleQueue
from types import ModuleType
from typing import Any, Self

import numpy as np

from chirrup.errors import FileError

BLOCK_SECONDS = 0.02
"""Audio that a device gives or takes at once."""
_NO_DEFAULT = "device -1"
"""End of the message of sounddevice if there is no default device."""
_LIST = "list the devices with --list-devices"


def _sounddevice() -> ModuleType:
    try:
        return import_module("sounddevice")
    except ModuleNotFoundError as error:
        raise FileError(
            "sounddevice is not installed: install it with pip install 'chirrup[live]'"
        ) from error
    except OSError as error:
        raise FileError(
            f"sounddevice cannot be used ({error}): install the library, on Debian with "
            "apt-get install libportaudio2"
        ) from error


@contextmanager
def _errors_of(module: ModuleType, what: str) -> Generator[None, None, None]:
    """Raise a FileError for each error of PortAudio, and for a device that does not exist."""
    try:
        yield
    except (module.PortAudioError, ValueError) as error:
        reason = str(error.args[0]) if error.args else str(error)
        if reason.endswith(_NO_DEFAULT):
            reason = "the machine has no such device, or the system hides it"
        raise FileError(f"{what}: {reason}: {_LIST}") from error


def list_devices() -> list[dict[str, Any]]:
    """Return number, name, host API, channels and default rate of each device.

    Raises:
        FileError: sounddevice or PortAudio is not installed, or fails.
    """
    module = _sounddevice()
    with _errors_of(module, "the devices cannot be listed"):
        hosts = module.query_hostapis()
        return [
            {
                "number": number,
                "name": device["name"],
                "host_api": hosts[device["hostapi"]]["name"],
                "inputs": device["max_input_channels"],
                "outputs": device["max_output_channels"],
                "sample_rate_hz": round(device["default_samplerate"]),
            }
            for number, device in enumerate(module.query_devices())
        ]


class Microphone:
    """An input device as a binary file of little-endian ``float32`` samples.

    A callback of PortAudio puts the samples in a queue, so that none is lost while the reader
    works.

    Args:
        rate_hz: preferred sample rate. If the device does not support it, its default is used.
        channels: number of channels.
        device: number or a part of the name; None is the default device.
        seconds: duration after which the file ends; None records until it is closed.

    Raises:
        FileError: there is no such device, or it cannot be opened.

    Attributes:
        rate_hz: sample rate of the samples.
        peak: largest magnitude of a sample in the last block read.
        overflows: number of times that the device has lost samples.
    """

    label = "the microphone"

    def __init__(
        self,
        rate_hz: int,
        channels: int = 1,
        device: str | int | None = None,
        seconds: float | None = None,
    ) -> None:
        module = _sounddevice()
        self.peak, self.overflows = 0.0, 0
        # An exception of Ctrl-C within `Queue.get` would leave the lock that `_take` needs.
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        self._waiting = b""
        with _errors_of(module, f"the input device {_named(device)} cannot be used"):
            self.rate_hz = rate_hz
            try:
                module.check_input_settings(device, channels, "float32", samplerate=rate_hz)
            except module.PortAudioError:
                found = module.query_devices(device, "input")
                self.rate_hz = round(found["default_samplerate"])
            self._left = None if seconds is None else round(seconds * self.rate_hz) * 4 * channels
            self._stream = module.InputStream(
                samplerate=self.rate_hz,
                blocksize=round(BLOCK_SECONDS * self.rate_hz),
                device=device,
                channels=channels,
                dtype="float32",
                callback=self._take,
            )

    def _take(self, samples: np.ndarray, _frames: int, _time: object, status: Any) -> None:
        self.overflows += bool(status.input_overflow)
        self._queue.put(samples.astype("<f4").tobytes())

    def __enter__(self) -> Self:
        self._stream.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes, as soon as there are some; none at the end."""
        if self._left is not None:
            size = min(size, self._left)
        if size <= 0:
            return b""
        if not self._waiting:
            self._waiting = self._queue.get()
            self.peak = float(np.abs(np.frombuffer(self._waiting, "<f4")).max(initial=0))
        data, self._waiting = self._waiting[:size], self._waiting[size:]
        if self._left is not None:
            self._left -= len(data)
        return data


class Speaker:
    """An output device, which `start` opens.

    In a ``with`` statement it plays what has been written to its end. An exception stops it at
    once.

    Args:
        device: number or a part of the name; None is the default device.

    Attributes:
        underflows: number of times that the device had no samples to play.
    """

    def __init__(self, device: str | int | None = None) -> None:
        self._module, self._device = _sounddevice(), device
        self._stream: Any = None
        self._block_samples = 1
        self.underflows = 0

    def start(self, rate_hz: int, channels: int) -> Self:
        """Open the device.

        Raises:
            FileError: there is no such device, or it does not support the rate or the channels.
        """
        what = f"the output device {_named(self._device)} cannot play {rate_hz} Hz x {channels}"
        with _errors_of(self._module, what):
            self._stream = self._module.OutputStream(
                samplerate=rate_hz,
                device=self._device,
                channels=channels,
                dtype="float32",
                latency="low",
            )
            self._stream.start()
        self._block_samples = max(1, round(BLOCK_SECONDS * rate_hz))
        return self

    def write(self, data: np.ndarray) -> None:
        """Play ``float32 [samples, channels]``; wait until the device has taken them."""
        for start in range(0, len(data), self._block_samples):
            block = np.ascontiguousarray(data[start : start + self._block_samples], np.float32)
            with _errors_of(self._module, f"the output device {_named(self._device)} has failed"):
                self.underflows += bool(self._stream.write(block))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._stream is None:
            return
        if kind is None:
            self._stream.stop()  # after the last sample
        self._stream.close()


def _named(device: str | int | None) -> str:
    return "(default)" if device is None else repr(device)
