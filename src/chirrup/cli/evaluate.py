"""``chirrup evaluate``: comparison of models and other codecs on the same clips."""

import shutil
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chirrup.cli import completion, console
from chirrup.errors import FileError, UsageError
from chirrup.files.naming import AUDIO_ENDINGS
from chirrup.words import counted

if TYPE_CHECKING:
    from chirrup.evaluate.results import Results
    from chirrup.evaluate.run import System
    from chirrup.evaluate.statistics import Interval

CLIPS = Path(__file__).parents[1] / "clips"
SHOWN = 5
"""Most skipped files that a note names."""
CODEC_WIDTH, METRIC_WIDTH = 32, 15
"""Width in a table, in characters, of a codec with its bitrate, and of a metric."""
SPEECH = ("pesq_wb", "estoi", "visqol_speech", "dnsmos", "lsd", "snr")


def evaluate(
    clips: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Folder of clips; by default the bundled clip."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for results and audio.")
    ] = Path("chirrup-evaluation"),
    codec: Annotated[
        list[str] | None,
        typer.Option(
            "--codec",
            "-c",
            metavar="NAME[@BPS,...]",
            help="Model, model folder, other codec or module:name, or FIRST+SECOND for two in "
            "series; by default iris-t1, and Opus and Codec2 if they are installed, each at a few "
            "bitrates.",
            autocompletion=completion.codecs,
        ),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="One of clean, noise:15, reverb, talkers:0, denoise:15, dereverb, or a network: "
            "loss:10%, bursts:10%,3, jitter:40ms, bit-errors:1%, ..., or several with +; by "
            "default clean.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            "-m",
            metavar="NAME",
            help=f"Name of a metric, or all; --list lists them. By default {', '.join(SPEECH)}.",
        ),
    ] = None,
    noises: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder of noise recordings; by default noise is pink."
        ),
    ] = None,
    rooms: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder of room responses; by default they are synthetic."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Use N clips, evenly spaced; by default all."),
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(
            min=8000,
            metavar="HZ",
            help="Resample all clips to this rate; by default each keeps its own.",
        ),
    ] = None,
    mono: Annotated[bool, typer.Option("--mono", help="Mix all channels to one.")] = False,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Number of processes.")] = 2,
    report: Annotated[bool, typer.Option(help="Write report.html.")] = True,
    listen: Annotated[
        int, typer.Option(min=0, metavar="N", help="Number of clips with players in the report.")
    ] = 6,
    list_: Annotated[
        bool, typer.Option("--list", help="List codecs and metrics and exit.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")] = False,
) -> None:
    """Compare models and other codecs on your clips.

    The same command continues a run that was stopped.

    Needs the extra: pip install 'chirrup[eval]'.
    """
    if list_:
        _list()
        return
    if find_spec("scipy") is None:
        raise FileError("evaluate needs scipy, which is not installed: pip install 'chirrup[eval]'")
    from chirrup.data.manifest import languages
    from chirrup.evaluate import conditions, run
    from chirrup.evaluate.clips import ENDINGS, audio_files, check_names
    from chirrup.evaluate.metrics import METRICS

    names = _metrics(metric)
    folder = CLIPS if clips is None else clips
    _note_skipped(folder, ENDINGS)
    files = audio_files(folder, but=out)
    check_names(files)
    if limit is not None:
        files = tuple(files[round(i * len(files) / limit)] for i in range(min(limit, len(files))))
    settings = run.Settings(
        clips=files,
        systems=_systems(codec),
        conditions=tuple(dict.fromkeys(map(conditions.parse, condition or ["clean"]))),
        metrics=names,
        noises=audio_files(noises) if noises else (),
        rooms=audio_files(rooms) if rooms else (),
        languages=languages(files),
        rate_hz=rate,
        mono=mono,
        workers=workers,
    )
    with console.steps("evaluating", quiet) as progress:
        results = run.evaluate(settings, out, progress=progress)
    _print(results, names)
    for text in results.run["left_out"]:
        console.note(f"left out: {text}")
    if report:
        from chirrup.evaluate.report import write_report

        page = out / "report.html"
        chosen = {name: METRICS[name] for name in names}
        write_report(results, out, page, chosen, listen=listen)
        console.note(f"report: {page}")


def _note_skipped(folder: Path, endings: Collection[str]) -> None:
    """Print a note with the audio files whose formats are not supported."""
    others = AUDIO_ENDINGS.difference(endings)
    skipped = sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in others)
    if skipped:
        names = ", ".join(skipped[:SHOWN]) + ", ..." * (len(skipped) > SHOWN)
        console.note(
            f"skipped, because evaluate does not read their formats: {names}; convert them first, "
            "for example with ffmpeg"
        )


