"""What happens when an update comes out NaN or infinite: it is not made but written down; the run ends or goes on."""

from collections.abc import Callable, Mapping, Sequence

from ivideo.training.group import Group
from ivideo.training.loop_config import LoopConfig
from ivideo.training.outcome import DivergenceError
from ivideo.training.run import RunFolder
from ivideo.training.state import TrainingState


class Divergences:
    """Passes over updates that are not finite, as `loop.on_divergence` says, `loop.max_divergences` times at most."""

    samples: Callable[[int], Sequence[str]] | None = None
    """The names of what is in a batch."""

    def __init__(
        self, loop: LoopConfig, state: TrainingState, run: RunFolder | None, group: Group, batches_per_update: int
    ) -> None:
        self.loop, self.state, self.run, self.group = loop, state, run, group
        self.batches = batches_per_update

    def pass_over(self, found: Mapping[int, Sequence[str]]) -> str:
        """Leave the present update out and say so; `found` is what is not finite, by process.

        Raises `DivergenceError` where the run is to end instead. All processes call it together.
        """
        state, step = self.state, self.state.step
        report = self._report(found)
        if self.run is not None and self.group.is_first:
            self.run.report(step, report)
        if self.loop.on_divergence == "stop" or len(state.left_out) >= self.loop.max_divergences:
            kept = "" if self.run is None else f", and the checkpoints in {self.run.checkpoints} are as they were"
            tried = f" {len(state.left_out)} updates were left out before it;" if state.left_out else ""
            raise DivergenceError(
                f"{report['message']}. The update was not applied{kept};{tried} lower the learning rate, clip "
                "gradients, or check the data"
            )
        state.left_out.append(step)
        if self.loop.on_divergence == "rewind" and self._rewind():
            return f"{report['message']}. Back at step {state.step}; that update will be left out"
        state.step = step + 1
        return f"{report['message']}. The update was left out"

    def _rewind(self) -> bool:
        """Go back to the newest checkpoint, if there is one."""
        checkpoint, _ = (None, []) if self.run is None else self.run.newest()
        if checkpoint is None or self.run is None:
            return False
        seconds = self.state.seconds
        self.state.load(checkpoint, self.group.rank)
        self.state.seconds = seconds  # the time was spent all the same
        if self.group.is_first:
            self.run.begin(self.state.step)
        return True

    def _report(self, found: Mapping[int, Sequence[str]]) -> dict[str, object]:
        step, world, size = self.state.step, self.group.world, self.loop.batch_size
        numbers = [
            number for number in range(step * self.batches, (step + 1) * self.batches) if number % world in found
        ]
        names = {number: list(self.samples(number)) for number in numbers} if self.samples is not None else {}
        what = ", ".join(dict.fromkeys(name for part in found.values() for name in part))
        where = f" in process {', '.join(map(str, found))} of {world}" if world > 1 else ""
        shown = [name for part in names.values() for name in part]
        listed = f": {', '.join(shown[:4])}{', ...' if shown[4:] else ''}" if shown else ""
        batches = ", ".join(map(str, numbers))
        samples = ", ".join(f"{number * size} to {(number + 1) * size - 1}" for number in numbers)
        return {
            "message": (
                f"training diverged at step {step} (batch {batches}): {what} is NaN or infinite{where} "
                f"(samples {samples}{listed})"
            ),
            "step": step,
            "not_finite": {str(rank): list(part) for rank, part in found.items()},
            "batches": numbers,
            "samples": {str(number): [number * size, (number + 1) * size - 1] for number in numbers},
            "names": {str(number): part for number, part in names.items()},
            "lr": [group["lr"] for optimizer in self.state.optimizers for group in optimizer.param_groups],
        }
