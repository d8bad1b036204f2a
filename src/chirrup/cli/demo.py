"""``chirrup demo``: the bundled clip at the lowest and the highest bitrate."""

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chirrup.cli import console, options
from chirrup.cli.console import print_text
from chirrup.errors import FileError
from chirrup.files.drafts import only_one

if TYPE_CHECKING:
    from chirrup.codec import Codec

CLIP = Path(__file__).parents[1] / "clips" / "joe.flac"


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder for the audio and the .chirrup files.")
    ] = Path("chirrup-demo"),
    model: options.Model = "iris-t1",
) -> None:
    """Code and decode a bundled clip at two bitrates.

    They are the lowest and the highest bitrate of the model.
    """
    from chirrup.zoo import load

    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder} is not a folder: give another one")
    codec = load(model)
    _check(folder)
    chosen = dict.fromkeys((codec.lowest_bitrate_bps, codec.bitrates_bps[-1]))
    with only_one(folder, "chirrup demo"):
        rows = [code_clip(codec, bitrate, folder) for bitrate in chosen]
    _print(codec, rows, folder)


def _check(folder: Path) -> None:
    """Raise FileError if the folder has another original.wav, which must not be overwritten."""
    from chirrup.files.sounds import UnreadableError, open_sound

    original = folder / "original.wav"
    if not original.exists():
        return
    try:
        with open_sound(original) as found, open_sound(CLIP) as clip:
            same = found.file.frames == clip.file.frames
    except UnreadableError:
        same = False
    if not same:
        raise FileError(f"{original} is not of an earlier demo: give another folder")


def code_clip(codec: "Codec", bitrate_bps: int, folder: Path) -> dict[str, Any]:
    """Code and decode the clip at one bitrate, and return sizes, speeds and the score."""
    from chirrup.files import decode_file, encode_file
    from chirrup.files.outputs import open_sink
    from chirrup.files.sounds import read_sound

    audio, rate_hz = read_sound(CLIP)
    original = folder / "original.wav"
    with open_sink(original, rate_hz, 1, len(audio)) as sink:
        sink.write(audio)
    name = f"{bitrate_bps / 1000:.3g}kbps"
    coded, decoded = folder / f"{name}.chirrup", folder / f"{name}.wav"
    frame = audio[: codec.input_frame_samples, 0]
    codec.decode(codec.encode(frame, bitrate_bps))  # loads the graphs
    start = perf_counter()
    result = encode_file(codec, original, coded, bitrate_bps=bitrate_bps, force=True)
    middle = perf_counter()
    decode_file(codec, coded, decoded, force=True)
    end = perf_counter()
    return {
        "file": decoded.name,
        "size_bytes": result.size_bytes,
        "bitrate_bps": result.bitrate_bps,
        "compression": 2 * len(audio) / result.size_bytes,
        "encode_speed": result.seconds / (middle - start),
        "decode_speed": result.seconds / (end - middle),
        "pesq_wb": pesq_wb(original, decoded),
    }


def pesq_wb(original: Path, decoded: Path) -> float | None:
    """Return wideband PESQ, 1 to 4.64, or None if it cannot be computed."""
    try:
        from pesq import pesq
    except ModuleNotFoundError:
        return None
    import soxr

    from chirrup.files.sounds import read_sound

    signals = []
    for path in (original, decoded):
        audio, rate_hz = read_sound(path)
        signals.append(soxr.resample(audio[:, 0], rate_hz, 16_000))
    try:
        return float(pesq(16_000, signals[0], signals[1], "wb"))
    except Exception:  # "no utterances detected": the decoded audio is silent
        return None


def _print(codec: "Codec", rows: list[dict[str, Any]], folder: Path) -> None:
    from importlib.util import find_spec

    from rich.table import Table

    scored = find_spec("pesq") is not None
    table = Table("file", title=f"{codec.name}: 7 s of speech")
    for heading in ("bytes", "kbit/s", "smaller than PCM", "PESQ-wb", "encode", "decode"):
        table.add_column(heading, justify="right")
    for row in rows:
        score = row["pesq_wb"]
        table.add_row(
            row["file"],
            f"{row['size_bytes']:,}",
            f"{row['bitrate_bps'] / 1000:.2f}",
            f"{row['compression']:.0f}x",
            "-" if score is None else f"{score:.2f}",
            f"{row['encode_speed']:.0f}x",
            f"{row['decode_speed']:.0f}x",
        )
    console.print_table(table)
    typer.echo("PCM is the clip with 16 bits per sample. Speeds are multiples of real time.")
    if not scored:
        typer.echo("For scores: pip install 'chirrup[eval]'")
    files = ", ".join(["original.wav", *(row["file"] for row in rows)])
    print_text(f"Listen: {files} in {folder.resolve()}")
