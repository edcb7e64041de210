"""The one training loop: updates, evaluations, checkpoints, resuming and stopping, on Lightning Fabric.

A step is one update of the weights. Batch i is a function of i alone and the number of batches in an update stays the
same through a run, so that the counter is all there is to remember of the data. Whatever decides how a run goes on (a
signal, the clock, a loss that is not finite, a full disk) is decided by all processes together.
"""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch import nn

from ivideo.files import staged_folder
from ivideo.progress import Progress
from ivideo.training import randomness
from ivideo.training.divergence import Divergences
from ivideo.training.engine import children, start_fabric
from ivideo.training.feed import Feed
from ivideo.training.group import Group
from ivideo.training.loop_config import LoopConfig
from ivideo.training.optim import OptimizerConfig
from ivideo.training.outcome import Evaluation, FitResult
from ivideo.training.records import Records, means
from ivideo.training.run import RunFolder
from ivideo.training.sharding import put_together
from ivideo.training.share import batches_each, batches_per_update
from ivideo.training.signals import StopRequestedError, StopSignals
from ivideo.training.state import TrainingState
from ivideo.training.updates import Logs, Loss, NotFiniteError, T, Updates


def fit(
    module: nn.Module,
    loss: Loss[T],
    batches: Callable[[int], T],
    *,
    loop: LoopConfig,
    optimizer: OptimizerConfig,
    run: RunFolder | None = None,
    evaluate: Callable[[int], Evaluation] | None = None,
    export: Callable[[Path], None] | None = None,
    headline: Sequence[str] = ("loss",),
    samples: Callable[[int], Sequence[str]] | None = None,
    meters: nn.Module | None = None,
) -> FitResult:
    """Train `module` in place until the run is complete or a signal stops it.

    Args:
        module: what is trained and saved; parameters that need no gradient are saved and left alone. Its training
            or evaluation mode is the caller's.
        loss: scalar to descend and detached scalars to log, for a batch on the module's device; plain PyTorch.
        batches: batch number i, on any device: a function of i alone.
        loop: how long and how often.
        optimizer: how weights are updated.
        run: where checkpoints, metrics and pictures go; None keeps nothing.
        evaluate: called now and then in evaluation mode and without gradients; leaves random states as they were.
        export: writes the model as people load it, into a folder that exists.
        headline: names of figures for the progress line.
        samples: the names of what is in batch number i, to report where a loss is not finite.
        meters: whose buffers the logs are made of; saved, so that a resumed run logs what an unbroken one does.

    Raises:
        DivergenceError: when the loss, a gradient or the optimizer's memory is not finite, and the loop's settings do
            not pass over it. Weights are then those of the step before, and checkpoints are as they were.
        OSError: when the disk does not take what is to be saved, and when another process of the run is lost.
    """
    total = batches_per_update(loop, None if run is None else run.config, resume=run is not None and run.resuming)
    found, notes = run.latest() if run is not None else (None, [])
    fabric = start_fabric(loop, run, None if found is None else found.step)
    try:
        group = Group(fabric.global_rank, fabric.world_size, timedelta(minutes=loop.timeout_minutes))
        with group.watched():
            if len({*group.tell(-1 if found is None else found.step)[:, 0].tolist()}) > 1:
                raise ValueError(
                    "processes see different checkpoints; the run's folder must be one that all of them share"
                )
            randomness.seed_all(loop.seed + fabric.global_rank)
            leg = _Leg(fabric, group, module, loss, batches, loop, optimizer, run, total, meters)
            leg.evaluate = evaluate if loop.evaluate_every is not None else None
            leg.export = export
            leg.divergences.samples = samples
            if found is not None:
                notes += leg.state.load(found, fabric.global_rank)
                notes.append(f"resumed at step {leg.state.step} from {found.path}")
            if leg.updates.turns != loop.accumulate:
                notes.append(
                    f"an update is made of {total} batches as before, {leg.updates.turns} of each process: "
                    f"loop.accumulate {loop.accumulate} is passed over"
                )
            return leg.go(headline, notes)
    except BaseException:
        for child in children(fabric):
            child.kill()  # it may be frozen, or wait for this process
        raise


