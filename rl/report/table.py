"""What the runs of a report have come to at fixed steps, as tables for a terminal, a document and a program."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from ivideo.evaluation.statistics import Interval
from rl.report.groups import Group
from rl.report.statistics import RESAMPLES, improvement, iqm_interval

WHAT = ("success", "return")
DEFINITION = (
    "A run's score is its last evaluation that was due at or before the step: the share of evaluation episodes that "
    "succeeded, or their mean return. Shown are interquartile means over runs (of n scores the lowest and highest n/4, "
    "rounded down, left out; up to three runs: the plain mean) and 95% intervals of a percentile bootstrap over runs "
    f'({RESAMPLES:,} resamples, stratified by task). "A over B" is how likely a run of A scores above a run of B, ties '
    "counting half. (2), after a figure: only two runs have come to that step. After Agarwal et al., 2021, arXiv "
    "2108.13264."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure and the number of runs behind it."""

    interval: Interval
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One group, or a comparison of two, at every step of the table."""

    what: str
    """The quantity: "success", "return", "minutes", or that with "improvement in" before it."""
    name: str
    cells: tuple[Cell, ...]
    whole: int
    """Runs behind a cell that all have come to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTable:
    """The groups of one task, or of several tasks together, at fixed environment steps."""

    task: str
    steps: tuple[int, ...]
    rows: tuple[Row, ...]
    standing: tuple[str, ...] = ()
    """How far the runs of every group have come."""

    def rich(self) -> Table:
        """For a terminal: intervals stand below their figures."""
        table = Table(title=escape(self.task), title_justify="left")
        table.add_column("environment steps")
        for step in self.steps:
            table.add_column(f"{step:,}", justify="right", no_wrap=True)
        for what, rows in groupby(self.rows, key=lambda row: row.what):
            table.add_section()
            table.add_row(f"[bold]{escape(what)}")
            for row in rows:
                table.add_row(f"  {escape(row.name)}", *(_said(cell, row, "\n") for cell in row.cells))
        return table

    def markdown(self) -> str:
        """The same as Markdown, with how far runs have come before it; ends in a newline."""
        head = ["", "", *(f"{step:,}" for step in self.steps)]
        rows = [[row.what, _plain(row.name), *(_said(cell, row, " ") for cell in row.cells)] for row in self.rows]
        lines = [head, ["---", "---", *(["---:"] * len(self.steps))], *rows]
        standing = "".join(f"- {_plain(line)}\n" for line in self.standing) + ("\n" if self.standing else "")
        table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        return f"## {_plain(self.task)}\n\n{standing}{table}"

    def document(self) -> dict[str, Any]:
        """The same for JSON; what is not known is null."""
        return {
            "task": self.task,
            "steps": list(self.steps),
            "standing": list(self.standing),
            "rows": [
                {"what": row.what, "name": row.name, "cells": [_document(cell) for cell in row.cells]}
                for row in self.rows
            ],
        }


def tables(groups: Sequence[Group], steps: Sequence[int]) -> list[TaskTable]:
    """A table for every task, and one of success in all of them where the same groups have run in several."""
    by_task: dict[str, list[Group]] = {}
    for group in groups:
        by_task.setdefault(group.task, []).append(group)
    found = [_of_task(task, each, tuple(steps)) for task, each in by_task.items()]
    labels = [{group.label for group in each} for each in by_task.values()]
    if len(by_task) > 1 and all(each == labels[0] for each in labels):
        found.append(_of_all(list(by_task.values()), tuple(steps)))
    return found


def usual_steps(groups: Sequence[Group]) -> tuple[int, ...]:
    """Up to four steps at which evaluations were due: about each quarter of the way of the run that came furthest.

    None while nothing is evaluated.
    """
    due = sorted(
        {step for group in groups for run in group.runs for what in WHAT for step in run.metrics.evaluations(what)}
    )
    quarters = [max((step for step in due if step <= due[-1] * part / 4), default=None) for part in (1, 2, 3, 4) if due]
    return tuple(dict.fromkeys(step for step in quarters if step is not None))


def _of_task(task: str, groups: Sequence[Group], steps: tuple[int, ...]) -> TaskTable:
    rows = [
        row for what in WHAT for row in _rows(what, [group.label for group in groups], [[g] for g in groups], steps)
    ]
    rows += [_minutes(group, steps) for group in groups]
    return TaskTable(
        task=task, steps=steps, rows=tuple(rows), standing=tuple(f"{each.label}: {each.standing()}" for each in groups)
    )


def _of_all(by_task: Sequence[Sequence[Group]], steps: tuple[int, ...]) -> TaskTable:
    labels = [group.label for group in by_task[0]]
    strata = [[next(group for group in each if group.label == label) for each in by_task] for label in labels]
    rows = tuple(_rows("success", labels, strata, steps))
    return TaskTable(task=f"all {len(by_task)} tasks", steps=steps, rows=rows)


def _rows(what: str, labels: Sequence[str], strata: Sequence[Sequence[Group]], steps: tuple[int, ...]) -> Iterator[Row]:
    """A row for every label, whose groups are one for each task, and one for every pair with several runs of each."""
    scores = [[[np.array(group.scores(what, step)) for group in groups] for step in steps] for groups in strata]
    runs = [sum(len(group.runs) for group in groups) for groups in strata]
    for label, whole, each in zip(labels, runs, scores, strict=True):
        cells = [Cell(interval=iqm_interval(tasks), runs=sum(map(len, tasks))) for tasks in each]
        yield Row(what=what, name=label, cells=tuple(cells), whole=whole)
    several = [place for place, groups in enumerate(strata) if all(len(group.runs) > 1 for group in groups)]
    for one, other in combinations(several, 2):
        # The later one is usually what is proposed, the first one what it is compared with.
        cells = [
            Cell(interval=improvement(mine, theirs), runs=sum(map(len, [*mine, *theirs])))
            for mine, theirs in zip(scores[other], scores[one], strict=True)
        ]
        name = f"{labels[other]} over {labels[one]}"
        yield Row(what=f"improvement in {what}", name=name, cells=tuple(cells), whole=runs[one] + runs[other])


def _minutes(group: Group, steps: tuple[int, ...]) -> Row:
    """The mean over runs of how long they took to each step."""
    cells = []
    for step in steps:
        known = [taken for run in group.runs if (taken := run.metrics.minutes(step)) is not None]
        value = sum(known) / len(known) if known else math.nan
        cells.append(Cell(interval=Interval(value=value, low=math.nan, high=math.nan), runs=len(known)))
    return Row(what="minutes", name=group.label, cells=tuple(cells), whole=len(group.runs))


def _said(cell: Cell, row: Row, gap: str) -> str:
    interval = cell.interval
    if math.isnan(interval.value):
        return "-"
    if row.what == "return":
        value, _, ends = str(interval).partition(" ")
    else:
        value = f"{interval.value:.{1 if row.what == 'minutes' else 2}f}"
        ends = "" if math.isnan(interval.low) else f"[{interval.low:.2f}, {interval.high:.2f}]"
    fewer = f" ({cell.runs})" if cell.runs < row.whole else ""
    return f"{value}{fewer}{gap}{ends}" if ends else f"{value}{fewer}"


def _plain(text: str) -> str:
    """Text that is no Markdown."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("_", "\\_").replace("*", "\\*").replace("<", "&lt;")


def _document(cell: Cell) -> dict[str, Any]:
    ends = {"value": cell.interval.value, "low": cell.interval.low, "high": cell.interval.high}
    return {name: None if math.isnan(value) else value for name, value in ends.items()} | {"runs": cell.runs}
