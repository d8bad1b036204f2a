"""``chirrup doctor`` and ``chirrup --version``: what is installed, and whether it works."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from chirrup.cli import console
from chirrup.cli.models import Json

if TYPE_CHECKING:
    from chirrup.installation import About, Checked, Use

WIDTH = 16
"""Width of the names in the report."""


def print_version() -> None:
    """Print the versions, the engines and the models. It opens no model."""
    from chirrup.installation import about

    facts = about()
    _print_about(facts)
    typer.echo("models:")
    rows = {
        model.name: f"{model.engine}, weights {model.weights_sha256[:8]}"
        if model.engine
        else "damaged: see chirrup doctor"
        for model in facts.models
    }
    console.print_rows(rows, WIDTH)


def doctor(as_json: Json = False) -> None:
    """Check this installation: packages, programs and models.

    For each use of chirrup, it prints what is missing and the command to get it. It compares the
    hashes of the models and a few of their codes with stored ones. The exit code is 2 if a model is
    wrong, or if a package is missing that every use needs.
    """
    from chirrup.installation import about, check_models, codecs, uses

    facts, found, others, models = about(), uses(), codecs(), check_models()
    if as_json:
        console.print_json(
            {
                **asdict(facts),
                "models": [asdict(model) for model in models],
                "uses": [asdict(use) for use in found],
                "codecs": others,
            }
        )
    else:
        _print_about(facts)
        typer.echo("uses:")
        for use in found:
            _print_use(use)
        typer.echo("other codecs of evaluate:")
        console.print_rows({name: lack or "ready" for name, lack in others.items()}, WIDTH)
        typer.echo("models:")
        console.print_rows({model.name: _result(model) for model in models}, WIDTH)
    wrong = any(model.state == "wrong" for model in models)
    if wrong or any(use.required and use.missing for use in found):
        raise typer.Exit(2)


def _print_about(facts: "About") -> None:
    typer.echo(f"chirrup {facts.version}")
    typer.echo(f"Python {facts.python}, {facts.system}")
    engines = {
        "native": facts.native_missing or "installed",
        "onnx": facts.onnx_runtime or "not installed",
    }
    typer.echo("engines:")
    console.print_rows(engines, WIDTH)


def _print_use(use: "Use") -> None:
    state = f"missing: {', '.join(use.missing)}" if use.missing else "ready"
    console.print_rows({use.name: f"{use.purpose}: {state}"}, WIDTH)
    for command in use.commands:
        typer.echo(f"{'':{WIDTH + 3}}{command}")


def _result(model: "Checked") -> str:
    engine = f" ({model.engine})" if model.engine else ""
    return f"{model.state}{engine}: {model.text}"
