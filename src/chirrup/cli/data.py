"""``chirrup data``: preparation and check of training corpora."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chirrup.cli import completion, console, options
from chirrup.cli.recipes import find_recipe
from chirrup.cli.usage import Command
from chirrup.errors import UsageError
from chirrup.words import counted

if TYPE_CHECKING:
    from chirrup.data.workers import Run

app = typer.Typer(
    help="Make and check corpora for training.",
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


Ray = Annotated[bool, typer.Option("--ray", help="Run on a Ray cluster, or on a local Ray.")]
Address = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Address of the Ray cluster; by default a local Ray."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")]
SHOWN = 5
"""Most recordings that are listed for each kind of problem."""


def runner(workers: int, ray: bool, address: str | None) -> "Run":
    """Return what runs the jobs: processes of this machine, or Ray."""
    from chirrup.data.workers import on_ray, processes

    return on_ray(address, workers) if ray or address else processes(workers)


def _layouts(wanted: bool) -> None:
    if wanted:
        from chirrup.data.layouts import LAYOUTS

        for name, layout in LAYOUTS.items():
            text = (layout.scan.__doc__ or "").partition("Raises:")[0].replace("``", "")
            console.print_text(f"{name:<13} {' '.join(text.split())}", indent=14)
        raise typer.Exit


@app.command(cls=Command)
def prepare(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LAYOUT:]FOLDER", help="Folders of recordings; --layouts lists the layouts."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the corpus.")] = Path(
        "corpus"
    ),
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Recipe of filters, balance, splits and output: curated, as-is, or a file; by "
            "default curated.",
            autocompletion=completion.corpus_recipes,
        ),
    ] = None,
    licence: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Licence to record for sources that do not state one. Without it, the recipe "
            "curated refuses them.",
            callback=options.utf8,
        ),
    ] = "",
    language: Annotated[
        str,
        typer.Option(
            metavar="CODE", help="Language, such as en, of sources that do not state one."
        ),
    ] = "",
    style: Annotated[str, typer.Option(metavar="read|studio", help="Style of speech.")] = "",
    dnsmos: Annotated[
        bool, typer.Option("--dnsmos", help="Also measure DNSMOS, which is slow.")
    ] = False,
    workers: options.Workers = 2,
    ray: Ray = False,
    address: Address = None,
    force: Annotated[
        bool,
        typer.Option("--force", "-f", help="Remove recordings that are no longer in the sources."),
    ] = False,
    quiet: Quiet = False,
    layouts: Annotated[
        bool,
        typer.Option(
            "--layouts", callback=_layouts, is_eager=True, help="List the layouts and exit."
        ),
    ] = False,
) -> None:
    """Make a curated corpus from folders of recordings.

    The corpus has shards, a manifest and a report. The same command continues a run that was
    stopped. Needs the extra: pip install 'chirrup[data]'.
    """
    from dataclasses import replace

    from chirrup.data.prepare import prepare as make
    from chirrup.data.recipe import Recipe, load_corpus_recipe

    if style not in ("", "read", "studio"):
        raise UsageError(f"no style {style!r}: use read or studio")
    plan = load_corpus_recipe(find_recipe(recipe, "corpora")) if recipe else Recipe()
    plan = replace(plan, dnsmos=plan.dnsmos or dnsmos)
    facts = {"licence": licence, "language": language, "style": style}
    run = runner(workers, ray, address)
    with console.steps("scanning", quiet) as progress:
        done = make(sources or [], out, plan, run, facts=facts, force=force, progress=progress)
    console.note(
        f"{out}: {counted(done.kept, 'recording')}, {console.duration(done.seconds)}; "
        f"{done.refused} refused; see {out / 'report.html'}"
    )


@app.command(cls=Command)
def check(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Corpus with a manifest.")],
    rate: Annotated[
        int | None,
        typer.Option(
            metavar="HZ", help="Sample rate that all recordings must have; by default any."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Read headers only.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    workers: options.Workers = 2,
    ray: Ray = False,
    address: Address = None,
    quiet: Quiet = False,
) -> int:
    """Check a corpus. The exit code is 2 if there are problems."""
    from chirrup.data.check import PROBLEMS
    from chirrup.data.check import check as check_corpus

    run = runner(workers, ray, address)
    with console.steps("checking", quiet) as progress:
        report = check_corpus(folder, run, rate_hz=rate, quick=quick, progress=progress)
    if json_:
        console.print_json({"recordings": report.recordings, "problems": report.found})
    else:
        recordings = counted(report.recordings, "recording")
        typer.echo(f"{recordings}, {counted(report.problems, 'problem')}")
        for name, found in report.found.items():
            typer.echo(f"{name} ({PROBLEMS[name]}): {len(found)}")
            for text in found[:SHOWN]:
                console.print_text(f"  {text}", indent=4)
            if len(found) > SHOWN:
                typer.echo(f"  and {len(found) - SHOWN} more; --json lists all of them")
    return 2 if report.problems else 0
