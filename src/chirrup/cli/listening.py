"""``chirrup blind-test`` and ``chirrup ratings``: listening tests of an evaluation."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chirrup.cli import console, options

if TYPE_CHECKING:
    from chirrup.evaluate.listening_tests.analysis import Line, Table
    from chirrup.evaluate.statistics import Interval


def blind_test(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Folder that chirrup evaluate wrote.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the test.")],
    kind: Annotated[
        str, typer.Option(metavar="mushra|abx|drt", help="Kind of the test.")
    ] = "mushra",
    system: Annotated[
        list[str] | None,
        typer.Option(
            "--system",
            "-s",
            metavar="NAME",
            help="Use only these systems, such as opus-6000; by default all.",
        ),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Use only these conditions; by default all."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Use N clips, evenly spaced, or N pairs of words in drt; by default all.",
        ),
    ] = None,
    against: Annotated[
        str, typer.Option(metavar="NAME", help="System that abx compares the others with.")
    ] = "reference",
    repeats: Annotated[
        int,
        typer.Option(min=1, max=100, metavar="N", help="Trials of each clip and system in abx."),
    ] = 1,
    seed: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Seed of the words and of each listener's order."),
    ] = 0,
    title: Annotated[
        str, typer.Option(metavar="TEXT", help="Title for listeners.", callback=options.utf8)
    ] = "Listening test",
) -> None:
    """Make a blind listening test from an evaluation.

    FOLDER/page is for listeners: a page for any static host, with the sounds under random names.
    FOLDER/key.json has the systems; keep it for chirrup ratings.
    """
    from chirrup.evaluate.listening_tests.design import KEY, PAGE, make_test
    from chirrup.evaluate.listening_tests.items import Settings
    from chirrup.serve.assets import listening_page
    from chirrup.words import counted

    settings = Settings(
        kind=kind,
        title=title,
        systems=tuple(system or ()),
        conditions=tuple(condition or ()),
        limit=limit,
        against=against,
        repeats=repeats,
        seed=seed,
    )
    test = make_test(results, out, settings, listening_page(), console.note)
    console.note(f"{out / PAGE}: {counted(len(test['trials']), 'trial')}; the key is {out / KEY}")


def ratings(
    test: Annotated[
        Path, typer.Argument(metavar="TEST", help="Folder that chirrup blind-test wrote.")
    ],
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="RATINGS",
            help="JSON files of listeners, folders of them, or the file of chirrup serve.",
        ),
    ],
) -> None:
    """Print the result of a listening test."""
    from chirrup.errors import FileError
    from chirrup.evaluate.listening_tests.analysis import analyse
    from chirrup.evaluate.listening_tests.ratings import read_files, read_key, submissions
    from chirrup.serve.ratings import Ratings, is_store
    from chirrup.words import counted

    key = read_key(test)
    found = []
    for source in sources:
        if is_store(source):
            found += [(str(source), value) for value in Ratings(source).rows(key.test)]
        else:
            found += read_files([source])
    sent = submissions(found, key)
    if not any(value.ratings for value in sent.values()):
        places = ", ".join(map(str, sources))
        raise FileError(f"there are no ratings of the test {key.test} in {places}")
    for name, count in Counter(value["listener"] for _, value in found).items():
        if count > 1:
            console.note(
                f"listener {name} has {count} submissions: the one with the most ratings counts, "
                "the last one among equal numbers"
            )
    for name, value in sent.items():
        if len(value.ratings) < len(key.trials):
            console.note(
                f"listener {name} rated {len(value.ratings)} of {counted(len(key.trials), 'trial')}"
            )
    _print(analyse(key, {name: value for name, value in sent.items() if value.ratings}))


HEADINGS = {"score": "score, 0 to 100", "right": "right, %", "all": "DRT, %"}


def _print(table: "Table") -> None:
    from chirrup.words import counted

    for name, reason in table.excluded.items():
        console.note(f"listener {name} is excluded: {reason}")
    typer.echo(f"{counted(table.listeners, 'listener')}, {len(table.excluded)} excluded")
    if not table.listeners:
        return
    for condition in dict.fromkeys(line.condition for line in table.lines):
        _print_table(condition, [line for line in table.lines if line.condition == condition])
        pairs = [line for line in table.pairs if line.condition == condition]
        if pairs:
            _print_table(f"{condition}, differences", pairs)
    console.print_text(
        {
            "mushra": "Means with 95 % intervals from a bootstrap over listeners and clips. The p "
            "values are of a permutation test, corrected by Holm's method.",
            "abx": "Answers with exact 95 % intervals. The p values are of the binomial test "
            "against guesses, corrected by Holm's method.",
            "drt": "100 (right - wrong) / all, which is 0 for guesses, with 95 % intervals from a "
            "bootstrap over listeners and words.",
        }[table.kind]
    )


def _print_table(title: str, lines: "list[Line]") -> None:
    from rich.table import Table as Grid

    grid = Grid(title=title, title_justify="left")
    grid.add_column("system")
    columns = list(lines[0].values)
    for column in columns:
        grid.add_column(HEADINGS.get(column, column), justify="right")
    grid.add_column("ratings", justify="right")
    tested = any(line.p is not None for line in lines)
    if tested:
        grid.add_column("p", justify="right")
    for line in lines:
        cells = [_cell(line.values[column], len(columns) > 1) for column in columns]
        grid.add_row(line.title, *cells, str(line.count), *([_p(line.p)] if tested else []))
    console.print_table(grid)


def _cell(value: "Interval | None", short: bool) -> str:
    if value is None:
        return "-"
    digits = 0 if short else 1
    if not value.known:
        return f"{value.mean:.{digits}f}"
    if short:
        return f"{value.mean:.0f} ±{(value.high - value.low) / 2:.0f}"
    return f"{value.mean:.1f} ({value.low:.1f} to {value.high:.1f})"


def _p(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


COMMANDS = (blind_test, ratings)
