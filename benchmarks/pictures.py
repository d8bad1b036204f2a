"""Draw the pictures of the documentation from measured data, into docs/plots/.

    python benchmarks/pictures.py quality              # from docs/reference/scoreboard/
    python benchmarks/pictures.py spectrograms         # of the bundled clip; needs opus-tools
    python benchmarks/pictures.py training RUN_FOLDER  # the losses of a run of iris-t1

The pictures have a transparent background and grey letters, readable on white and on black.
"""

import argparse
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import chirrup
from chirrup.evaluate.metrics import METRICS
from chirrup.evaluate.peers import find
from chirrup.evaluate.report.spectrogram import RANGE_DB, palette, power_db
from chirrup.evaluate.results import Results
from chirrup.evaluate.tables import lines

PLOTS = Path(__file__).parents[1] / "docs" / "plots"
GREY = "#7d7d7d"
CODECS = {
    "iris-t1": ("#d6336c", "o"),
    "focal-small": ("#e8590c", "^"),
    "lyra2": ("#1c7ed6", "s"),
    "amr-wb": ("#2f9e44", "D"),
    "opus": ("#7950f2", "v"),
    "codec2": ("#c08a00", "P"),
}
"""Colour and marker of each codec in the plot of quality against bitrate."""
QUALITIES = ("pesq_wb", "visqol_speech", "distillmos")
HEARD = (("iris-t1", 1000), ("iris-t1", 6000), ("opus", 6000))
"""Codecs and bitrates beside the original in the picture of spectrograms."""


def quality(results: Results) -> Path:
    """Draw scores of clean speech against the bitrate, with their intervals."""
    rows = [row for row in results.rows if row.condition == "clean" and row.codec in CODECS]
    labels = {row.title: row for row in rows}
    with figure("quality-speech.svg", len(QUALITIES), (9.6, 4.0)) as (canvas, axes):
        for axis, metric in zip(axes, QUALITIES, strict=True):
            curves = defaultdict(list)
            for line in lines(rows, [metric]):
                curves[labels[line.title].codec].append((line.kbps, line.cells[metric]))
            for codec, (colour, marker) in CODECS.items():
                kbps, cells = zip(*curves[codec], strict=True)
                axis.errorbar(
                    kbps,
                    [cell.mean for cell in cells],
                    yerr=[
                        [cell.mean - cell.low for cell in cells],
                        [cell.high - cell.mean for cell in cells],
                    ],
                    color=colour,
                    marker=marker,
                    markersize=5,
                    linewidth=2.2 if codec == "iris-t1" else 1.2,
                    elinewidth=0.8,
                    label=next(row.label for row in rows if row.codec == codec),
                )
            axis.set_xscale("log")
            ticks = (0.7, 1, 2, 3, 6, 9, 16)
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.minorticks_off()
            axis.set_xlabel("kbit/s")
            axis.set_title(METRICS[metric].label, color=GREY)
        handles, names = axes[0].get_legend_handles_labels()
        canvas.legend(handles, names, ncols=6, loc="lower center", frameon=False, labelcolor=GREY)
        canvas.tight_layout(rect=(0, 0.08, 1, 1))
    return PLOTS / "quality-speech.svg"


def spectrograms(clip: Path) -> Path:
    """Draw the spectrograms of a clip and of its decoded versions, up to 12 kHz."""
    from matplotlib.colors import ListedColormap

    audio, rate_hz = soundfile.read(clip, dtype="float32", always_2d=True)
    pictures = {"original": power_db(audio, rate_hz)}
    for name, bitrate_bps in HEARD:
        peer = find(name)
        coded = peer.code(audio.T, rate_hz, bitrate_bps)
        back = coded.audio.T[: len(audio)]
        kbps = coded.bits / (len(audio) / rate_hz) / 1000
        pictures[f"{peer.label}, {kbps:.1f} kbit/s"] = power_db(back, rate_hz)
    top_db = pictures["original"].max()
    with figure("spectrograms.png", len(pictures), (9.6, 4.6), rows=2) as (canvas, axes):
        for axis, (title, levels_db) in zip(axes, pictures.items(), strict=True):
            axis.imshow(
                levels_db,
                cmap=ListedColormap(palette(40) / 255),
                vmin=top_db - RANGE_DB,
                vmax=top_db,
                aspect="auto",
                extent=(0, len(audio) / rate_hz, 0, rate_hz / 2000),
            )
            axis.grid(False)
            axis.set_title(title, color=GREY)
        for axis in axes[2:]:
            axis.set_xlabel("s")
        for axis in axes[::2]:
            axis.set_ylabel("kHz")
        canvas.tight_layout()
    return PLOTS / "spectrograms.png"


