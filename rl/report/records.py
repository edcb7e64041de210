"""What a run of reinforcement learning writes down while it goes: figures, films and curves."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ivideo import Episode
from ivideo.progress import Progress
from ivideo.training.run import RunFolder
from ivideo.video import write_video
from rl.report.curves import write_curves
from rl.report.films import film, film_strip
from rl.report.metrics import Metrics

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

HEADLINE = ("train/return", "train/success", "eval/return", "eval/success")
"""Figures that the progress line shows, as far as they were measured."""
FPS = 10


class RunRecords:
    """What a run writes down; steps are environment steps. Use it in a `with` statement.

    ::

        metrics.jsonl     tensorboard/     media/<step>-<name>.mp4 .png     curves.png

    What the disk does not take is an OSError in one line, with what to do.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        steps: int,
        start: int = 0,
        seconds: float = 0.0,
        headline: Sequence[str] = HEADLINE,
        silent: bool = False,
    ) -> None:
        """Prepare to write; call it after `RunFolder.begin`.

        Args:
            folder: the run's.
            steps: environment steps of the whole run.
            start: steps that are done already, where the run was taken up again.
            seconds: how long it took until then.
            headline: names of the figures in the progress line.
            silent: show no progress.
        """
        self.folder = folder
        self.progress_line = Progress(start=start, steps=steps, headline=headline, silent=silent)
        self._start = start
        self._latest = start
        self._known, self._at = seconds, time.monotonic()
        self._events: SummaryWriter | None = None

    def __enter__(self) -> Self:
        if self.folder.config.tensorboard:
            self._write(self._open_events)
        self.progress_line.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress_line.update(self._latest, self.seconds, last=True)
        self.progress_line.__exit__()
        if self._events is not None:
            self._events.close()
            self._events = None

    @property
    def seconds(self) -> float:
        """How long the run has taken, all its legs together."""
        return self._known + time.monotonic() - self._at

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Write down figures of a step, and with them the minutes so far; those that are not finite become null."""
        self._latest = max(self._latest, step)
        self.progress_line.note(figures)
        self._write(partial(self.folder.record, step, {"minutes": round(self.seconds / 60, 4), **figures}))
        if self._events is not None:
            for name, value in figures.items():
                self._write(partial(self._events.add_scalar, name, value, step))

    def progress(self, step: int, seconds: float) -> None:
        """Say that `step` steps are done after `seconds` of the run, all its legs together; shown now and then."""
        self._latest = max(self._latest, step)
        self._known, self._at = seconds, time.monotonic()
        self.progress_line.update(step, seconds)

    def say(self, message: str) -> None:
        """Show a message of its own."""
        self.progress_line.say(message)

    def film(self, step: int, name: str, real: Episode, imagined: Episode | None = None, *, fps: float = FPS) -> Path:
        """Draw an episode, beside what was imagined under its actions if that is given, as mp4 and as png.

        Returns the mp4's path: media/00005000-NAME.mp4.
        """
        path = self.folder.path / "media" / f"{step:08d}-{name}.mp4"
        self._write(partial(write_video, path, film(real, imagined), fps))
        self._write(partial(write_video, path.with_suffix(".png"), film_strip(real, imagined)[None]))
        return path

    def curves(self) -> None:
        """Draw curves.png anew from metrics.jsonl; nothing while nothing is measured."""
        path = self.folder.path / "metrics.jsonl"
        if path.is_file():
            measured = {self.folder.path.name: [Metrics.read(path)]}
            self._write(partial(write_curves, self.folder.path / "curves.png", measured))

    def _open_events(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Events that lie after what the run was taken up from are measured again.
        purge = self._start + 1 if self.folder.resuming else None
        self._events = SummaryWriter(str(self.folder.path / "tensorboard"), purge_step=purge)

    def _write(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            reason = error.strerror or " ".join(str(error).split())
            raise OSError(
                f"cannot write to {self.folder.path} ({reason}); checkpoints saved before are whole: make room, "
                "then resume"
            ) from error
