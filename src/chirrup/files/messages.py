"""Audio files to folders of messages, and back."""

from pathlib import Path

import numpy as np

from chirrup.codec import Codec
from chirrup.errors import FileError, FormatError
from chirrup.files.coding import Decoded, written_as
from chirrup.files.conversion import read_mono
from chirrup.files.drafts import cannot_write, open_scratch
from chirrup.files.outputs import Target, check_target, open_sink
from chirrup.radio import from_messages, to_messages

LARGEST_BYTES = 1 << 16


def encode_messages(
    codec: Codec,
    source: str | Path,
    folder: Path,
    max_bytes: int,
    *,
    bitrate_bps: float | None = None,
    max_messages: int | None = None,
) -> tuple[list[int], list[str]]:
    """Encode audio, whose channels are averaged, to a new folder with a file for each message.

    Args:
        max_bytes, bitrate_bps, max_messages: as in `to_messages`.

    Returns:
        The sizes of the messages in bytes, and descriptions of faults of the source.

    Raises:
        FileError: a file cannot be read or written, or the audio does not fit.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileError(f"{folder} exists and is not an empty folder: give another one")
    if str(source) == "-":
        raise FileError("message reads no pipe: give a file")
    audio, notes = read_mono(source, codec.input_rate_hz)
    if not audio.size:
        raise FileError(f"{source} has no samples: give a longer recording")
    try:
        messages = to_messages(
            codec, audio, max_bytes, bitrate_bps=bitrate_bps, max_messages=max_messages
        )
    except ValueError as error:
        raise FileError(f"{source}: {error}") from error
    try:
        with open_scratch(folder) as scratch:
            whole = scratch / "messages"
            whole.mkdir()
            for index, message in enumerate(messages):
                (whole / f"message-{index:03}.bin").write_bytes(message)
            whole.replace(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return [len(message) for message in messages], notes


def decode_messages(
    codec: Codec, folder: Path, target: Target, *, floating: bool = False, force: bool = False
) -> Decoded:
    """Decode the messages ``*.bin`` in a folder. Lost and damaged messages are concealed and noted.

    Raises:
        FileError: a file cannot be read or written.
        FormatError: no message can be read, or the messages are of several recordings.
    """
    check_target(target, force)
    paths = sorted(folder.glob("*.bin"))
    if not folder.is_dir():
        raise FileError(f"{folder} {'is not a folder' if folder.exists() else 'does not exist'}")
    if not paths:
        raise FileError(f"{folder} has no messages, *.bin: give the folder of chirrup message")
    try:
        messages = [path.read_bytes()[:LARGEST_BYTES] for path in paths]
    except OSError as error:
        raise FileError(f"{folder} cannot be read: {error}") from error
    damage: list[str] = []

    def on_damage(position: int | None, error: FormatError) -> None:
        if position is None:
            damage.append(f"one or more messages are damaged: {error.args[0]}")
        else:
            damage.append(f"{paths[position].name} is damaged and counts as lost: {error}")

    try:
        audio, lost = from_messages(codec, messages, on_damage)
    except FormatError as error:
        raise error.of(str(folder)) from error
    result = Decoded(codec.sample_rate_hz, 1, len(audio := np.ravel(audio)), damage=damage)
    if lost:
        names = ", ".join(map(str, lost))
        result.damage.append(f"lost message {names}, numbered from 0: concealed")
    with open_sink(
        target, result.sample_rate_hz, 1, result.samples, floating=floating, force=force
    ) as sink:
        sink.write(written_as(audio[None], floating, result))
    return result