class _Leg:
    """A run from where it stands to its end or to a stop."""

    evaluate: Callable[[int], Evaluation] | None = None
    export: Callable[[Path], None] | None = None

    def __init__(
        self,
        fabric: Fabric,
        group: Group,
        module: nn.Module,
        loss: Loss[Any],
        batches: Callable[[int], Any],
        loop: LoopConfig,
        optimizer: OptimizerConfig,
        run: RunFolder | None,
        total: int,
        meters: nn.Module | None,
    ) -> None:
        self.fabric, self.group, self.loop, self.folder = fabric, group, loop, run
        # On a CPU a second computing thread outnumbers the cores, and OpenMP then sleeps and wakes at every operation.
        ahead = loop.prefetch and fabric.device.type != "cpu"
        self.feed = Feed(batches, ahead=ahead, rank=group.rank, world=group.world)
        self.updates = Updates(
            fabric,
            group,
            module,
            loss,
            self.feed,
            batches_each(total, group.world),
            lambda: TrainingState(module, optimizer, meters),
            compiled=loop.compile,
        )
        self.state = self.updates.state
        self.divergences = Divergences(loop, self.state, run, group, total)
        self.signals = StopSignals()
        self.started = time.monotonic()
        self.clock = 0.0
        self.pending: list[Logs] = []

    def go(self, headline: Sequence[str], notes: Sequence[str]) -> FitResult:
        state, loop = self.state, self.loop
        self.clock = state.seconds
        self.progress = Progress(
            start=state.step,
            steps=loop.steps,
            minutes=loop.max_minutes,
            headline=headline,
            silent=not self.group.is_first,
        )
        self.records = Records(self.fabric, self.group, loop, self.folder, self.progress)
        if self.folder is not None and self.group.is_first:
            self.folder.begin(state.step)
        with self.signals, self.progress:
            for note in notes:
                self.progress.say(note)
            while self._fraction() < 1:
                before = state.step
                if not self._advance():
                    break
                if state.step <= before:  # back at a checkpoint
                    continue
                self.progress.update(state.step, self._seconds())
                if state.step % loop.log_every == 0:
                    self._log()
                if loop.evaluate_every and state.step % loop.evaluate_every == 0 and self._fraction() < 1:
                    self._evaluate()
                if state.step % loop.checkpoint_every == 0 and self._fraction() < 1:
                    self._save()
            self._log()
            complete = self._fraction() >= 1
            if complete:
                self._evaluate()
            self._save()
            self.progress.update(state.step, self._seconds(), last=True)
            if not complete:
                self.progress.say(f"stopped after step {state.step}; the same command with --resume goes on")
        self.records.close()
        put_together(state.module)
        return FitResult(
            step=state.step,
            minutes=self._seconds() / 60,
            figures=dict(self.records.latest),
            exit_code=self.signals.exit_code if self.group.is_first else 0,
        )

    def _advance(self) -> bool:
        """Take one step, or go back to a checkpoint; False when a process was asked to stop."""
        state = self.state
        if state.step in state.left_out:
            state.step += 1
            return self._meet()
        batch: Any = None
        try:
            with self.signals.abandonable():
                batch = self.feed.get(state.step * self.updates.turns)
        except StopRequestedError:
            pass
        except Exception as error:
            self.records.trouble = error
        if not self._meet():
            return False
        try:
            rate = state.config.schedule.factor(state.step, self._fraction())
            self.pending += self.updates.make(batch, rate)
        except NotFiniteError as error:
            self.progress.say(self.divergences.pass_over(error.found))
        except ValueError as error:
            number = self.feed.number(state.step * self.updates.turns)
            raise ValueError(f"{error} (at step {state.step}, from batch {number} on)") from error
        return True

    def _meet(self) -> bool:
        """Hear from all processes, which agree on the time; False when one of them was asked to stop.

        Raises in all of them when one cannot go on.
        """
        said = self.group.tell(self.signals.received or 0, self.records.trouble is not None, self._seconds())
        self.records.check(said[:, 1])
        self.clock = float(said[0, 2])
        number = int(said[:, 0].max())
        if number:
            self.signals.received = number
        return not number

    def _log(self) -> None:
        """Write down the means of what was logged since the last time; the only place that waits for the device."""
        if not self.pending:
            return
        figures = means(self.pending, self.group)
        self.pending = []
        figures["lr"] = float(self.state.optimizers[0].param_groups[0]["lr"])
        self.records.figures(self.state.step, self._seconds(), figures)

    def _evaluate(self) -> None:
        if self.evaluate is None:
            return
        found = Evaluation()
        with self.state.as_served():
            if self.group.is_first:
                with suppress(StopRequestedError), self.signals.abandonable():
                    found = self.evaluate(self.state.step)
            self.group.wait()
        if found.figures:
            self.records.figures(self.state.step, self._seconds(), found.figures)
        self.records.videos(self.state.step, found.videos)

    def _save(self) -> None:
        """Publish a checkpoint and the model as people load it."""
        folder, state, export = self.folder, self.state, self.export
        if folder is None:
            return
        random_states = [json.loads(text) for text in self.group.tell_text(json.dumps(randomness.capture()))]
        tensors = state.tensors(keep=self.group.is_first)
        document = state.document(self._seconds(), random_states)
        document |= {"batches_per_update": self.divergences.batches, "batch_size": self.loop.batch_size}
        self.records.write(lambda: folder.save(state.step, tensors, document))
        if export is not None:
            with state.as_served():
                self.records.write(lambda: _publish(export, folder.model))
                self.group.wait()
        self.records.check(self.group.tell(self.records.trouble is not None)[:, 0])

    def _seconds(self) -> float:
        return self.state.seconds + time.monotonic() - self.started

    def _fraction(self) -> float:
        """How much of the run is done: of its steps or of its time, whichever is further."""
        by_steps = self.state.step / self.loop.steps if self.loop.steps else 0.0
        by_time = self.clock / (60 * self.loop.max_minutes) if self.loop.max_minutes else 0.0
        return max(by_steps, by_time)


def _publish(export: Callable[[Path], None], folder: Path) -> None:
    with staged_folder(folder, overwrite=True) as stage:
        export(stage)
