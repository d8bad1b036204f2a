"""Start a training of a changed model from a trained one.

    python benchmarks/carry_over.py CHECKPOINT RECIPE --out FOLDER [--minutes 10] [KEY=VALUE ...]

The script copies the parameters of equal name and shape. It then trains the encoder of RECIPE's
model to match the latents of the checkpoint's encoder, on batches of the recipe's data, so that the
codebooks, the decoder and the discriminators still fit. It writes a checkpoint to FOLDER, which
`chirrup train RECIPE --out FOLDER` continues. The moments of the optimisers are reset.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import math
import time

import torch
from torch import Tensor, nn

from chirrup.lab.models import Model
from chirrup.lab.training.checkpoints import load_checkpoint, trained_model
from chirrup.lab.training.config import load_recipe
from chirrup.lab.training.loop import Trainer
from shared import console, continuing, table

WARM_UP = 0.02
"""Share of the time during which the learning rate rises."""
RATE = 1e-3


def copy_what_fits(source: nn.Module, target: nn.Module, fresh: str | None = None) -> list[str]:
    """Copy the parameters of equal name and shape, and return the names of all others.

    Args:
        fresh: part of the model that keeps its own parameters, such as "decoder".
    """
    old, new = source.state_dict(), target.state_dict()
    fits = {
        name: old[name]
        for name in new
        if name in old and old[name].shape == new[name].shape and name.partition(".")[0] != fresh
    }
    target.load_state_dict(fits, strict=False)
    return sorted(set(new) - set(fits))


def error(model: Model, teacher: Model, audio: Tensor) -> Tensor:
    """Return the squared error of the latents, relative to their variance."""
    with torch.no_grad():
        wanted = teacher.encoder.offline(audio)
    return (model.encoder.offline(audio) - wanted).square().mean() / wanted.var()


def fit_encoder(trainer: Trainer, teacher: Model, minutes: float) -> list[tuple[int, float]]:
    """Train the encoder alone for some minutes, and return the steps with their mean errors."""
    sampler = trainer.sampler()
    parameters = list(trainer.model.encoder.parameters())
    optimiser = torch.optim.AdamW(parameters, RATE, betas=(0.9, 0.99), fused=True)
    begun, step, figures, recent = time.monotonic(), 0, [], []
    while (share := (time.monotonic() - begun) / (60 * minutes)) < 1:
        trainer.generator.manual_seed(step)
        rising = min(1.0, (share + 1e-4) / WARM_UP)
        optimiser.param_groups[0]["lr"] = RATE * rising * (0.51 + 0.49 * math.cos(math.pi * share))
        audio = trainer.to_input_rate(
            trainer.model.tiled(sampler.batch(trainer.config.batch_size)[0])
        )
        loss = error(trainer.model, teacher, audio)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        recent.append(float(loss.detach()))
        step += 1
        if step % 100 == 0:
            figures.append((step, sum(recent) / len(recent)))
            recent = []
            console.print(f"step {step}: {figures[-1][1]:.4f} of the variance")
    return figures


def main() -> None:
    parser = continuing("Start a changed model from a trained one.")
    parser.add_argument("--minutes", type=float, default=10.0, help="0: no part is trained")
    parser.add_argument("--fresh", metavar="PART", help="part that begins anew, such as decoder")
    options = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    saved = load_checkpoint(options.checkpoint)
    teacher = trained_model(saved).requires_grad_(False).eval()
    trainer = Trainer(
        load_recipe(options.recipe, options.changes), options.out, torch.device("cpu")
    )
    fresh = copy_what_fits(teacher, trainer.model, options.fresh)
    trainer.adversary.discriminators.load_state_dict(saved["adversary"])
    trainer.usage.load_state_dict(saved["usage"])
    figures = fit_encoder(trainer, teacher, options.minutes) if options.minutes else []
    trainer.ema.load_state_dict(trainer.model.state_dict())
    trainer.step, trainer.hours = saved["step"], saved["hours"] + options.minutes / 60
    trainer.codebooks_started = saved["codebooks_started"]
    trainer.save()
    result = table(
        f"{len(fresh)} parameters were not copied", "steps", "error of the latents, % of variance"
    )
    for step, value in figures[-10:]:
        result.add_row(str(step), f"{100 * value:.2f}")
    console.print(result)


if __name__ == "__main__":
    main()
