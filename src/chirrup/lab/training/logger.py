"""Progress of a training: JSON lines, TensorBoard events, and a bar on the terminal."""

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text
from torch.utils.tensorboard import SummaryWriter

from chirrup.lab.training.validation import Validation

FIGURES_EVERY = 20
FIGURES_SHOWN = 8


class _Progress(Progress):
    """A progress bar with figures on the line below, where they are not cut off."""

    figures = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text(self.figures)


class TrainingLogger:
    """Writes ``log.jsonl`` and TensorBoard's event files into ``folder``."""

    def __init__(self, folder: Path, steps: int, step: int, *, quiet: bool) -> None:
        self.quiet = quiet
        self.sums: dict[str, list[float]] = {}
        if quiet:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.lines = (folder / "log.jsonl").open("a")
        self.board = SummaryWriter(str(folder))
        screen = Console(stderr=True)
        self.progress = _Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=screen,
            disable=not screen.is_terminal,
        )
        self.task = self.progress.add_task("training", total=steps, completed=step)

    def __enter__(self) -> "TrainingLogger":
        if not self.quiet:
            self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if not self.quiet:
            self.progress.stop()
            self.board.close()
            self.lines.close()

    def figures(self, step: int, hours: float, figures: dict[str, float]) -> None:
        """Add a step's figures; their means are written every `FIGURES_EVERY` steps."""
        if self.quiet:
            return
        for name, value in figures.items():
            self.sums.setdefault(name, []).append(value)
        if step % FIGURES_EVERY:
            return
        means = {name: sum(values) / len(values) for name, values in self.sums.items()}
        self.sums.clear()
        self.write({"step": step, "hours": round(hours, 4)} | means)
        for name, value in means.items():
            self.board.add_scalar(f"train/{name}", value, step)
        shown = list(means.items())[:FIGURES_SHOWN]
        self.progress.figures = "  ".join(f"{name} {value:.3g}" for name, value in shown)
        self.progress.update(self.task, completed=step)

    def validation(self, step: int, hours: float, result: Validation) -> None:
        """Write the figures, audio and spectrograms of a validation."""
        self.write({"step": step, "hours": round(hours, 4)} | result.figures)
        for name, value in result.figures.items():
            self.board.add_scalar(f"validation/{name}", value, step)
        for name, audio in result.audio.items():
            self.board.add_audio(name, audio, step, sample_rate=result.sample_rate_hz)
        for name, picture in result.spectrograms.items():
            self.board.add_image(name, picture, step, dataformats="HW")
        self.board.flush()

    def write(self, record: dict[str, float]) -> None:
        self.lines.write(json.dumps({k: round(v, 5) for k, v in record.items()}) + "\n")
        self.lines.flush()
