"""Teachers of focal-small next to each other, at equal small compute.

    python benchmarks/teachers.py [--share 0.05] [--processes 2] [--whisper-base FOLDER]

Trains the recipe with each teacher, its stages cut to a share of their steps, exports, and scores
clips that no training heard. What was begun goes on; all is kept in runs/teachers/.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from chirrup.evaluate import board, tables
from chirrup.evaluate.board import Settings, System
from chirrup.evaluate.conditions import Condition
from chirrup.evaluate.metrics import METRICS
from chirrup.lab.training.config import Stage, load_recipe
from experiments import ROOT, in_toml
from shared import console

OUT = ROOT / "runs" / "teachers"
RECIPE = ROOT / "recipes" / "focal-taught-cpu.toml"
SCORES = ("wer", "speaker_similarity", "pesq_wb", "distillmos", "dnsmos")
AHEAD = "model_changes.chunk_frames=16"
"""What makes a teacher of our own: it hears 320 ms at once."""


def train(name: str, changes: list[str], processes: int) -> Path:
    """One run by the recipe with ``changes``; its folder."""
    launch = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [sys.executable, "-m", *launch, "-m", "chirrup", "train", str(RECIPE)]
    console.print(f"{name}: {' '.join(changes)}")
    subprocess.run([*command, "--out", str(OUT / name), *changes], check=True, cwd=ROOT)
    return OUT / name


def shortened(stages: tuple[Stage, ...], share: float) -> list[str]:
    return [
        f"stages.{index}.steps={max(1, round(share * stage.steps))}"
        for index, stage in enumerate(stages)
    ]


def whole_alone(stages: tuple[Stage, ...], steps: int) -> str:
    """The last stage from the start, without what a teacher says."""
    weights = stages[-1].weights.model_copy(update={"teacher_features": 0})
    stage = {"name": "whole", "steps": steps, "weights": weights.model_dump()}
    return f"stages={in_toml([stage])}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare teachers of focal-small.")
    parser.add_argument("--corpus", type=Path, default=ROOT.parent / "shared" / "corpus")
    parser.add_argument("--share", type=float, default=0.05, help="of the recipe's steps")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--whisper-base", type=Path, default=ROOT / "runs" / "whisper-base")
    options = parser.parse_args()
    recipe = load_recipe(RECIPE)
    steps = shortened(recipe.stages, options.share)
    total = round(options.share * recipe.steps)
    own = {"name": "ahead", "steps": total, "decodes": "features", "weights": {"mel": 15}}
    ahead = train("ahead", [AHEAD, f"stages={in_toml([own])}"], options.processes)
    teachers = {
        "none": [whole_alone(recipe.stages, total)],
        "tiny-en": ['teacher={kind="whisper", layers=[1, 2, 3, 4]}', *steps],
        "base": [f"teacher.path={in_toml(str(options.whisper_base))}", *steps],
        "codec": [f'teacher={{kind="codec", path={in_toml(str(ahead))}, fit=false}}', *steps],
    }
    systems = []
    for name, changes in teachers.items():
        run = train(name, changes, options.processes)
        folder = run / name
        command = [sys.executable, "-m", "chirrup", "export", str(run), str(folder)]
        subprocess.run(command, check=True, cwd=ROOT)
        systems.append(System(str(folder), 800))
    clips = [
        path
        for path in board.audio_files(options.corpus / "speech_train")
        if any(map(path.match, recipe.data.leave_out))
    ]
    settings = Settings(tuple(clips), tuple(systems), (Condition("clean"),), SCORES)
    results = board.evaluate(settings, OUT / "scores")
    console.print(tables.markdown(results.rows, {name: METRICS[name] for name in SCORES}))


if __name__ == "__main__":
    main()
