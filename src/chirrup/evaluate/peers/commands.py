"""Codecs that are two commands, one that encodes a file and one that decodes it."""

import shutil
import subprocess
import tempfile
import time
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chirrup.evaluate.peers.peer import Coded, Peer, PeerError, resampled
from chirrup.files.callbacks import SoundFile
from chirrup.files.drafts import written
from chirrup.files.sounds import UnreadableError, read_sound

TIMEOUT_S = 600


class CommandPeer(Peer):
    """A codec of two commands. Its files are in a temporary folder.

    Attributes:
        tools: commands that the codec needs.
        package: Debian package of the commands.
        suffix: ending of the coded file, which some commands require.
        subtype: soundfile's subtype of the encoder's input, a WAV file. Integers are clipped at
            full scale.
        flush_samples: silence after the signal, which flushes its end out of the decoder.
    """

    tools: tuple[str, ...]
    package: str
    suffix: str
    subtype: str = "PCM_16"
    flush_samples: int = 0

    @abstractmethod
    def encode_command(self, source: Path, coded: Path, bitrate_bps: int) -> Sequence[object]:
        """Return the command that encodes a file."""

    @abstractmethod
    def decode_command(self, coded: Path, decoded: Path, bitrate_bps: int) -> Sequence[object]:
        """Return the command that decodes a file."""

    @abstractmethod
    def payload_bits(self, data: bytes) -> int:
        """Return the bits of the packets in a coded file, without its container."""

    def missing(self) -> str | None:
        absent = [tool for tool in self.tools if shutil.which(tool) is None]
        return f"apt-get install {self.package} (for {', '.join(absent)})" if absent else None

    def write(self, path: Path, audio: np.ndarray) -> None:
        """Write the encoder's input, a WAV file."""
        shape = {"samplerate": self.sample_rate_hz, "channels": len(audio)}
        with (
            written(path) as draft,
            draft.open("wb", buffering=0) as bare,
            SoundFile(bare, "w", format="WAV", subtype=self.subtype, **shape) as file,
        ):
            file.write(audio.T)

    def read(self, path: Path) -> np.ndarray:
        """Read the decoder's output, a WAV file of any rate, as ``float32 [channels, samples]``."""
        audio, rate_hz = read_sound(path)
        return resampled(audio.T, rate_hz, self.sample_rate_hz)

    def roundtrip(self, audio: np.ndarray, bitrate_bps: int) -> Coded:
        with tempfile.TemporaryDirectory(prefix="chirrup-peer-") as name:
            folder = Path(name)
            source, decoded = folder / "source.wav", folder / "decoded.wav"
            coded = folder / f"coded.{self.suffix}"
            self.write(source, np.pad(audio, ((0, 0), (0, self.flush_samples))))
            encode_seconds = run(self.encode_command(source, coded, bitrate_bps))
            decode_seconds = run(self.decode_command(coded, decoded, bitrate_bps))
            try:
                bits, output = self.payload_bits(coded.read_bytes()), self.read(decoded)
            except (OSError, ValueError, UnreadableError) as error:
                raise PeerError(f"the files of {self.label} cannot be read: {error}") from error
        return Coded(output, bits, encode_seconds, decode_seconds)


def run(command: Sequence[object], timeout_s: float = TIMEOUT_S) -> float:
    """Run a command and return its wall time in seconds.

    Raises:
        PeerError: the command cannot be started, fails, or takes too long.
    """
    words = [str(word) for word in command]
    begin = time.perf_counter()
    try:
        subprocess.run(
            words, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s
        )
    except OSError as error:
        raise PeerError(f"{words[0]} cannot be started: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"{words[0]} was stopped after {timeout_s:g} s") from error
    except subprocess.CalledProcessError as error:
        output = (error.stderr + error.stdout).decode(errors="replace").strip()[-2000:]
        failed = f"`{' '.join(words)}` failed with status {error.returncode}"
        raise PeerError(f"{failed}: {output or 'no output'}") from error
    return time.perf_counter() - begin
