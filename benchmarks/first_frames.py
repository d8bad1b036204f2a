"""Train the decoder of a checkpoint to begin as it goes on.

    python benchmarks/first_frames.py CHECKPOINT RECIPE --out FILE [--steps 1300] [KEY=VALUE ...]

A decoder can be loud in the first frames of a stream: its states are zeros, and a loss that aligns
levels, like PESQ, may reward a burst in one frame. The script trains the decoder from zero states
to give the audio of the unchanged decoder behind some lost frames. Encoder and codebooks stay, so
the codes do not change. FILE is a packed checkpoint.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import math
import tempfile
import time
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from chirrup.lab.models import Model
from chirrup.lab.training.batches.sampler import Sampler
from chirrup.lab.training.checkpoints import load_checkpoint, save_checkpoint, trained_model
from chirrup.lab.training.config import LossWeights, Stage, load_recipe
from chirrup.lab.training.loop import Trainer, normalise_level
from shared import console, continuing, run

LOST = 8
"""Lost frames before the stream, which bring the states of the unchanged decoder into order."""
FRAMES = 30
"""Frames of a clip."""
QUIETEST_DB = -60.0
WARM_UP = 60
"""Steps during which the learning rate rises."""
RATE = 2e-4
WEIGHTS = LossWeights(complex=3, mel=15)


def clips(trainer: Trainer, sampler: Sampler, generator: torch.Generator) -> Tensor:
    """Return clips of the recipe, some replaced by noise, half of them made quieter."""
    audio = trainer.model.tiled(sampler.batch(trainer.config.batch_size)[0])
    audio = audio[..., : FRAMES * trainer.model.frame_samples]
    noise = torch.randn(audio.shape, generator=generator) * audio.std((1, 2), keepdim=True)
    kind = torch.rand(len(audio), 1, 1, generator=generator)
    audio = torch.where(kind < 0.15, noise, audio)
    quieter = 10 ** (QUIETEST_DB * torch.rand(len(audio), 1, 1, generator=generator) / 20)
    return torch.where(
        torch.rand(len(audio), 1, 1, generator=generator) < 0.5, audio, audio * quieter
    )


def received(model: Model, audio: Tensor, generator: torch.Generator) -> Tensor:
    """Return the decoder's input for random numbers of codebooks, half of them the lowest ones."""
    codes = model.quantizer.encode(model.encoder.offline(audio))
    few = torch.randint(2, 4, (len(audio),), generator=generator)
    some = torch.randint(2, model.codebooks + 1, (len(audio),), generator=generator)
    used = torch.where(torch.rand(len(audio), generator=generator) < 0.5, few, some)
    codes[torch.arange(model.codebooks)[None, :, None] >= used[:, None, None].expand_as(codes)] = -1
    return model.quantizer.decode(codes)


def main() -> None:
    parser = continuing("Train the first frames of a decoder.")
    parser.add_argument("--steps", type=int, default=1300)
    options = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    saved = load_checkpoint(options.checkpoint)
    teacher = trained_model(saved).requires_grad_(False).eval()
    student = deepcopy(teacher)
    student.decoder.requires_grad_(True)
    with tempfile.TemporaryDirectory() as folder:
        recipe = load_recipe(options.recipe, options.changes)
        trainer = Trainer(recipe, Path(folder), torch.device("cpu"))
        begun = time.monotonic()
        train(trainer, teacher, student, options.steps)
    for name, value in student.state_dict().items():
        saved["model"][name] = value.to(saved["model"][name].dtype)
    saved.pop("ema", None)
    saved["hours"] += (time.monotonic() - begun) / 3600
    save_checkpoint(saved, options.out)


def train(trainer: Trainer, teacher: Model, student: Model, steps: int) -> None:
    """Train the decoder of ``student`` on batches of the trainer's recipe."""
    stage = Stage(name="first-frames", steps=steps, weights=WEIGHTS)
    sampler, generator = trainer.sampler(), torch.Generator()
    parameters = list(student.decoder.parameters())
    optimiser = torch.optim.Adam(parameters, RATE, betas=(0.9, 0.99), fused=True)
    delay, hop, recent = student.delay_samples, student.frame_samples, []
    for step in range(steps):
        trainer.generator.manual_seed(step)
        generator.manual_seed(step)
        rising = min(1.0, (step + 1) / WARM_UP)
        rate = RATE * rising * (0.501 + 0.499 * math.cos(math.pi * step / steps))
        optimiser.param_groups[0]["lr"] = rate
        with torch.no_grad():
            audio = clips(trainer, sampler, generator)
            latent = received(teacher, trainer.to_input_rate(audio), generator)
            lost = latent.new_zeros(*latent.shape[:2], LOST)
            wanted = teacher.decoder.offline(torch.cat([lost, latent], 2))[..., LOST * hop :]
        made = student.decoder.offline(latent)
        made, wanted = made[..., delay:], wanted[..., delay:]
        estimate, target = normalise_level(made, wanted, wanted)
        losses = trainer.reconstruction(estimate.flatten(0, 1), target.flatten(0, 1), stage)
        spectra = WEIGHTS.complex * losses["complex"] + WEIGHTS.mel * losses["mel"]
        distance = (estimate - target).abs()
        error = distance[..., : 4 * hop].mean() + distance.mean()
        loss = spectra + error
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        recent.append((float(spectra.detach()), float(error.detach())))
        if (step + 1) % 100 == 0:
            means = [sum(column) / len(recent) for column in zip(*recent)]
            console.print(f"step {step + 1}: spectra {means[0]:.3f}, waveform {means[1]:.3f}")
            recent = []


if __name__ == "__main__":
    run(main)