def training(log: Path) -> Path:
    """Draw the losses of a training, and the scores of its validation, by step."""
    found = [json.loads(line) for line in log.read_text().splitlines()]
    shown = {
        "losses, relative to the first": {
            "mel": "#d6336c",
            "complex": "#2f9e44",
            "pesq": "#1c7ed6",
        },
        "PESQ of the validation": {
            "pesq_bypass": "#7950f2",
            "pesq_all": "#d6336c",
            "pesq_lowest": "#c08a00",
        },
    }
    names = {
        "pesq_bypass": "without the quantizer",
        "pesq_all": "all codebooks",
        "pesq_lowest": "fewest codebooks",
    }
    with figure("training-iris-t1.svg", len(shown), (9.6, 3.4)) as (canvas, axes):
        for axis, (title, figures) in zip(axes, shown.items(), strict=True):
            for name, colour in figures.items():
                points = np.array([(line["step"], line[name]) for line in found if name in line])
                size = max(1, len(points) // 100)  # means of neighbours, at most 199 points
                means = [points[at : at + size].mean(axis=0) for at in range(0, len(points), size)]
                steps, values = np.transpose(means)
                if title.startswith("losses"):
                    values = values / values[0]
                axis.plot(steps / 1000, values, color=colour, label=names.get(name, name))
            axis.set_title(title, color=GREY)
            axis.set_xlabel("steps, thousands")
            axis.legend(frameon=False, labelcolor=GREY)
        canvas.tight_layout()
    return PLOTS / "training-iris-t1.svg"


@contextmanager
def figure(name: str, count: int, size: tuple[float, float], rows: int = 1) -> Iterator[Any]:
    """Yield a figure and its axes, and write it to `PLOTS` afterwards."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.grid": True,
        "grid.color": GREY,
        "grid.alpha": 0.3,
        "axes.edgecolor": GREY,
        "axes.labelcolor": GREY,
        "axes.facecolor": "none",
        "xtick.color": GREY,
        "ytick.color": GREY,
    }
    with pyplot.rc_context(style):
        canvas, axes = pyplot.subplots(rows, count // rows, figsize=size, squeeze=False)
        yield canvas, list(axes.flat)
        PLOTS.mkdir(parents=True, exist_ok=True)
        if name.endswith(".svg"):
            canvas.savefig(PLOTS / name, transparent=True, metadata={"Date": None})
        else:
            _write_png(canvas, PLOTS / name)
        pyplot.close(canvas)


def _write_png(canvas: Any, path: Path) -> None:
    """Write a PNG of 96 colours with transparency."""
    from PIL import Image

    picture = io.BytesIO()
    canvas.savefig(picture, dpi=100, format="png", transparent=True)
    Image.open(picture).quantize(96, method=Image.Quantize.FASTOCTREE).save(path, optimize=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", choices=["quality", "spectrograms", "training"])
    parser.add_argument("run", type=Path, nargs="?", help="a run of chirrup train")
    options = parser.parse_args(arguments)
    if options.picture == "training":
        if options.run is None:
            parser.error("give the folder of a run of chirrup train")
        print(training(options.run / "log.jsonl"))
    elif options.picture == "quality":
        kept = PLOTS.parent / "reference" / "scoreboard"
        print(quality(Results.read(kept / "speech_test.jsonl")))
    else:
        print(spectrograms(Path(chirrup.__file__).parent / "clips" / "joe.flac"))


if __name__ == "__main__":
    main()
