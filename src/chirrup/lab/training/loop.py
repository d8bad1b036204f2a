"""The training loop, for every model.

The batch and the codebook dropout of a step depend on the seed, the process and the step number
only. So a resumed training continues exactly as an uninterrupted one.
"""

import json
import logging
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, RAdam
from torch.optim.swa_utils import get_ema_multi_avg_fn

from chirrup.errors import ModelError
from chirrup.files.drafts import written
from chirrup.lab import fast
from chirrup.lab.models import build
from chirrup.lab.training.adversarial.trainer import DiscriminatorTrainer
from chirrup.lab.training.batches.code_dropout import CodeDropout
from chirrup.lab.training.batches.corpus import build_sampler, warn_of_missing
from chirrup.lab.training.batches.resampler import Resampler
from chirrup.lab.training.batches.sampler import Sampler
from chirrup.lab.training.batches.windows import SlidingWindows
from chirrup.lab.training.checkpoints import (
    VERSION,
    load_checkpoint,
    refuses_other_checkpoints,
    restore_optimiser,
    save_checkpoint,
)
from chirrup.lab.training.checks import check_crops, check_losses, check_model, check_selection
from chirrup.lab.training.codebooks import CodebookTrainer, parameter_groups
from chirrup.lab.training.config import Stage, TrainingConfig
from chirrup.lab.training.distillation.feature_distillation import FeatureDistillation
from chirrup.lab.training.distillation.teachers import load_teacher
from chirrup.lab.training.distributed import (
    average_gradients,
    broadcast_decision,
    broadcast_parameters,
    process,
    processes,
)
from chirrup.lab.training.forward import Forward
from chirrup.lab.training.logger import TrainingLogger
from chirrup.lab.training.losses.reconstruction import ReconstructionLoss, normalise_level
from chirrup.lab.training.selection import Selection
from chirrup.lab.training.validation import validate, validates
from chirrup.lab.weights import load_weights

LOG = logging.getLogger(__name__)
OPTIMISERS = {"adamw": (AdamW, {"fused": True}), "radam": (RAdam, {"foreach": True})}


def describe_model(config: dict[str, Any]) -> str:
    """Name the model of a configuration, with its changes."""
    changes = config.get("model_changes")
    return config["model"] + (f" with {json.dumps(changes, sort_keys=True)}" if changes else "")


