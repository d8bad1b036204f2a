"""Write the page of the scoreboard, and the tables of README and model cards, from its results."""

import json
import re
from itertools import product
from pathlib import Path
from typing import Any

from boards import BOARDS, NOTED
from chirrup.evaluate import tables
from chirrup.evaluate.metrics import METRICS
from chirrup.evaluate.results import Results, Row
from chirrup.words import counted
from chirrup.zoo import FOLDER, models
from paper_pages import reported

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "scoreboard.md"
MEANING = ROOT / "docs" / "explanation" / "scores.md"

EXPLAINED = {
    "talkers": "A second talker of speech_test, {:g} dB below the first",
    "noise": "Noise of noise_test at {:g} dB",
    "denoise": "Noise of noise_test at {:g} dB",
    "reverb": "A synthetic room: noise that decays by 60 dB in 0.5 s",
    "dereverb": "A synthetic room: noise that decays by 60 dB in 0.5 s",
}

CODES = """\
Models of this package. The latency is counted. The real-time factor is the CPU time to code and
decode mono audio over its duration, on one core of this processor: {timed_on}.
Stereo models code mono as two channels. If the clips have fewer codes than a codebook has entries,
not all entries can be used, and the entropy is at most the logarithm of that number.
"""


def write(boards: dict[str, Results]) -> None:
    """Write the page, the tables of all pages with marks, and the scores in the zoo."""
    PAGE.write_text(page(boards))
    for name, (of, metric) in product(models(), NOTED.items()):
        if of in boards:
            note(name, of, metric, boards[of])
    for text in (ROOT / "README.md", MEANING, *FOLDER.glob("*/README.md")):
        fill(text, boards)


def _speakers(count: int, folder: str) -> str:
    return counted(count, "track" if folder.startswith("music") else "speaker")


def page(boards: dict[str, Results]) -> str:
    text = [
        "<!-- Written by benchmarks/scoreboard.py from docs/reference/scoreboard/. -->\n",
        "# Scoreboard\n",
        "Means over the clips; in brackets the 95 % interval of a bootstrap over speakers. Models "
        "of this package are in bold. Codecs are sorted by the measured bitrate without "
        "containers: the codes of models, the packets of other codecs. A live packet adds a byte "
        "and fills up its last one: 1 kbit/s becomes 1.1 in packets of four frames and 1.6 in "
        "packets of one. [What scores mean, and what they do not](../explanation/scores.md).\n",
        "![Quality of speech against bitrate](../plots/quality-speech.svg)\n",
    ]
    for name, results in boards.items():
        run, of = results.run, BOARDS[name]
        metrics = {m: METRICS[m] for m in of.metrics}
        text.append(
            f"## {of.title}: {run['clips']} clips of {_speakers(run['speakers'], of.folder)} "
            f"({of.folder}{'' if of.files == '*' else '/' + of.files})\n"
        )
        for condition in of.conditions:
            rows = [row for row in results.rows if row.condition == condition.name]
            if not rows:
                continue
            if condition.kind in EXPLAINED:
                text.append(f"### {EXPLAINED[condition.kind].format(condition.value)}\n")
            text.append(tables.markdown(rows, metrics))
            text += [f"- {line}" for line in tables.differences(rows, metrics[of.metrics[0]])]
            if any(row.ours for row in rows):
                text.append("")
        if about := run.get("models"):
            clean = [row for row in results.rows if row.condition == of.conditions[0].name]
            codes = CODES.format(timed_on=run["timed_on"])
            text += [codes, models_table(clean, about)]
        versions = ", ".join(f"{key} {value}" for key, value in run["versions"].items())
        text.append(f"{run['created'][:10]}; {versions}.\n")
    return "\n".join([*text, reported()])


def models_table(rows: list[Row], about: dict[str, dict[str, Any]]) -> str:
    """Return a table of the facts that `scoreboard.facts` measured."""
    text = [
        "| model | latency, ms | real-time factor | codes a codebook | entries used, % | "
        "entropy of a code, bits |",
        f"|{'--|' * 6}",
    ]
    for system, known in about.items():
        title = next(row.title for row in rows if row.system == system)
        text.append(
            f"| {title} | {known['latency_ms']:.3g} | {known['real_time_factor']:.3f} | "
            f"{known['codes']} | "
            f"{known['used_percent']:.1f} | {known['entropy_bits']:.2f} of "
            f"{known['bits_per_code']} |"
        )
    return "\n".join(text) + "\n"


def fill(page: Path, boards: dict[str, Results]) -> None:
    """Write the tables between the marks of a page.

    A mark is ``<!-- scores {"board": ..., "condition": ..., "systems": ["opus-6000", ...],
    "metrics": [...], "intervals": ..., "differences": [metrics, ...]} -->``.
    """

    def table(mark: re.Match[str]) -> str:
        wish = json.loads(mark[1])
        rows = [
            row
            for row in boards[wish["board"]].rows
            if row.condition == wish["condition"] and row.system in wish["systems"]
        ]
        metrics = {name: METRICS[name] for name in wish["metrics"]}
        text = tables.markdown(rows, metrics, intervals=wish["intervals"])
        compared = [tables.differences(rows, METRICS[name]) for name in wish["differences"]]
        if compared:
            text += "".join(f"\n- {line}" for lines in compared for line in lines) + "\n"
        return f"<!-- scores {mark[1]} -->\n{text}<!-- end of scores -->"

    marked = r"<!-- scores (\{.*?\}) -->.*?<!-- end of scores -->"
    page.write_text(re.sub(marked, table, page.read_text(), flags=re.DOTALL))


def note(model: str, clips: str, metric: str, results: Results) -> None:
    """Write a model's scores at its trained bitrates to ``model.json``, for ``chirrup models``."""
    path = FOLDER / model / "model.json"
    about = json.loads(path.read_text())
    lowest_bps = about.get("lowest_bitrate_bps", 0)
    scores: dict[int, list[float]] = {}
    for row in results.rows:
        score = row.scores.get(metric)
        if row.codec == model and row.bitrate_bps >= lowest_bps and score is not None:
            scores.setdefault(row.bitrate_bps, []).append(score)
    if not scores:
        return
    about["training"]["scores"] = {
        "clips": f"{results.run['clips']} of {clips}",
        metric: {
            f"{rate / 1000:.3g}_kbps": round(sum(of_rate) / len(of_rate), 2)
            for rate, of_rate in sorted(scores.items())
        },
    }
    path.write_text(json.dumps(about, indent=1) + "\n")
