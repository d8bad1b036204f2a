"""What to do with input that libsndfile does not read."""

import shlex
from pathlib import Path

from chirrup.files.names import is_coded
from chirrup.files.naming import AUDIO_ENDINGS, Naming

_WAV = Naming(AUDIO_ENDINGS, ".wav")
_NEW_WAV = Naming(AUDIO_ENDINGS, ".converted.wav")


def remedy(path: Path | None) -> str:
    """Return what to do, as the end of a message; None is a pipe."""
    if path is None:
        return "convert it on its way, with ffmpeg -i - -f wav -"
    if path.suffix.lower() == ".raw":
        return "say what it holds, for example --raw s16@24000x1"
    if is_coded(path):
        return "it is a .chirrup file already, which chirrup decode turns into audio"
    wav = _WAV.output(path)
    if wav.exists():
        wav = _NEW_WAV.output(path)
    return f"convert it first, with ffmpeg -i {for_shell(path)} {for_shell(wav)}"


def for_shell(path: Path) -> str:
    """Return a path as an argument for a shell, which no program takes for an option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
