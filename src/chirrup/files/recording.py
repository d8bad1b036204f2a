"""Audio from a microphone to an audio file, and from an audio file to a loudspeaker."""

from dataclasses import dataclass, field

from chirrup.bitstream import MAGIC, Readable
from chirrup.files.inputs import Source, open_audio
from chirrup.files.meter import Meter, Progress, levelled
from chirrup.files.outputs import Player, Target, check_target, open_sink
from chirrup.files.riff import PeekableFile


@dataclass
class Recorded:
    """The result of `record_file`: duration in s, and descriptions of faults of the level."""

    seconds: float
    notes: list[str] = field(default_factory=list)


def record_file(
    source: Source,
    target: Target,
    raw: str,
    *,
    level: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Recorded:
    """Write samples to an audio file until the source ends.

    Args:
        source: binary file of samples.
        target: path, whose ending selects the format.
        raw: format of the samples, such as ``f32@24000x1``.
        level: raise quiet speech with `LevelControl`.
        force: overwrite an existing file.
        progress: called with the seconds done and None.

    Raises:
        FileError: the target cannot be written, or exists.
    """
    check_target(target, force)
    with open_audio(source, raw) as audio:
        meter = Meter(audio, progress)
        with open_sink(target, audio.sample_rate_hz, audio.channels, None, force=force) as sink:
            for block in meter.watch(levelled(audio) if level else audio.blocks):
                sink.write(block.T.clip(-1, 1))
        return Recorded(meter.samples / audio.sample_rate_hz, meter.notes())


def play_file(source: Source, player: Player) -> list[str]:
    """Play audio of any format; return descriptions of faults of the source."""
    with open_audio(source) as audio:
        sink = player.start(audio.sample_rate_hz, audio.channels)
        for block in audio.blocks:
            sink.write(block.T)
    return audio.notes


def begins_coded(file: Readable) -> tuple[Readable, bool]:
    """Return a pipe that starts at the same byte, and whether it begins as a ``.chirrup`` file."""
    ahead = PeekableFile(file, keep=False)
    return ahead, ahead.peek(len(MAGIC)) == MAGIC