def _metrics(wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of known metrics, and print a note for each that is not available."""
    from chirrup.evaluate.metrics import METRICS, available

    names = tuple(dict.fromkeys(METRICS if wanted and "all" in wanted else wanted or SPEECH))
    for name in names:
        if name not in METRICS:
            raise UsageError(f"no metric {name!r}: use {', '.join(METRICS)}, or all")
    for name in names:
        reason = available(name)
        if reason is not None:
            console.note(f"{METRICS[name].label} is left blank: {reason}")
    return names


def _systems(wanted: Sequence[str] | None) -> "tuple[System, ...]":
    """Parse ``NAME@BPS,...``, and print a note for each codec that is not available."""
    from chirrup.evaluate.peers import find
    from chirrup.evaluate.run import System
    from chirrup.model_folders import is_shipped

    found = []
    for text in wanted or ["iris-t1@1k,3k,6k", "opus@6k,9k,12k", "codec2@1200,3200"]:
        name, at, rates = text.rpartition("@")
        if not at or is_shipped(text):  # NAME@DIGITS has no bitrates
            name, rates = text, ""
        try:
            codec = find(name)
        except ValueError as error:
            raise FileError(str(error)) from error
        if (lack := codec.missing()) is not None:
            console.note(f"{codec.label} is skipped: {lack}")
            continue
        asked = [console.parse_bitrate(rate) for rate in rates.split(",") if rate]
        every = codec.bitrates_bps
        for bitrate in asked or codec.default_bitrates_bps:
            if bitrate not in every:
                raise UsageError(
                    f"{codec.label} has no bitrate of {bitrate:.9g} bit/s; it has "
                    f"{', '.join(map(str, every))}"
                )
            found.append(System(name, int(bitrate)))
    if not found:
        raise UsageError("no codec is left to evaluate: see chirrup evaluate --list")
    return tuple(dict.fromkeys(found))


def _print(results: "Results", names: Sequence[str]) -> None:
    from rich.table import Table

    from chirrup.evaluate.metrics import METRICS
    from chirrup.evaluate.report.summary import blank_scores, systems_by_condition
    from chirrup.evaluate.tables import differences, lines

    metrics = [METRICS[name] for name in names]
    summaries = systems_by_condition(results, metrics)
    width = shutil.get_terminal_size().columns
    for condition in results.run["conditions"]:
        rows = [row for row in results.rows if row.condition == condition]
        clips = counted(len({row.clip for row in rows}), "clip")
        speakers = counted(len({row.speaker for row in rows}), "speaker")
        title = f"{condition}: {clips} of {speakers}"
        several = max(1, (width - CODEC_WIDTH) // METRIC_WIDTH)
        for start in range(0, len(names), several):
            shown = names[start : start + several]
            table = Table("codec", title=None if start else title)
            table.add_column("kbit/s", justify="right", no_wrap=True)
            for name in shown:
                table.add_column(METRICS[name].label, justify="right", min_width=METRIC_WIDTH - 3)
            for line in lines(rows, shown):
                cells = (_cell(line.cells[name], METRICS[name].digits) for name in shown)
                table.add_row(line.title, f"{line.kbps:.2f}", *cells)
            console.print_table(table)
        for text in blank_scores(summaries[condition], metrics):
            console.print_text(text, indent=2)
        for text in differences(rows, METRICS[names[0]]):
            console.print_text(text, indent=2)
    console.print_text(
        "Means of all clips, ± half of the 95 % interval from a bootstrap over speakers."
    )


def _cell(value: "Interval | None", digits: int) -> str:
    if value is None:
        return "-"
    spread = f" ±{(value.high - value.low) / 2:.{digits}f}" if value.known else ""
    return f"{value.mean:.{digits}f}{spread}"


def _list() -> None:
    from chirrup.evaluate.metrics import METRICS, available
    from chirrup.evaluate.peers import PEERS
    from chirrup.zoo import models

    console.print_text(f"models: {', '.join(models())}", indent=8)
    codecs = {
        name: f"{peer.label}: "
        + (peer.missing() or ", ".join(f"{rate / 1000:g}k" for rate in peer.bitrates_bps))
        for name, peer in PEERS.items()
    }
    metrics = {
        name: f"{metric.label}: {available(name) or 'ready'}" for name, metric in METRICS.items()
    }
    width = max(map(len, (*codecs, *metrics)))
    typer.echo("codecs:")
    console.print_rows(codecs, width)
    typer.echo("metrics:")
    console.print_rows(metrics, width)


COMMANDS = (evaluate,)
