"""The training loop, for every model.

A step draws its batch and its dropped codebooks from (seed, rank, step) alone: the step number is
the whole state of the data, so a stopped run goes on exactly as it would have.
"""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import AdamW, RAdam
from torch.optim.swa_utils import get_ema_multi_avg_fn

from chirrup.errors import ModelError, UsageError
from chirrup.files.drafts import written
from chirrup.lab import fast
from chirrup.lab.models import build
from chirrup.lab.training import codebooks
from chirrup.lab.training.adversarial.adversary import Adversary
from chirrup.lab.training.batches.corpus import sampler_of, warn_of_lacking
from chirrup.lab.training.batches.data import Sampler
from chirrup.lab.training.batches.draws import draw_lost, draw_used
from chirrup.lab.training.batches.resampling import Resampler
from chirrup.lab.training.checkpoints import (
    VERSION,
    load_checkpoint,
    refuses_other_checkpoints,
    restore_optimiser,
    save_checkpoint,
)
from chirrup.lab.training.comparison import Comparison
from chirrup.lab.training.config import Stage, TrainingConfig
from chirrup.lab.training.distillation.distillation import Lessons, Made
from chirrup.lab.training.distillation.teachers import load_teacher
from chirrup.lab.training.distributed import (
    add_up,
    average_gradients,
    first_says,
    gathered,
    share_parameters,
)
from chirrup.lab.training.logbook import Logbook
from chirrup.lab.training.losses.losses import normalise_level
from chirrup.lab.training.validation import validate
from chirrup.lab.weights import load_weights

OPTIMISERS = {"adamw": (AdamW, {"fused": True}), "radam": (RAdam, {"foreach": True})}


def in_words(config: dict[str, Any]) -> str:
    """Which model a configuration is for."""
    changes = config.get("model_changes")
    return config["model"] + (f" with {json.dumps(changes, sort_keys=True)}" if changes else "")


