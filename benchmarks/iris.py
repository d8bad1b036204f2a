"""What still moves `iris-t1`: from where it stands, the same steps with one change each.

    python benchmarks/iris.py losses [KEY=VALUE ...]

All begin at `recipes/iris-t1-cpu.pt` and see the same batches. A KEY=VALUE changes the recipe, as
in `chirrup train`: `stages.1.steps=2000` is longer.
"""

from pathlib import Path

from chirrup.lab.training.checkpoints import load_checkpoint
from chirrup.lab.training.config import load_recipe
from experiments import ROOT, WHISPER_BASE, Experiment, compare, in_toml, parser

RECIPE = ROOT / "recipes" / "iris-t1-cpu.toml"
START = ROOT / "recipes" / "iris-t1-cpu.pt"
SCORES = ("pesq_wb", "estoi", "visqol_speech", "dnsmos", "distillmos", "speaker_similarity")
TEACHER = in_toml({"kind": "whisper", "path": str(WHISPER_BASE), "layers": [2, 6]})
CHANGES: dict[str, dict[str, float]] = {
    "as-before": {},
    "heard": {"heard": 3},
    "pesq": {"pesq": 5},  # the paper's
    "mel": {"mel": 5},
    "discriminators": {"adversarial": 3, "features": 30},
}
"""Weights of losses that differ from the recipe's last stage."""


def losses() -> Experiment:
    recipe, stands = load_recipe(RECIPE), load_checkpoint(START)["step"]
    weights = recipe.stages[-1].weights.model_dump(exclude_defaults=True)
    variants = {}
    for name, changed in CHANGES.items():
        going_on = {
            "name": name,
            "steps": 400,
            "learning_rate": 3e-4,
            "weights": weights | changed,
        }
        stages = [{"name": "before", "steps": stands, "weights": {}}, going_on]
        teacher = (f"teacher={TEACHER}",) if "heard" in changed else ()
        variants[name] = (f"stages={in_toml(stages)}", *teacher)
    short = ("final_learning_rate=5e-5", "warmup_steps=50", "ema_decay=0.99")
    return Experiment(RECIPE, variants, short, (1000, 6000), SCORES, "speech_test", START)


def main() -> None:
    options = parser("Run an experiment on iris-t1.", "iris", "losses").parse_intermixed_args()
    out: Path = options.out / options.experiment
    compare(losses(), out, options)


if __name__ == "__main__":
    main()
