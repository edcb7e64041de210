"""What trials come to: success, distance and cost for everyone who planned, normalised to the simulator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from ivideo.evaluation.statistics import Interval, bootstrap, ratio
from ivideo.planning.trial import Trial

SIMULATOR = "simulator"
COLUMNS = (
    "success, %",
    "final distance, {unit}",
    "progress, {unit}",
    "success / simulator",
    "progress / simulator",
    "s / decision",
    "frames / decision",
)
_SHORT = ("success, %", "distance", "progress", "of success", "of progress", "s / decision", "frames")
"""The same where there is less room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """All figures of one planner's trials; instances are what the intervals draw again."""

    who: str
    success: Interval
    """In percent."""
    distance: Interval
    """From where things had to be, at the end, in the task's unit."""
    progress: Interval
    """By how much that is less than at the start."""
    success_ratio: Interval
    """Success over the simulator's on the same instances; unknown without it."""
    progress_ratio: Interval
    """Progress over the simulator's."""
    seconds: float
    """Of one decision."""
    frames: float
    """Imagined for one decision."""

    def cells(self, *, short: bool = False) -> tuple[str, ...]:
        """What a table says; in `short` without the intervals' ends."""
        figures = (self.success, self.distance, self.progress, self.success_ratio, self.progress_ratio)
        return (
            *(each.short() if short else str(each) for each in figures),
            f"{self.seconds:.2f}",
            f"{self.frames:,.0f}",
        )


def rows(trials: Mapping[str, Sequence[Trial]]) -> list[Row]:
    """A row for each name; all have tried the same instances, in the same order."""
    true = trials.get(SIMULATOR)
    return [_row(who, own, true) for who, own in trials.items() if own]


def _row(who: str, own: Sequence[Trial], true: Sequence[Trial] | None) -> Row:
    decisions = max(1, sum(trial.decisions for trial in own))
    unknown = Interval(value=float("nan"), low=float("nan"), high=float("nan"))
    compared = true is not None and len(true) == len(own)
    return Row(
        who=who,
        success=bootstrap(100 * _solved(own)),
        distance=bootstrap(np.array([[trial.distances[-1]] for trial in own])),
        progress=bootstrap(_progress(own)),
        success_ratio=_ratio(_solved(own), _solved(true)) if compared and true else unknown,
        progress_ratio=_ratio(_progress(own), _progress(true)) if compared and true else unknown,
        seconds=sum(trial.seconds for trial in own) / decisions,
        frames=sum(trial.imagined for trial in own) / decisions,
    )


def rich(found: Sequence[Row], title: str) -> Table:
    """For a terminal."""
    table = Table(title=title)
    table.add_column("planned with")
    for name in _SHORT:
        table.add_column(name, justify="right")
    for row in found:
        table.add_row(row.who, *row.cells(short=True))
    return table


def markdown(found: Sequence[Row], unit: str = "units") -> str:
    """For a document."""
    columns = [name.format(unit=unit) for name in COLUMNS]
    lines = [f"| planned with | {' | '.join(columns)} |", f"|---{'|---:' * len(COLUMNS)}|"]
    lines += [f"| {row.who} | {' | '.join(row.cells())} |" for row in found]
    return "\n".join(lines) + "\n"


def _solved(trials: Sequence[Trial]) -> np.ndarray:
    return np.array([[float(trial.solved)] for trial in trials])


def _progress(trials: Sequence[Trial]) -> np.ndarray:
    return np.array([[trial.distances[0] - trial.distances[-1]] for trial in trials])


def _ratio(own: np.ndarray, true: np.ndarray) -> Interval:
    return bootstrap(np.concatenate([own, true], axis=1), ratio)
