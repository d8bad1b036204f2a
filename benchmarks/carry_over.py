"""Start a training of a changed model from a trained one.

    python benchmarks/carry_over.py CHECKPOINT RECIPE --out FOLDER [--minutes 10] [KEY=VALUE ...]

The script copies the parameters of equal name and shape. If RECIPE's model is a wider one of a kind
that `widening.py` knows, it embeds the checkpoint's model in it. It then trains the encoder of
RECIPE's model to match the latents of the checkpoint's encoder, on batches of the recipe's data, so
that the codebooks, the decoder and the discriminators still fit. If the recipe enhances speech, the
checkpoint's encoder receives the clean target. The script writes a checkpoint to FOLDER, which
`chirrup train RECIPE --out FOLDER` continues. The moments of the optimisers are reset.

Under torchrun every process draws its own batches, and gradients are averaged.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import math
import time

import torch
import torch.distributed as dist
from torch import Tensor, nn

from chirrup.lab.models import Model
from chirrup.lab.training.checkpoints import load_checkpoint, trained_model
from chirrup.lab.training.config import load_recipe
from chirrup.lab.training.distributed import (
    average_gradients,
    broadcast_decision,
    broadcast_parameters,
)
from chirrup.lab.training.loop import Trainer
from shared import check_new, console, continuing, run, table
from widening import widen

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


def error(model: Model, teacher: Model, audio: Tensor, target: Tensor) -> Tensor:
    """Return the squared error of the latents, relative to their variance.

    A wider model has further channels after the teacher's; they are free.
    """
    with torch.no_grad():
        wanted = teacher.encoder.offline(target)
    made = model.encoder.offline(audio)[:, : wanted.shape[1]]
    return (made - wanted).square().mean() / wanted.var()


def fit_encoder(trainer: Trainer, teacher: Model, minutes: float) -> list[tuple[int, float]]:
    """Train the encoder alone for some minutes, and return the steps with their mean errors."""
    sampler = trainer.sampler()
    parameters = list(trainer.model.encoder.parameters())
    optimiser = torch.optim.AdamW(parameters, RATE, betas=(0.9, 0.99), fused=True)
    begun, step, figures, recent = time.monotonic(), 0, [], []
    while not broadcast_decision(
        (share := (time.monotonic() - begun) / (60 * minutes)) >= 1, trainer.device
    ):
        trainer.generator.manual_seed(1_000_003 * trainer.rank + step)
        rising = min(1.0, (share + 1e-4) / WARM_UP)
        share = min(1.0, share)
        optimiser.param_groups[0]["lr"] = RATE * rising * (0.51 + 0.49 * math.cos(math.pi * share))
        audio, target = (
            trainer.to_input_rate(trainer.model.tiled(clips))
            for clips in sampler.batch(trainer.config.batch_size)
        )
        loss = error(trainer.model, teacher, audio, target)
        optimiser.zero_grad()
        loss.backward()
        average_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        recent.append(float(loss.detach()))
        step += 1
        if step % 100 == 0:
            figures.append((step, sum(recent) / len(recent)))
            recent = []
            if trainer.rank == 0:
                console.print(f"step {step}: {figures[-1][1]:.4f} of the variance")
    return figures


def main() -> None:
    parser = continuing("Start a changed model from a trained one.")
    parser.add_argument("--minutes", type=float, default=10.0, help="0: no part is trained")
    parser.add_argument("--fresh", metavar="PART", help="part that begins anew, such as decoder")
    options = parser.parse_intermixed_args()
    check_new(options.out)
    torch.set_num_threads(1)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
    saved = load_checkpoint(options.checkpoint)
    teacher = trained_model(saved).requires_grad_(False).eval()
    trainer = Trainer(
        load_recipe(options.recipe, options.changes), options.out, torch.device("cpu")
    )
    model = trainer.model
    fresh = [] if widen(teacher, model) else copy_what_fits(teacher, model, options.fresh)
    broadcast_parameters(model)
    trainer.adversary.discriminators.load_state_dict(saved["adversary"])
    trainer.codebooks.usage.load_state_dict(saved["usage"])
    trainer.forward.restore(saved.get("lessons") or {})
    figures = fit_encoder(trainer, teacher, options.minutes) if options.minutes else []
    trainer.ema.load_state_dict(trainer.model.state_dict())
    trainer.step, trainer.hours = saved["step"], saved["hours"] + options.minutes / 60
    trainer.codebooks.started = saved["codebooks_started"]
    trainer.save()
    result = table(
        f"{len(fresh)} parameters were not copied", "steps", "error of the latents, % of variance"
    )
    for step, value in figures[-10:]:
        result.add_row(str(step), f"{100 * value:.2f}")
    if trainer.rank == 0:
        console.print(result)


if __name__ == "__main__":
    run(main)
