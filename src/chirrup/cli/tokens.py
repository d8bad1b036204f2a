"""``chirrup tokenize`` and ``chirrup detokenize``."""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from chirrup.cli import console, options
from chirrup.cli.data import Address, Ray, runner
from chirrup.cli.files import Quiet
from chirrup.words import counted

Force = Annotated[bool, typer.Option("--force", "-f", help="Replace what exists.")]


class TokenFormat(StrEnum):
    parquet = "parquet"
    webdataset = "webdataset"
    shar = "shar"
    npz = "npz"


class TokenLayout(StrEnum):
    none = "none"
    delay = "delay"
    offset = "offset"


def tokenize(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Audio files, folders, patterns such as 'corpus/**/*.flac', manifests, tar files "
            "of webdataset, and Parquet tables with a column audio.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the data set.")],
    model: options.Model = "iris-t1",
    bitrate: Annotated[
        str | None,
        options.bitrate("Highest bitrate of the codes: 1000 or 1k"),
    ] = None,
    form: Annotated[
        TokenFormat, options.choice(TokenFormat, "Format of the shards.", "--format")
    ] = TokenFormat.parquet,
    flatten: Annotated[
        TokenLayout,
        options.choice(
            TokenLayout,
            "Layout of the codes: none, delay (codebook k is k frames late), or offset (one "
            "sequence, with an offset for each codebook).",
        ),
    ] = TokenLayout.none,
    separate: Annotated[
        bool, typer.Option("--separate", help="Make a row of each channel, not of their average.")
    ] = False,
    segment: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Cut longer recordings; 0 cuts none.")
    ] = 0.0,
    shard: Annotated[
        int, typer.Option(min=1, metavar="N", help="Most recordings of a shard.")
    ] = 2000,
    workers: options.Workers = 1,
    ray: Ray = False,
    address: Address = None,
    force: Force = False,
    quiet: Quiet = False,
) -> int:
    """Code recordings to shards of tokens, to train language models.

    The same command continues a run that was stopped. Recordings that cannot be read are listed in
    failures.jsonl, and the exit code is 2.
    """
    from chirrup.errors import UsageError
    from chirrup.tokens.making import settings_of
    from chirrup.tokens.making import tokenize as make
    from chirrup.zoo import load

    codec = load(model)
    limit_bps = console.optional_bitrate(bitrate)
    try:
        bitrate_bps = codec.bitrates_bps[codec.codebooks_within(limit_bps) - 1]
        settings = settings_of(codec, bitrate_bps, form.value, flatten.value, separate, segment)
    except ValueError as error:
        raise UsageError(str(error)) from error
    begin = time.monotonic()
    with console.steps("scanning", quiet) as progress:
        done = make(
            sources,
            out,
            codec,
            settings,
            runner(workers, ray, address),
            shard_recordings=shard,
            force=force,
            progress=progress,
        )
    if not quiet:
        speed = done.new_seconds / (time.monotonic() - begin)
        new = f"{console.duration(done.new_seconds)} in this run, {speed:.1f} x real time"
        console.note(
            f"{out}: {counted(done.rows, 'row')}, {console.duration(done.seconds)} at "
            f"{settings.bitrate_bps} bit/s; {new if done.new_seconds else 'nothing new'}"
        )
        if limit_bps not in (None, settings.bitrate_bps):
            console.note(
                f"{codec.name} has no bitrate of {limit_bps:.9g} bit/s: the codes have the next "
                f"lower one, {settings.bitrate_bps}"
            )
        if done.renamed:
            console.note(
                f"{counted(done.renamed, 'recording')} got another id, such as NAME~2, because an "
                "earlier recording has the same id"
            )
    return _failed(done.failures, out)


def detokenize(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Data set of tokens.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the audio files.")],
    form: Annotated[
        str,
        typer.Option(
            "--format", metavar="FORMAT", help="Format of the files: wav, flac, ogg, mp3, ..."
        ),
    ] = "wav",
    native_rate: Annotated[
        bool, typer.Option("--native-rate", help="Keep the model's sample rate.")
    ] = False,
    model: Annotated[
        str | None,
        options.model("Name or folder of a model; by default the one that the data set names."),
    ] = None,
    any_weights: Annotated[
        bool, typer.Option("--any-weights", help="Decode codes of other weights.")
    ] = False,
    workers: options.Workers = 1,
    force: Force = False,
    quiet: Quiet = False,
) -> int:
    """Decode a data set of tokens to audio files.

    Files that exist are skipped, so the same command continues a run that was stopped. Rows that
    cannot be decoded are listed in failures.jsonl, and the exit code is 2.
    """
    from chirrup.data.workers import processes
    from chirrup.files.decoders import installed
    from chirrup.files.outputs import audio_format
    from chirrup.tokens.decoding import detokenize as decode
    from chirrup.tokens.reader import Tokens
    from chirrup.zoo import load

    audio_format(Path(f"ID.{form}"), False)
    tokens = Tokens(folder)
    own = tokens.settings
    codec = load(model) if model else installed(own.model, own.weights_sha256, folder)
    with console.steps("decoding", quiet) as progress:
        done = decode(
            tokens,
            out,
            codec,
            processes(workers),
            ending=form,
            native_rate=native_rate,
            any_weights=any_weights,
            force=force,
            progress=progress,
        )
    if not quiet:
        skipped = f"; {done.skipped} skipped because they exist" if done.skipped else ""
        console.note(
            f"{out}: {counted(done.files, 'file')}, {console.duration(done.seconds)}{skipped}"
        )
    return _failed(done.failures, out)


def _failed(failures: int, out: Path) -> int:
    """Print the number of failures, and return the exit code."""
    if failures:
        from chirrup.tokens.making import FAILURES

        console.note(f"{counted(failures, 'failure')}: see {out / FAILURES}")
    return 2 if failures else 0


COMMANDS = (tokenize, detokenize)
