"""Names of outputs that are not given on the command line.

An output never gets the name of a recording: ``encode`` gives it the ending ``.chirrup``, and
``decode`` the ending ``.decoded.wav``, or the times of an excerpt.
"""

from dataclasses import dataclass
from pathlib import Path

from chirrup.errors import FileError
from chirrup.files.excerpt import LAST_SECOND
from chirrup.files.names import names_file

_READ = (
    "aif aifc aiff au avr caf flac mp1 mp2 mp3 oga ogg opus raw rf64 sd2 snd sph voc w64 wav wave"
)
_OTHER = (
    "3gp 3g2 aac ac3 amr ape avi awb dsf dts m4a m4b m4r m4v mka mkv mov mp4 mpc mpeg mpg ra spx "
    "tta webm wma wmv wv"
)
READ_ENDINGS = frozenset(f".{name}" for name in _READ.split())
"""Endings of audio files in formats that libsndfile reads, in lower case."""
AUDIO_ENDINGS = READ_ENDINGS | {f".{name}" for name in _OTHER.split()}
"""Endings of all audio and video files, in lower case."""
CODED_ENDING = ".chirrup"


@dataclass(frozen=True)
class Naming:
    """The rule by which a command names its outputs.

    Attributes:
        inputs: endings of inputs, in lower case.
        ending: ending of outputs. It replaces the ending of an input, and is appended to all other
            names.
    """

    inputs: frozenset[str]
    ending: str

    def is_input(self, path: Path) -> bool:
        """Return whether the name of a file has the ending of an input."""
        return path.suffix.lower() in self.inputs

    def output(self, path: Path) -> Path:
        """Return the output in the folder of an input.

        Raises:
            FileError: the input is not a regular file.
        """
        if not names_file(path):
            raise FileError(f"{path} is a pipe or device, so the output has no name: give OUT")
        name = path.name.removesuffix(path.suffix) if self.is_input(path) else path.name
        return path.with_name(name + self.ending)


def encoding() -> Naming:
    """Return the rule of ``encode``."""
    return Naming(AUDIO_ENDINGS, CODED_ENDING)


def decoding(*, raw: bool, start_seconds: float, end_seconds: float | None) -> Naming:
    """Return the rule of ``decode``.

    Args:
        raw: the output has no header.
        start_seconds: start of the excerpt; 0 is the start of the file.
        end_seconds: end of the excerpt; None is the end of the file.
    """
    part = "decoded"
    if start_seconds or end_seconds is not None:
        end = "end" if end_seconds is None or end_seconds > LAST_SECOND else _clock(end_seconds)
        part = f"{_clock(start_seconds)}-{end}"
    return Naming(frozenset({CODED_ENDING}), f".{part}.{'raw' if raw else 'wav'}")


def _clock(seconds: float) -> str:
    """Return a time without a colon, which some filesystems refuse: ``1m30``, ``1h02m03.5``."""
    minutes, rest = divmod(round(min(seconds, LAST_SECOND), 3), 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:06.3f}".rstrip("0").rstrip(".")
    return f"{hours}h{minutes:02}m{text}" if hours else f"{minutes}m{text}"
