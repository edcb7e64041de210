"""The one training loop: updates, evaluations, checkpoints, resuming and stopping, on Lightning Fabric.

A step is one update of the weights. Batch i is a function of i alone and update k takes the batches from
`k * accumulate` on, so that the counter is all there is to remember of the data.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn, Protocol, Self, TypeVar, cast

import torch
from jaxtyping import Float
from lightning.fabric import Fabric
from torch import Tensor, nn

from ivideo.files import staged_folder
from ivideo.training import randomness
from ivideo.training.engine import start_fabric
from ivideo.training.feed import Feed
from ivideo.training.loop_config import LoopConfig
from ivideo.training.optim import OptimizerConfig, set_rates, trainable
from ivideo.training.outcome import DivergenceError, Evaluation, FitResult
from ivideo.training.progress import Progress
from ivideo.training.run import RunFolder
from ivideo.training.signals import StopRequestedError, StopSignals
from ivideo.training.state import TrainingState


class Movable(Protocol):
    """A batch: anything that can be moved to a device."""

    def to(self, device: Any, /) -> Self: ...


T = TypeVar("T", bound=Movable)
Logs = Mapping[str, Tensor]


def fit(
    module: nn.Module,
    loss: Callable[[T], tuple[Float[Tensor, ""], Logs]],
    batches: Callable[[int], T],
    *,
    loop: LoopConfig,
    optimizer: OptimizerConfig,
    run: RunFolder | None = None,
    evaluate: Callable[[int], Evaluation] | None = None,
    export: Callable[[Path], None] | None = None,
    headline: Sequence[str] = ("loss",),
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

    Raises:
        DivergenceError: when the loss or a gradient is not finite. Weights are then those of the step before, and
            checkpoints are as they were.
    """
    found, notes = run.latest() if run is not None else (None, [])
    fabric = start_fabric(loop, run, None if found is None else found.step)
    randomness.seed_all(loop.seed + fabric.global_rank)
    leg = _Leg(fabric, module, loss, batches, loop, optimizer, run)
    leg.evaluate = evaluate if loop.evaluate_every is not None else None
    leg.export = export
    if found is not None:
        notes += leg.state.load(found, fabric.global_rank)
        notes.append(f"resumed at step {leg.state.step} from {found.path}")
    return leg.go(headline, notes)


class _Objective(nn.Module):
    """What Fabric wraps: its forward pass is the loss, so that autocasting and gradient averaging cover all of it."""

    def __init__(self, module: nn.Module, loss: Callable[[T], tuple[Tensor, Logs]], batch: Callable[[], T]) -> None:
        super().__init__()
        self.module = module
        self._loss = loss
        self._batch = batch

    def forward(self) -> tuple[Tensor, Logs]:
        return self._loss(self._batch())


