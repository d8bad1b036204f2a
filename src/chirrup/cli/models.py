"""``chirrup models`` and ``chirrup audit``: lists and costs of models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chirrup.cli import completion, console
from chirrup.errors import FileError

if TYPE_CHECKING:
    from chirrup.codec import Codec

SCORES = {"pesq_wb": "PESQ", "visqol_audio": "ViSQOL"}
"""Metrics of speech and of music in model cards, with their labels."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def summary(codec: "Codec") -> dict[str, Any]:
    """Return a dictionary of plain values that describes a model."""
    from chirrup.engines import engine_files

    files = ["model.json", *engine_files(codec.spec, codec.engine)]
    return {
        "name": codec.name,
        "folder": str(codec.folder),
        "input_rate_hz": codec.input_rate_hz,
        "sample_rate_hz": codec.sample_rate_hz,
        "channels": codec.channels,
        "bitrates_bps": codec.bitrates_bps,
        "default_bitrate_bps": codec.default_bitrate_bps,
        "lowest_bitrate_bps": codec.lowest_bitrate_bps,
        "frame_ms": 1000 * codec.frame_samples / codec.sample_rate_hz,
        "latency_ms": 1000 * codec.latency_samples / codec.sample_rate_hz,
        "codebooks": codec.codebooks,
        "codebook_size": codec.codebook_size,
        "engine": codec.engine,
        "has_encoder": codec.has_encoder,
        "size_bytes": sum((codec.folder / name).stat().st_size for name in files),
        "weights_sha256": codec.weights_sha256,
        "codes_sha256": codec.codes_sha256,
        "scores": scores(codec.description.get("training", {})),
    }


