"""Compare teachers of `focal-small` at equal, small compute.

    python benchmarks/teachers.py [KEY=VALUE ...]

The script trains the first two stages of the recipe for few steps. From there it trains the last
stage with the loss `asr_features` of each teacher, and without it, and scores the speaker that the
recipe leaves out. Whisper tiny.en, which counts the word errors, is one of the teachers, so its row
is biased. A KEY=VALUE changes the recipe, as in `chirrup train`.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from chirrup.lab.training.config import load_recipe
from experiments import ROOT, WHISPER_BASE, Experiment, compare, in_toml, parser, train

RECIPE = ROOT / "recipes" / "focal-small-cpu.toml"
SCORES = ("wer", "speaker_similarity", "estoi", "distillmos", "dnsmos")
BEGINNING = ("stages.0.steps=300", "stages.1.steps=100", "warmup_steps=50", "ema_decay=0.99")
CLIPS = "speaker"
JOINT = "stages.2.steps=150"
AHEAD = (
    "model_changes.chunk_frames=16",
    "model_changes.chunk_codes=false",
    "model_changes.code_refiners=0",
)
"""Changes for a codec as the teacher: chunks of 320 ms, and features without codes."""
OWN = [{"name": "ahead", "steps": 200, "decodes": "features", "weights": {"mel": 15, "pitch": 5}}]


def experiment(out: Path) -> Experiment:
    """Return the experiment. ``out`` has the checkpoints that `prepare` trained."""
    teachers = {
        "none": "stages.2.weights.asr_features=0",
        "tiny-en": 'teacher={kind="whisper", layers=[2, 4]}',
        "base": f"teacher.path={in_toml(str(WHISPER_BASE))}",
        "codec": f"teacher={in_toml({'kind': 'codec', 'path': str(out / 'ahead')})}",
    }
    variants = {name: (change,) for name, change in teachers.items()}
    begun = out / "begun" / "checkpoint.pt"
    return Experiment(
        RECIPE, variants, (*BEGINNING, JOINT), (800,), SCORES, str(out / CLIPS), begun
    )


def prepare(out: Path, options: argparse.Namespace) -> None:
    """Train the beginning of all variants, and the codec that is a teacher."""
    wanted = experiment(out)
    before = replace(wanted, short=(*BEGINNING, "stages.2.steps=0"), start=None)
    train(before, wanted.variants["none"], out / "begun", options)
    alone = replace(before, short=(f"stages={in_toml(OWN)}",))
    train(alone, AHEAD, out / "ahead", options)


def leave_apart(corpus: Path, folder: Path) -> None:
    """Copy the clips that the recipe leaves out to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in load_recipe(RECIPE).data.leave_out:
        for path in (corpus / "speech_train").glob(pattern):
            shutil.copyfile(path, folder / path.name)


def main() -> None:
    options = parser("Compare teachers of focal-small.", "teachers").parse_intermixed_args()
    leave_apart(options.corpus, options.out / CLIPS)
    prepare(options.out, options)
    compare(experiment(options.out), options.out / "compared", options)


if __name__ == "__main__":
    main()