class Trainer:
    """One training in one folder: checkpoints, ``log.jsonl`` and TensorBoard's event files.

    Args:
        plain: whether to compute without the fast forms of `lab/fast`, and in bfloat16 wherever the
            recipe sets it. By default both depend on the processor.

    Raises:
        UsageError: the recipe does not fit its model.
        ModelError: the recipe's teacher cannot be loaded.
    """

    def __init__(
        self, config: TrainingConfig, folder: Path, device: torch.device, *, plain: bool = False
    ) -> None:
        self.config, self.folder, self.device = config, folder, device
        self.rank = process()
        torch.manual_seed(config.seed)
        self.model = build(config.model, **config.model_changes).to(device)
        check_model(config, self.model)
        check_selection(config, self.model)
        self.ema = build(config.model, **config.model_changes).to(device).requires_grad_(False)
        self.ema.load_state_dict(self.model.state_dict())
        self.codebooks = CodebookTrainer(self.model, self.ema, config.codes, config.seed, device)
        self.to_input_rate = Resampler(self.model.sample_rate_hz, self.model.input_rate_hz)
        self.to_input_rate.to(device)
        self.teacher = None
        if config.teacher is not None and any(stage.needs_teacher for stage in config.stages):
            self.teacher = load_teacher(config.teacher).to(device)
        self.reconstruction = ReconstructionLoss(config, self.model.sample_rate_hz, self.teacher)
        self.reconstruction.to(device)
        if any(stage.distils for stage in config.stages):
            self.forward: Forward = FeatureDistillation(config, self.model, self.teacher)
        else:
            self.forward = Forward(config.codes, self.model)
        self.parameters = list(self.model.parameters())
        self.parts = self.model.parts()
        kind, options = OPTIMISERS[config.optimiser]
        options = options | {"betas": config.betas, "weight_decay": config.weight_decay}
        self.groups = parameter_groups(self.model)
        named = dict(self.model.named_parameters())
        others, entries = ([named[name] for name in names] for names in self.groups)
        groups = [{"params": others}, {"params": entries, "weight_decay": 0.0}]
        self.optimiser = kind(groups, lr=config.learning_rate, **options)
        self.adversary_optimiser = partial(kind, lr=config.adversary.learning_rate, **options)
        self.adversary = DiscriminatorTrainer(
            config.adversary, self.model.channels, device, self.adversary_optimiser
        )
        self.step, self.hours, self.selection = 0, 0.0, Selection(config.select)
        self.generator = torch.Generator()
        self.bf16, self.fast = config.bf16, device.type == "cpu" and not plain
        broadcast_parameters(self.model)

    # --- the run ---------------------------------------------------------------------------------

    def run(self, minutes: float | None = None) -> None:
        """Train to the recipe's last step, or for ``minutes``; write a checkpoint at the end."""
        config = self.config
        check_losses(config, self.step, self.folder)
        sampler = self.sampler()
        log = TrainingLogger(self.folder, config.steps, self.step, quiet=self.rank != 0)
        validating = self.rank == 0 and validates(config.data)
        begun = saved = time.monotonic()
        hours_before = self.hours
        with log:
            while self.step < config.steps:
                figures = self.train_step(sampler)
                self.step += 1
                now = time.monotonic()
                self.hours = hours_before + (now - begun) / 3600
                log.figures(self.step, self.hours, figures)
                if validating and self.step % config.validate_every == 0:
                    mel = self.reconstruction.spectral
                    result = validate(self.ema, config.data, config.codes.lowest, mel)
                    result.figures |= self.codebooks.usage.figures()
                    log.validation(self.step, self.hours, result)
                    for score in self.selection.improved(result.figures):
                        self.save(f"best-{score}.pt")
                if now - saved > 60 * config.checkpoint_minutes:
                    self.save()
                    saved = now
                if minutes is not None and broadcast_decision(
                    now - begun > 60 * minutes, self.device
                ):
                    break
            self.save()

    def sampler(self) -> Sampler:
        """Open the corpus, then compile the fast forms, which can take minutes.

        Raises:
            UsageError: crops are too short for the losses or the codebooks.
            ModelError: the corpus cannot be read.
        """
        model, data = self.model, self.config.data
        chunk = model.chunk_frames * model.frame_samples
        rate_hz, channels = model.sample_rate_hz, model.channels
        sampler = build_sampler(data, rate_hz, chunk, self.generator, self.device, channels)
        if data.epoch_recordings:
            sampler.windows = SlidingWindows(
                sampler.speech.length,
                sampler.crop_samples,
                recordings=data.epoch_recordings,
                batch=self.config.batch_size,
                process=self.rank,
                processes=processes(),
                seed=self.config.seed,
            )
        if self.rank == 0:
            warn_of_missing(data, sampler)
        quantizes = any(stage.quantize for stage in self.config.stages)
        starts = quantizes and not self.codebooks.started
        check_crops(self.config, model, sampler.crop_samples, starts_codebooks=starts)
        if self.fast:
            self.use_fast_forms(sampler)
        return sampler

    def use_fast_forms(self, sampler: Sampler) -> None:
        """Use fast forms, and bfloat16 only if the CPU has fast products in it."""
        for owner in (self.model, self.reconstruction, self.teacher, sampler):
            fast.enable(owner)
        self.adversary.use_fast_forms()
        self.bf16 = self.reconstruction.bf16 = self.config.bf16 and fast.products_in_bf16()

    # --- one step --------------------------------------------------------------------------------

    def train_step(self, sampler: Sampler) -> dict[str, float]:
        """Update the model, and the discriminators if it is their turn.

        Returns:
            Losses and other figures by name.
        """
        config = self.config
        index, stage = config.stage_at(self.step)
        trained = self.set_trainable(stage)
        sampler.set_conditions(stage.conditions or config.data.conditions)
        self.generator.manual_seed((config.seed * 1009 + self.rank) * 1_000_003 + self.step)
        if self.step == 0:
            self.start_model(sampler)
        if stage.quantize and not self.codebooks.started:
            self.start_codebooks(sampler)
        learning_rate = self.set_learning_rate(stage)

        audio, target = map(self.model.tiled, sampler.step_batch(self.step, config.batch_size))
        dropout = self.draw_dropout(audio, stage)
        model_input = self.to_input_rate(audio)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            output = self.forward(model_input, stage, dropout)
        quantized = output.quantized if stage.quantize else None
        weights, losses = stage.weights, dict(output.losses)
        figures: dict[str, float] = {}
        gradients: list[tuple[Tensor, Tensor]] = []  # of the losses through the discriminators
        if output.audio is not None:
            delay = self.model.delay_samples
            whole = audio.shape[2] - delay
            estimate, target = normalise_level(
                output.audio[:, :, delay:], target[:, :, :whole], audio[:, :, :whole]
            )
            # Losses treat every channel as a clip.
            estimate, target = estimate.flatten(0, 1), target.flatten(0, 1)
            losses |= self.reconstruction(estimate, target, stage)
            if stage.adversarial and self.step % config.adversary.every == 0:
                adversarial, gradient = self.adversary.step(estimate, target, weights.model_dump())
                figures |= adversarial
                gradients = [(estimate, gradient)]
        if quantized is not None:
            losses |= quantized.losses
        loss = torch.stack([getattr(weights, name) * value for name, value in losses.items()]).sum()
        outputs, seeds = zip(*gradients, (loss, torch.ones_like(loss)))
        self.optimiser.zero_grad()
        torch.autograd.backward(list(outputs), list(seeds))
        average_gradients(trained)
        norm = self.update(trained)
        self.update_ema()
        if quantized is not None:
            self.codebooks.update(quantized, self.step, self.generator, stage.trains_quantizer)

        figures |= {name: float(value.detach()) for name, value in losses.items()}
        figures |= {"loss": float(loss.detach()), "gradient": float(norm), "stage": index}
        figures["learning_rate"] = learning_rate
        if quantized is not None:
            figures["perplexity"] = float(self.codebooks.usage.perplexity().mean())
            figures["entries_used"] = float(self.codebooks.usage.used().mean())
        return figures

    def set_trainable(self, stage: Stage) -> list[nn.Parameter]:
        """Enable gradients for the parts that the stage trains, disable them for the others.

        Returns:
            The parameters that the stage trains.
        """
        idle = () if stage.quantize else ("quantizer",)
        parts = stage.train or [part for part in self.parts if part not in idle]
        trained = [parameter for part in parts for parameter in self.parts[part]]
        chosen = {id(parameter) for parameter in trained}
        for parameter in self.parameters:
            parameter.requires_grad_(id(parameter) in chosen)
        return trained

    def set_learning_rate(self, stage: Stage) -> float:
        """Set the learning rates of this step; return the model's."""
        config = self.config
        learning_rate = config.learning_rate_at(self.step)
        for group, scale in zip(self.optimiser.param_groups, (1.0, config.codes.lr_scale)):
            group["lr"] = learning_rate * scale
        share = learning_rate / config.first_rate(stage)
        self.adversary.set_learning_rate(share * config.adversary.learning_rate)
        return learning_rate

    def draw_dropout(self, audio: Tensor, stage: Stage) -> CodeDropout:
        """Draw the dropout of codes for ``audio [batch, channels, samples]``."""
        model = self.model
        chunks = audio.shape[2] // (model.chunk_frames * model.frame_samples)
        return CodeDropout.draw(
            self.config.codes,
            model.codebooks,
            model.codebook_size,
            (len(audio), chunks),
            model.chunk_frames,
            self.generator,
            quantize=stage.quantize,
        ).to(self.device)

    def update(self, trained: list[nn.Parameter]) -> Tensor:
        """Clip the gradients and step the optimiser; return the norm before clipping."""
        gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if torch.isfinite(norm):
            excess = (norm / (self.config.clip_norm or torch.inf)).clamp(min=1)
            if self.optimiser.defaults.get("fused"):  # divides in the pass of its update
                self.optimiser.grad_scale = excess  # type: ignore[attr-defined]
            else:
                torch._foreach_div_(gradients, excess)
            self.optimiser.step()
        return norm

    @torch.no_grad()
    def update_ema(self) -> None:
        """Move the averaged weights towards the model's."""
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        averages = list(self.ema.parameters())
        get_ema_multi_avg_fn(decay)(averages, self.parameters, self.step)  # type: ignore[arg-type]
        for copied, buffer in zip(self.ema.buffers(), self.model.buffers(), strict=True):
            copied.copy_(buffer)

    def start_model(self, sampler: Sampler) -> None:
        """Initialise a new model from a large batch."""
        audio = self.to_input_rate(sampler.batch(8 * self.config.batch_size)[0])
        self.forward.initialise(audio)
        broadcast_parameters(self.model)
        self.ema.load_state_dict(self.model.state_dict())

    def start_codebooks(self, sampler: Sampler) -> None:
        """Initialise the codebooks from a few batches."""
        batches = self.config.codes.initialise_batches
        LOG.info("step %d: initialising the codebooks from %d batches", self.step, batches)
        draws = (sampler.batch(self.config.batch_size)[0] for _ in range(batches))
        self.codebooks.start(map(self.to_input_rate, draws))

    # --- checkpoint ------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the content of a checkpoint."""
        return {
            "version": VERSION,
            "step": self.step,
            "hours": self.hours,
            "codebooks_started": self.codebooks.started,
            "best": self.selection.best,
            "config": self.config.model_dump(mode="json"),
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "usage": self.codebooks.usage.state_dict(),
            "lessons": self.forward.state(),
            "optimiser": self.optimiser.state_dict(),
            **self.adversary.state(),
        }

    def save(self, name: str = "checkpoint.pt") -> None:
        """Write a checkpoint. If it is interrupted, the previous one remains."""
        if self.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_checkpoint(self.state(), self.folder / name)
            text = json.dumps(self.config.model_dump(mode="json"), indent=1)
            with written(self.folder / "config.json") as draft:
                draft.write_text(text + "\n")

    @refuses_other_checkpoints
    def restore(self, path: Path) -> None:
        """Continue from a checkpoint. Discriminators that it does not have start untrained.

        Raises:
            ModelError: the checkpoint is damaged, or it is from a training of another model.
        """
        saved = load_checkpoint(path)
        other, own = map(describe_model, (saved["config"], self.config.model_dump(mode="json")))
        if other != own:
            raise ModelError(
                f"{path} is a training of {other}, the recipe's model is {own}: choose another "
                "folder"
            )
        self.step, self.hours = saved["step"], saved["hours"]
        self.codebooks.started |= saved["codebooks_started"]
        saved.setdefault("ema", saved["model"])
        try:
            load_weights(self.model, saved["model"])
            load_weights(self.ema, saved["ema"])
            load_weights(self.codebooks.usage, saved["usage"])
        except ValueError as error:
            raise ModelError(
                f"{path} is a training of another {own}: {error}: choose another folder"
            ) from error
        restore_optimiser(self.optimiser, saved["optimiser"], saved["model"], self.groups)
        self.selection.restore(saved.get("best") or {})
        self.forward.restore(saved.get("lessons") or {})
        self.adversary.restore(saved)