def scores(card: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the scores in a model's training card, by metric and bitrate."""
    values = card.get("scores", {})
    return {name: values[name] for name in values if name in SCORES}


def score_lines(facts: dict[str, Any]) -> list[str]:
    """Format each score of `summary`, such as ``PESQ 2.76@6k``."""
    return [
        f"{SCORES[name]} {value:.2f}@{rate.removesuffix('_kbps')}k"
        for name, values in facts["scores"].items()
        for rate, value in values.items()
    ]


def print_model(facts: dict[str, Any]) -> None:
    """Print the result of `summary`."""
    rates, lowest = facts["bitrates_bps"], facts["lowest_bitrate_bps"]
    default = facts["default_bitrate_bps"]
    lines = {
        "rate": f"{_rates(facts, ' Hz', 1)}, {_channels(facts['channels'])}",
        "bitrates": f"{', '.join(f'{rate / 1000:.4g}' for rate in rates)} kbit/s"
        + (f", trained from {lowest / 1000:.4g} on" if lowest > rates[0] else "")
        + f", by default {default / 1000:.4g}",
        "latency": f"{facts['latency_ms']:.3g} ms, frames of {facts['frame_ms']:.3g} ms",
        "codebooks": f"{facts['codebooks']} of {facts['codebook_size']} entries",
        "size": f"{facts['size_bytes'] / 1e6:.1f} MB",
        "engine": facts["engine"],
        "weights": facts["weights_sha256"],
        "folder": facts["folder"],
    }
    if not facts["has_encoder"]:
        lines["encoder"] = "none, the model only decodes"
    if facts["codes_sha256"] != facts["weights_sha256"]:
        lines["codes of"] = f"weights {facts['codes_sha256'][:8]}"
    if facts["scores"]:
        lines["scores"] = ", ".join(score_lines(facts))
    typer.echo(facts["name"])
    console.print_rows({f"{key}:": value for key, value in lines.items()}, 10)


def models(as_json: Json = False) -> None:
    """List the installed models."""
    from chirrup.zoo import load
    from chirrup.zoo import models as names

    every = [summary(load(name)) for name in names()]
    if as_json:
        console.print_json(every)
        return
    if not every:
        console.note("no model is installed: export one, and give its folder with --model")
        return
    from rich.box import SIMPLE
    from rich.table import Table

    headings = ("model", "audio", "kbit/s", "latency", "size", "scores")
    table = Table(*headings, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for facts in every:
        lines = score_lines(facts)
        few = lines if len(lines) < 4 else [lines[0], lines[len(lines) // 2], lines[-1]]
        rates = facts["lowest_bitrate_bps"], facts["bitrates_bps"][-1]
        table.add_row(
            facts["name"],
            f"{_rates(facts, ' kHz', 1000)} {_channels(facts['channels'])}",
            " to ".join(f"{rate / 1000:.3g}" for rate in dict.fromkeys(rates)),
            f"{facts['latency_ms']:.3g} ms",
            f"{facts['size_bytes'] / 1e6:.1f} MB",
            "\n".join(few) or "-",
        )
    console.print_table(table)
    if earlier := sorted(set(names(earlier=True)) - set(names())):
        console.print_text(f"earlier weights, to decode: {', '.join(earlier)}")


def audit(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Name or folder of a model.", autocompletion=completion.models
        ),
    ],
    as_json: Json = False,
) -> None:
    """Print the costs of a model beside the figures of its paper.

    Models without weights need the extra: pip install 'chirrup[train]'.
    """
    facts = _audit(model)
    if as_json:
        console.print_json(facts)
        return
    from rich.table import Table

    table = Table("part", title=f"{facts['model']}, beside: {facts['paper'] or 'no paper'}")
    for heading in ("MFLOPS", "paper", "off by", "M weights", "paper", "off by"):
        table.add_column(heading, justify="right", no_wrap=True)
    for part, values in facts["parts"].items():
        flops, size = values["mflops"], values["parameters"]
        table.add_row(
            part,
            _number(flops["ours"], ".6g"),
            _number(flops["paper"], ".6g"),
            _number(flops["deviation_percent"], "+.2f", " %"),
            _number(size["ours"], ".5g", scale=1e-6),
            _number(size["paper"], ".5g", scale=1e-6),
            _number(size["deviation_percent"], "+.2f", " %"),
            end_section=part == "decoder",
        )
    console.print_table(table)
    if facts["note"]:
        console.print_text(facts["note"])
    latency = facts["latency_ms"]
    bits = ", ".join(f"{count} at {rate} bit/s" for rate, count in facts["bits_per_frame"].items())
    console.print_text(f"bits per frame of {facts['frame_ms']:g} ms: {bits}")
    console.print_text(
        f"latency: {latency['nominal']:.2f} ms nominal, {latency['measured']:.2f} ms "
        f"({latency['measured_samples']} samples) measured, "
        f"{_number(latency['paper'], 'g', ' ms')} in the paper"
    )
    console.print_text(
        f"receptive field of the encoder's convolutions: "
        f"{_number(facts['encoder_receptive_field_ms'], '.1f', ' ms')}"
    )


def _audit(model: str) -> dict[str, Any]:
    """Audit an exported model, or the configuration of this name if it has no weights.

    Raises:
        ModelError: there is no such model.
        FileError: a package that the configuration needs is not installed.
    """
    from chirrup.errors import ModelError
    from chirrup.lab.audit.comparison import compare_description, compare_with_paper
    from chirrup.zoo import load

    try:
        return compare_with_paper(load(model))
    except ModelError:
        about = None if Path(model).exists() else _configuration(model)
        if about is None:
            raise
    console.note(f"{model} ships without weights: the audit is of its configuration")
    return compare_description(about, about["audit"]["latency_measured_samples"])


def _configuration(name: str) -> dict[str, Any] | None:
    from chirrup.zoo import UNTRAINED

    try:
        from chirrup.lab.audit.configuration import audit_config
        from chirrup.lab.models import CONFIGS
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "chirrup":
            raise
        if name not in UNTRAINED:
            return None
        raise FileError(
            f"{name} ships without weights, and the audit of its configuration needs {error.name}, "
            "which is not installed: pip install 'chirrup[train]'"
        ) from error
    return audit_config(name) if name in CONFIGS else None


def _number(value: float | None, form: str, unit: str = "", scale: float = 1.0) -> str:
    return "-" if value is None else f"{scale * value:{form}}{unit}"


def _rates(facts: dict[str, Any], unit: str, scale: int) -> str:
    """Format the sample rate, or the rates of input and output if they differ."""
    rates = dict.fromkeys((facts["input_rate_hz"], facts["sample_rate_hz"]))
    return " to ".join(f"{rate / scale:g}" for rate in rates) + unit


def _channels(count: int) -> str:
    return {1: "mono", 2: "stereo"}.get(count, f"{count} channels")


COMMANDS = (models, audit)