class _Leg:
    """A run from where it stands to its end or to a stop."""

    evaluate: Callable[[int], Evaluation] | None = None
    export: Callable[[Path], None] | None = None

    def __init__(
        self,
        fabric: Fabric,
        module: nn.Module,
        loss: Callable[[Any], tuple[Tensor, Logs]],
        batches: Callable[[int], Any],
        loop: LoopConfig,
        optimizer: OptimizerConfig,
        run: RunFolder | None,
    ) -> None:
        self.fabric, self.loop, self.folder = fabric, loop, run
        self.batch: Any = None
        self.objective = fabric.setup_module(_Objective(module, loss, lambda: self.batch))
        self.state = TrainingState(module, optimizer)
        self.optimizers = [cast(Any, fabric.setup_optimizers(plain)) for plain in self.state.optimizers]
        # On a CPU a second computing thread outnumbers the cores, and OpenMP then sleeps and wakes at every operation.
        ahead = loop.prefetch and fabric.device.type != "cpu"
        self.feed = Feed(batches, ahead=ahead, rank=fabric.global_rank, world=fabric.world_size)
        self.signals = StopSignals()
        self.started = time.monotonic()
        self.pending: list[Logs] = []
        self.figures: dict[str, float] = {}

    def go(self, headline: Sequence[str], notes: Sequence[str]) -> FitResult:
        state, loop = self.state, self.loop
        self.progress = Progress(
            start=state.step,
            steps=loop.steps,
            minutes=loop.max_minutes,
            headline=headline,
            silent=not self.fabric.is_global_zero,
        )
        if self.folder is not None and self.fabric.is_global_zero:
            self.folder.begin(state.step)
        with self.signals, self.feed, self.progress:
            for note in notes:
                self.progress.say(note)
            while not self._over():
                try:
                    self._update()
                except StopRequestedError:
                    break
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
        for logger in self.fabric.loggers:
            logger.finalize("success")
        return FitResult(
            step=state.step,
            minutes=self._seconds() / 60,
            figures=dict(self.figures),
            exit_code=self.signals.exit_code,
        )

    def _update(self) -> None:
        """One step: gradients of `accumulate` batches, checked, then applied."""
        state, config = self.state, self.state.config
        set_rates(state.optimizers, config.schedule.factor(state.step, self._fraction()))
        first = state.step * self.loop.accumulate
        logs: list[Logs] = []
        losses: list[Tensor] = []
        for turn in range(self.loop.accumulate):
            with self.signals.abandonable() if turn == 0 else nullcontext():
                batch = self.feed.get(first + turn)
            self.batch = batch.to(self.fabric.device)
            with self.fabric.no_backward_sync(self.objective, enabled=turn < self.loop.accumulate - 1):
                loss, parts = self.objective()
                self.fabric.backward(loss / self.loop.accumulate if self.loop.accumulate > 1 else loss)
            losses.append(loss.detach())
            logs.append({"loss": loss.detach(), **parts})
        norm = nn.utils.get_total_norm([weight.grad for weight in state.weights if weight.grad is not None])
        if not self._agreed(torch.stack([norm, *losses]).isfinite().all()):
            self._diverge(logs)
        if config.clip is not None:
            nn.utils.clip_grads_with_norm_(state.weights, config.clip, norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if state.average is not None:
            state.average.update()
        state.step += 1
        self.pending += logs
        self.pending.append({"gradient_norm": norm})

    def _diverge(self, logs: list[Logs]) -> NoReturn:
        state = self.state
        bad = sorted({name for part in logs for name, value in part.items() if not bool(torch.isfinite(value).all())})
        if not bad:
            bad = [
                f"the gradient of {name}"
                for name, weight, _ in trainable(state.module)
                if weight.grad is not None and not bool(torch.isfinite(weight.grad).all())
            ]
        state.module.zero_grad(set_to_none=True)
        kept = "" if self.folder is None else f", and the checkpoints in {self.folder.checkpoints} are as they were"
        raise DivergenceError(
            f"training diverged at step {state.step} (batch {state.step * self.loop.accumulate}): "
            f"{', '.join(bad[:3]) or 'the gradient norm'} is NaN or infinite. The update was not applied{kept}; lower "
            "the learning rate, clip gradients, or check the data"
        )

    def _log(self) -> None:
        """Write down the means of what was logged since the last time; the only place that waits for the device."""
        if not self.pending:
            return
        names = dict.fromkeys(name for logs in self.pending for name in logs)
        values = [torch.stack([logs[name].float() for logs in self.pending if name in logs]).mean() for name in names]
        self.pending = []
        figures = dict(zip(names, torch.stack(values).tolist(), strict=True))
        figures["lr"] = float(self.state.optimizers[0].param_groups[0]["lr"])
        self._record(figures)

    def _record(self, figures: dict[str, float]) -> None:
        self.figures |= figures
        self.progress.note(figures)
        if self.fabric.is_global_zero:
            self.fabric.log_dict(figures, step=self.state.step)
            if self.folder is not None:
                self.folder.record(self.state.step, {"minutes": round(self._seconds() / 60, 4), **figures})

    def _evaluate(self) -> None:
        if self.evaluate is None:
            return
        if self.fabric.is_global_zero:
            try:
                with self.state.as_served(), self.signals.abandonable():
                    found = self.evaluate(self.state.step)
            except StopRequestedError:
                found = Evaluation()
            if found.figures:
                self._record(found.figures)
            if self.folder is not None:
                for name, videos in found.videos.items():
                    self.folder.draw(self.state.step, name, videos)
        self.fabric.barrier()

    def _save(self) -> None:
        """Publish a checkpoint and the model as people load it."""
        if self.folder is None:
            return
        random_states = [randomness.capture()]
        if self.fabric.world_size > 1:
            gathered: list[Any] = [None] * self.fabric.world_size
            torch.distributed.all_gather_object(gathered, random_states[0])
            random_states = gathered
        if self.fabric.is_global_zero:
            document = self.state.document(self._seconds(), random_states)
            self.folder.save(self.state.step, self.state.tensors(), document)
            if self.export is not None:
                with staged_folder(self.folder.model, overwrite=True) as stage, self.state.as_served():
                    self.export(stage)
        self.fabric.barrier()

    def _over(self) -> bool:
        return not self._agreed(torch.tensor(self.signals.received is None)) or self._fraction() >= 1

    def _agreed(self, verdict: Tensor) -> bool:
        """Whether all processes say yes."""
        if self.fabric.world_size > 1:
            verdict = cast(Tensor, self.fabric.all_reduce(verdict.float(), reduce_op="min"))
        return bool(verdict)

    def _seconds(self) -> float:
        return self.state.seconds + time.monotonic() - self.started

    def _fraction(self) -> float:
        """How much of the run is done: of its steps or of its time, whichever is further."""
        by_steps = self.state.step / self.loop.steps if self.loop.steps else 0.0
        by_time = self._seconds() / (60 * self.loop.max_minutes) if self.loop.max_minutes else 0.0
        return max(by_steps, by_time)
