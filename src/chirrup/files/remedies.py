"""Advice for input that libsndfile does not read."""

import shlex
from pathlib import Path

from chirrup.bitstream import MAGIC
from chirrup.files.naming import AUDIO_ENDINGS, Naming

FIRST_BYTES = 189
_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"}
"""Names of the first box of an MP4 or QuickTime file, at byte 4."""
_MAGIC = (
    *(b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"FRM8", b"caff", b".snd", b"fLaC", b"OggS"),
    *(b"ID3", b"ADIF", b"#!AMR", b"MAC ", b"wvpk", b"TTA", b"MPCK", b"MP+", b"DSD ", b"FLV"),
    *(b"\x1aE\xdf\xa3", b"0&\xb2u", b"\x0bw", b"\x7f\xfe\x80\x01", b".RMF", b".ra\xfd", b"\0\0\1"),
)
"""First bytes of other formats: Matroska, ASF, AC-3, DTS, RealAudio and MPEG are the last ones."""
_WAV = Naming(AUDIO_ENDINGS, ".wav")
_NEW_WAV = Naming(AUDIO_ENDINGS, ".converted.wav")


def remedy(path: Path | None, first: bytes) -> str:
    """Return the advice that ends an error message.

    Args:
        path: the file, or None for a pipe.
        first: first bytes of the file or pipe, at least `FIRST_BYTES` if it has them.
    """
    if path and path.suffix.lower() == ".raw":
        return "give its format, for example --raw s16@24000x1"
    if first.startswith(MAGIC):
        return "it is a .chirrup file already, which chirrup decode turns into audio"
    if not first:
        return "give a recording"
    if not _begins_like_audio(first):
        return "it does not begin like any audio format: give a recording"
    if path is None:
        return "convert it in the pipe, with ffmpeg -i - -f wav -"
    wav = _WAV.output(path)
    if wav.exists():
        wav = _NEW_WAV.output(path)
    return f"convert it first, with ffmpeg -i {for_shell(path)} {for_shell(wav)}"


def first_bytes(path: Path) -> bytes:
    """Return the first bytes of a file, or none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(FIRST_BYTES)
    except OSError:
        return b""


def _begins_like_audio(first: bytes) -> bool:
    """Return whether the first bytes are of a format that ffmpeg may read."""
    frame = first[:1] == b"\xff" and first[1:2] >= b"\xe0"  # MPEG audio
    stream = first[:1] == b"G" == first[188:189]  # MPEG transport stream
    boxes = first[4:8] in _BOXES
    return frame or stream or boxes or first.startswith(_MAGIC)


def for_shell(path: Path) -> str:
    """Quote a path for a shell, so that no program interprets it as an option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