class Trainer:
    """One training run in one folder: ``checkpoint.pt``, ``log.jsonl`` and TensorBoard's files.

    Args:
        plain: compute without the fast forms of `lab/fast`, and in bfloat16 wherever the recipe has
            it. Without, both follow from the processor at hand.
    """

    def __init__(
        self, config: TrainingConfig, folder: Path, device: torch.device, *, plain: bool = False
    ) -> None:
        self.config, self.folder, self.device = config, folder, device
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        torch.manual_seed(config.seed)
        self.model = build(config.model, **config.model_changes).to(device)
        if config.codes.lowest > self.model.codebooks:
            raise UsageError(f"codes.lowest must be at most {self.model.codebooks}, all codebooks")
        self.ema = build(config.model, **config.model_changes).to(device).requires_grad_(False)
        self.ema.load_state_dict(self.model.state_dict())
        self.levels = self.model.quantizer.trained_levels
        books, size = self.model.codebooks, self.model.codebook_size
        self.usage = codebooks.Usage(books, size, from_data=bool(self.levels)).to(device)
        self.to_input_rate = Resampler(self.model.sample_rate_hz, self.model.input_rate_hz)
        self.to_input_rate.to(device)
        teacher = None
        if config.teacher is not None and any(stage.needs_teacher for stage in config.stages):
            teacher = load_teacher(config.teacher).to(device)
        self.comparison = Comparison(config, self.model.sample_rate_hz, teacher).to(device)
        self.lessons = None
        if any(stage.teaches for stage in config.stages):
            self.lessons = Lessons(config, self.model, teacher)
        self.parameters = list(self.model.parameters())
        self.parts = self.model.parts()
        for stage in config.stages:
            if strange := set(stage.train) - set(self.parts):
                raise UsageError(
                    f"stage {stage.name} is to train {', '.join(sorted(strange))}: "
                    f"{config.model} has {', '.join(self.parts)}"
                )
        kind, options = OPTIMISERS[config.optimiser]
        options = options | {"betas": config.betas, "weight_decay": config.weight_decay}
        self.groups = codebooks.entries_apart(self.model, self.levels)
        named = dict(self.model.named_parameters())
        others, entries = ([named[name] for name in names] for names in self.groups)
        groups = [{"params": others}, {"params": entries, "weight_decay": 0.0}]
        self.optimiser = kind(groups, lr=config.learning_rate, **options)
        self.adversary_optimiser = partial(kind, lr=config.adversary.learning_rate, **options)
        self.adversary = Adversary(
            config.adversary, self.model.channels, device, self.adversary_optimiser
        )
        self.step, self.hours = 0, 0.0
        self.codebooks_started = False
        self.generator = torch.Generator()
        self.bf16, self.fast = config.bf16, device.type == "cpu" and not plain
        if self.fast:
            fast.enable(self.model)
            fast.enable(self.comparison)
            self.adversary.use_fast_forms()
            self.bf16 = self.comparison.bf16 = config.bf16 and fast.products_in_bf16()
        share_parameters(self.model)

    # --- the run ---------------------------------------------------------------------------------

    def run(self, minutes: float | None = None) -> None:
        """Train to the recipe's last step, or for ``minutes``; a checkpoint is kept either way."""
        config = self.config
        sampler = self.sampler()
        log = Logbook(self.folder, config.steps, self.step, quiet=self.rank != 0)
        begun = saved = time.monotonic()
        hours_before = self.hours
        with log:
            while self.step < config.steps:
                figures = self.train_step(sampler)
                self.step += 1
                now = time.monotonic()
                self.hours = hours_before + (now - begun) / 3600
                log.figures(self.step, self.hours, figures)
                if self.step % config.validate_every == 0 and self.rank == 0:
                    result = validate(self.ema, config.data, config.codes.lowest)
                    result.figures |= self.usage.figures()
                    log.validation(self.step, self.hours, result)
                if now - saved > 60 * config.checkpoint_minutes:
                    self.save()
                    saved = now
                if minutes is not None and first_says(now - begun > 60 * minutes, self.device):
                    break
            self.save()

    def sampler(self) -> Sampler:
        model, data = self.model, self.config.data
        chunk = model.chunk_frames * model.frame_samples
        rate_hz, channels = model.sample_rate_hz, model.channels
        sampler = sampler_of(data, rate_hz, chunk, self.generator, self.device, channels)
        if self.rank == 0:
            warn_of_lacking(data, sampler)
        longest = max(self.config.spectra.n_ffts)
        if sampler.crop_samples - model.delay_samples < longest:
            raise UsageError(f"data.crop_seconds is shorter than a window of {longest} samples")
        if not self.codebooks_started and any(stage.quantize for stage in self.config.stages):
            crops = self.config.codes.initialise_batches * self.config.batch_size
            crops *= dist.get_world_size() if dist.is_initialized() else 1
            frames = sampler.crop_samples // model.frame_samples
            codebooks.check_start(model.quantizer, crops * frames)
        if self.fast:
            fast.enable(sampler)
        return sampler

    # --- one step --------------------------------------------------------------------------------

    def train_step(self, sampler: Sampler) -> dict[str, float]:
        """One update of the model, and of the discriminators when it is their turn."""
        config = self.config
        index, stage = config.stage_at(self.step)
        trained = self.set_trainable(stage)
        sampler.set_conditions(stage.conditions or config.data.conditions)
        self.generator.manual_seed((config.seed * 1009 + self.rank) * 1_000_003 + self.step)
        if self.step == 0:
            self.start_model(sampler)
        if stage.quantize and not self.codebooks_started:
            self.start_codebooks(sampler)
        learning_rate = config.learning_rate_at(self.step)
        for group, scale in zip(self.optimiser.param_groups, (1.0, config.codes.lr_scale)):
            group["lr"] = learning_rate * scale
        share = learning_rate / config.learning_rate
        self.adversary.set_learning_rate(share * config.adversary.learning_rate)

        audio, target = map(self.model.tiled, sampler.batch(config.batch_size))
        made = self.make(audio, stage)
        quantized = made.quantized if stage.quantize else None
        weights, terms = stage.weights, dict(made.terms)
        figures: dict[str, float] = {}
        gradients: list[tuple[Tensor, Tensor]] = []  # known ones, of tensors beside the loss
        if made.audio is not None:
            delay = self.model.delay_samples
            whole = audio.shape[2] - delay
            estimate, target = normalise_level(
                made.audio[:, :, delay:], target[:, :, :whole], audio[:, :, :whole]
            )
            # each channel by itself
            estimate, target = estimate.flatten(0, 1), target.flatten(0, 1)
            terms |= self.comparison(estimate, target, stage)
            if stage.adversarial and self.step % config.adversary.every == 0:
                own, through = self.adversary.turn(estimate, target, weights.model_dump())
                figures |= own
                gradients = [(estimate, through)]
        if quantized is not None:
            terms |= quantized.losses
        loss = torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()
        outputs, seeds = zip(*gradients, (loss, torch.ones_like(loss)))
        self.optimiser.zero_grad()
        torch.autograd.backward(list(outputs), list(seeds))
        average_gradients(trained)
        norm = self.update(trained)
        self.update_ema()
        if quantized is not None:
            self.update_codebooks(quantized.codes, quantized.projected)

        figures |= {name: float(value.detach()) for name, value in terms.items()}
        figures |= {"loss": float(loss.detach()), "gradient": float(norm), "stage": index}
        figures["learning_rate"] = learning_rate
        if quantized is not None:
            figures["perplexity"] = float(self.usage.perplexity().mean())
            figures["entries_used"] = float(self.usage.used().mean())
        return figures

    def set_trainable(self, stage: Stage) -> list[nn.Parameter]:
        """Let the stage's parts learn, and no others; their parameters."""
        idle = () if stage.quantize else ("quantizer",)
        parts = stage.train or [part for part in self.parts if part not in idle]
        trained = [parameter for part in parts for parameter in self.parts[part]]
        chosen = {id(parameter) for parameter in trained}
        for parameter in self.parameters:
            parameter.requires_grad_(id(parameter) in chosen)
        return trained

    def make(self, audio: Tensor, stage: Stage) -> Made:
        """What the model makes of ``audio [batch, channels, samples]`` in a stage."""
        used, bypass, present = self.draw_codes(audio, stage)
        heard = self.to_input_rate(audio)
        committed = None if self.config.codes.commit_bypassed else ~bypass
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            if stage.teaches and self.lessons is not None:
                return self.lessons(heard, stage, bypass, present)
            return Made(
                *self.model(heard, used if stage.quantize else None, bypass, present, committed)
            )

    def draw_codes(self, audio: Tensor, stage: Stage) -> tuple[Tensor, Tensor, Tensor]:
        """Per row: codebooks in use, bypass of the quantizer, frames that arrive."""
        codes, batch = self.config.codes, len(audio)
        chunk = self.model.chunk_frames
        chunks = audio.shape[2] // (chunk * self.model.frame_samples)
        used = draw_used(codes, self.model.codebooks, batch, self.generator)
        bypass = torch.rand(batch, generator=self.generator) < codes.bypass
        bypass |= not stage.quantize
        lost = draw_lost(codes, batch, chunks, self.generator) & stage.quantize
        lost = lost.repeat_interleave(chunk, dim=1)
        return used.to(self.device), bypass.to(self.device), ~lost.to(self.device)

    def update(self, trained: list[nn.Parameter]) -> Tensor:
        """Clip the gradients and step the optimiser; the gradients' norm before."""
        norm = nn.utils.clip_grad_norm_(trained, self.config.clip_norm)
        if torch.isfinite(norm):
            self.optimiser.step()
        return norm

    @torch.no_grad()
    def update_ema(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        averages = list(self.ema.parameters())
        get_ema_multi_avg_fn(decay)(averages, self.parameters, self.step)  # type: ignore[arg-type]
        for copied, buffer in zip(self.ema.buffers(), self.model.buffers(), strict=True):
            copied.copy_(buffer)

    # --- starts from data, and codebooks ------------------------------------------------------

    def start_model(self, sampler: Sampler) -> None:
        audio = self.to_input_rate(sampler.batch(8 * self.config.batch_size)[0])
        self.model.start(audio)
        if self.lessons is not None:
            self.lessons.start(audio)
        share_parameters(self.model)
        self.ema.load_state_dict(self.model.state_dict())

    @torch.no_grad()
    def start_codebooks(self, sampler: Sampler) -> None:
        """Start the codebooks from the latents of a few batches, alike in every process."""
        self.codebooks_started = True
        if not self.levels:
            return
        latents: list[Tensor] = []
        for _ in range(self.config.codes.initialise_batches):
            audio = self.to_input_rate(sampler.batch(self.config.batch_size)[0])
            latent = self.model.encoder.offline(self.model.tiled(audio))
            latents.append(latent.transpose(1, 2).flatten(0, 1))
        vectors = gathered(torch.cat(latents))
        factor = float(1 / vectors.std())
        if self.model.scale_latents(factor):
            self.ema.scale_latents(factor)
            vectors *= factor
        codebooks.initialise(self.model.quantizer, vectors, self.config.seed)
        share_parameters(self.model)
        self.ema.quantizer.load_state_dict(self.model.quantizer.state_dict())

    def update_codebooks(self, codes: Tensor, projected: Tensor) -> None:
        self.usage.update(add_up(codebooks.counts(codes, self.model.codebook_size)))
        codebooks.ema_update(self.model.quantizer, codes, projected)
        if (self.step + 1) % self.config.codes.revive_every == 0:
            below = self.config.codes.revive_below
            self.usage.revive(self.model.quantizer, projected, below, self.generator)
            share_parameters(self.model.quantizer)
            share_parameters(self.usage)

    # --- checkpoint ------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "step": self.step,
            "hours": self.hours,
            "codebooks_started": self.codebooks_started,
            "config": self.config.model_dump(mode="json"),
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "usage": self.usage.state_dict(),
            "lessons": self.lessons and self.lessons.state(),
            "optimiser": self.optimiser.state_dict(),
            **self.adversary.state(),
        }

    def save(self) -> None:
        """Write the checkpoint; a kill in the middle leaves the one before."""
        if self.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_checkpoint(self.state(), self.folder / "checkpoint.pt")
            text = json.dumps(self.config.model_dump(mode="json"), indent=1)
            with written(self.folder / "config.json") as draft:
                draft.write_text(text + "\n")

    @refuses_other_checkpoints
    def restore(self, path: Path) -> None:
        """Go on from a checkpoint; parts that the recipe has added since start afresh."""
        saved = load_checkpoint(path)
        theirs, ours = map(in_words, (saved["config"], self.config.model_dump(mode="json")))
        if theirs != ours:
            raise ModelError(
                f"{path} is a training of {theirs}, the recipe's model is {ours}: choose another "
                "folder"
            )
        self.step, self.hours = saved["step"], saved["hours"]
        self.codebooks_started = saved["codebooks_started"]
        saved.setdefault("ema", saved["model"])
        try:
            for name in ("model", "ema", "usage"):
                load_weights(getattr(self, name), saved[name])
        except ValueError as error:
            raise ModelError(
                f"{path} is a training of another {ours}: {error}: choose another folder"
            ) from error
        restore_optimiser(self.optimiser, saved["optimiser"], saved["model"], self.groups)
        if self.lessons is not None and saved.get("lessons"):
            self.lessons.restore(saved["lessons"])
        self.adversary.restore(saved)
