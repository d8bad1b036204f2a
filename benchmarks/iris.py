"""Experiments on `iris-t1`: variants that differ in one change.

    python benchmarks/iris.py encoders --corpus FOLDER  # both designs of the residual units
    python benchmarks/iris.py losses --corpus FOLDER  # other weights of the losses
    python benchmarks/iris.py batches --corpus FOLDER  # other clips and codes
    python benchmarks/iris.py poster --corpus FOLDER  # rows of the poster's ablation
    python benchmarks/iris.py decoders --corpus FOLDER  # Conv2Former and ConvNeXt

`encoders` trains the first two stages of `recipes/iris-t1-cpu.toml` from the beginning, with two
seeds. The others start from `recipes/iris-t1-cpu.pt` and use `recipes/iris-t1-cpu-more.toml`;
`decoders` keeps only their encoder and codebooks. A KEY=VALUE changes the recipe, as in `chirrup
train`; `stages.1.steps=2000`, for example, is longer.
"""

from dataclasses import replace
from pathlib import Path

from chirrup.lab.models.iris import BLOCKS, UNITS
from experiments import ROOT, WHISPER_BASE, Experiment, compare, in_toml, parser

RECIPE = ROOT / "recipes" / "iris-t1-cpu-more.toml"
START = ROOT / "recipes" / "iris-t1-cpu.pt"
EARLIER = "model_changes.encoder_units=plain"
"""Change of the configuration to the model of `START`."""
SPEECH = "speech_test"
SCORES = ("pesq_wb", "estoi", "visqol_speech", "dnsmos", "distillmos", "speaker_similarity")
TEACHER = in_toml({"kind": "whisper", "path": str(WHISPER_BASE), "layers": [2, 6]})
LOSSES: dict[str, dict[str, float]] = {
    "as-before": {},
    "asr_features": {"asr_features": 3},
    "pesq": {"pesq": 5},  # the weight of the poster
    "mel": {"mel": 5},
    "features": {"features": 10},
    "discriminators": {"adversarial": 3, "features": 9},
}
"""Weights of losses that differ from those in the recipe's last stage."""
BATCHES: dict[str, tuple[str, ...]] = {
    "as-before": (),
    "bypassed": ("codes.bypass=0.3",),
    "short": ("data.crop_seconds=1.0", "batch_size=4"),
}
"""Changes to the recipe that keep the seconds of audio a step."""
POSTER: dict[str, tuple[str, ...]] = {
    "as-before": (),
    "stage-2": ("stages.1.weights.mel=1",),  # the poster lowers this weight from 15 to 1
    "one-talker": ("data.conditions={clean=8, noisy=5, reverberant=5}",),
}
"""Rows of the poster's ablation. Clips of two talkers are a tenth of the recipe's."""
DECODERS: dict[str, tuple[str, ...]] = {
    block: (f"model_changes.decoder_block={block}",) for block in BLOCKS
}


def experiment(variants: dict[str, tuple[str, ...]]) -> Experiment:
    rates = ("stages.1.learning_rate=3e-4", "adversary.learning_rate=3e-4")
    stage = ("stages.1.steps=400", *rates)
    short = (EARLIER, *stage, "final_learning_rate=5e-5", "warmup_steps=50", "ema_decay=0.99")
    return Experiment(RECIPE, variants, short, (1000, 6000), SCORES, SPEECH, START)


def losses() -> Experiment:
    variants: dict[str, tuple[str, ...]] = {}
    for name, changed in LOSSES.items():
        weights = (f"stages.1.weights.{term}={weight}" for term, weight in changed.items())
        teacher = (f"teacher={TEACHER}",) if "asr_features" in changed else ()
        variants[name] = (*weights, *teacher)
    return experiment(variants)


def batches() -> Experiment:
    return experiment(BATCHES)


def encoders() -> Experiment:
    variants = {
        f"{units}-{seed}": (f"model_changes.encoder_units={units}", f"seed={seed}")
        for seed in (1, 2)
        for units in UNITS
    }
    short = ("stages.0.steps=1200", "stages.1.steps=1300", "stages.2.steps=0", "batch_size=8")
    recipe = ROOT / "recipes" / "iris-t1-cpu.toml"
    return Experiment(recipe, variants, (*short, "ema_decay=0.99"), (1000, 6000), SCORES, SPEECH)


def poster() -> Experiment:
    return replace(experiment(POSTER), scores=SCORES[:2], condition="talkers:0")


def decoders() -> Experiment:
    weights = "stages.1.weights={complex=10, waveform=2, mel=15, pesq=1, commitment=1}"
    stage = ("stages.1.steps=1500", "stages.1.learning_rate=1e-3", weights)
    short = (EARLIER, *stage, "ema_decay=0.99")
    return Experiment(
        RECIPE, DECODERS, short, (1000, 6000), SCORES[:2], SPEECH, START, fresh="decoder"
    )


EXPERIMENTS = {
    "encoders": encoders,
    "losses": losses,
    "batches": batches,
    "poster": poster,
    "decoders": decoders,
}


def main() -> None:
    options = parser("Run an experiment on iris-t1.", "iris", *EXPERIMENTS).parse_intermixed_args()
    out: Path = options.out / options.experiment
    compare(EXPERIMENTS[options.experiment](), out, options)


if __name__ == "__main__":
    main()
