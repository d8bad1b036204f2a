"""Advice for input that libsndfile does not read."""

import shlex
from pathlib import Path

from chirrup.files.names import is_coded
from chirrup.files.naming import AUDIO_ENDINGS, Naming

_WAV = Naming(AUDIO_ENDINGS, ".wav")
_NEW_WAV = Naming(AUDIO_ENDINGS, ".converted.wav")


def remedy(path: Path | None) -> str:
    """Return the advice that ends an error message. A path of None is a pipe."""
    if path is None:
        return "convert it in the pipe, with ffmpeg -i - -f wav -"
    if path.suffix.lower() == ".raw":
        return "give its format, for example --raw s16@24000x1"
    if is_coded(path):
        return "it is a .chirrup file already, which chirrup decode turns into audio"
    wav = _WAV.output(path)
    if wav.exists():
        wav = _NEW_WAV.output(path)
    return f"convert it first, with ffmpeg -i {for_shell(path)} {for_shell(wav)}"


def for_shell(path: Path) -> str:
    """Quote a path for a shell, so that no program interprets it as an option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
