"""`ivideo rl report RUNS...`: what runs of several seeds have come to, with how sure that is."""

import json
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ivideo.config import parse
from ivideo.config.given import read_options
from ivideo.files import check_new_folder, staged_folder
from rl.report.curves import write_curves
from rl.report.groups import Group, Run, grouped
from rl.report.table import DEFINITION, TaskTable, tables, usual_steps

_FLAGS = ("overwrite", "print_config")
_OURS = ("report.", "curves")
"""How the names of a report's files begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What to report."""

    runs: tuple[str, ...]
    """Folders of runs; those that differ in nothing but their seed are one group."""
    at: tuple[int, ...] | None = None
    """Environment steps at which runs are compared, such as 1000,5000,10000; about each quarter of the way without."""
    labels: tuple[str, ...] | None = None
    """What to call the different settings, in the order of their first runs; without, the settings say it."""
    out: str | None = None
    """Folder to write report.md, report.json and curves to; nothing is written without."""
    overwrite: bool = False
    """Replace a folder of that name."""

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError("runs is empty; expected folders of runs, such as runs/rl")
        if self.at is not None and (not self.at or min(self.at) < 0):
            raise ValueError(
                f"at is {','.join(map(str, self.at)) or 'empty'}; expected steps from 0 on, such as 1000,5000"
            )


def main(argv: list[str]) -> int:
    """`ivideo rl report RUNS...`."""
    wanted = parse(
        Report,
        _gathered(argv),
        prog="ivideo rl report",
        description="Say what runs of several seeds have come to, with how sure that is.",
        positional=("runs",),
    )
    out = None if wanted.out is None else Path(wanted.out)
    if out is not None:
        _check_folder(out, overwrite=wanted.overwrite)
    folders = {Path(each).expanduser().resolve(): Path(each).expanduser() for each in wanted.runs}
    runs = [Run.open(folder) for folder in folders.values()]
    groups, notes = grouped(runs, wanted.labels or ())
    if not usual_steps(groups):
        which = f"{runs[0].folder} has not" if len(runs) == 1 else f"none of the {len(runs)} runs has"
        come_to = max(run.metrics.come_to for run in runs)
        raise ValueError(f"{which} evaluated anything yet, at step {come_to:,}; wait for the first evaluation")
    steps = tuple(sorted(set(wanted.at))) if wanted.at is not None else usual_steps(groups)
    notes += [f"no run has come to step {step:,}" for step in steps if all(r.metrics.come_to < step for r in runs)]
    found = tables(groups, steps)
    console = Console(width=max(80, 34 + 17 * len(steps)), highlight=False)
    for table in found:
        console.print(table.rich())
        for line in table.standing:
            console.print(f"  {line}", markup=False, soft_wrap=True)
        console.print()
    console.print(DEFINITION, markup=False)
    for note in notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    if out is not None:
        _write(out, groups, found, notes, overwrite=wanted.overwrite)
        console.print(f"wrote report.md, report.json and curves to {out}", markup=False, soft_wrap=True)
    return 0


def _gathered(argv: Sequence[str]) -> list[str]:
    """The command line with all words that stand without an option as one list of runs."""
    options = read_options(argv, ("runs",) * len(argv), _FLAGS)
    runs = [given.value for _, given in options if given.where == "runs"]
    rest = [
        given.where if given.value is MISSING else f"{given.where}={given.value}"
        for _, given in options
        if given.where != "runs"
    ]
    return [*rest, f"--runs={json.dumps(runs)}"] if runs else rest


def _check_folder(out: Path, *, overwrite: bool) -> None:
    """Refuse, even when asked to replace a folder, to replace one that holds what no report has written."""
    check_new_folder(out, overwrite=overwrite)
    for entry in sorted(out.iterdir()) if out.is_dir() else []:
        if not entry.name.startswith(_OURS):
            raise FileExistsError(f"{out} holds {entry.name}, which is no part of a report; choose another --out")


def _write(
    out: Path, groups: Sequence[Group], found: Sequence[TaskTable], notes: Sequence[str], *, overwrite: bool
) -> None:
    tasks = list(dict.fromkeys(group.task for group in groups))
    pictures = {task: "curves.png" if len(tasks) == 1 else f"curves-{place}.png" for place, task in enumerate(tasks, 1)}
    with staged_folder(out, overwrite=overwrite) as stage:
        parts = []
        for table in found:
            link = f"\n![Learning curves]({pictures[table.task]})\n" if table.task in pictures else ""
            parts.append(f"{table.markdown()}{link}")
        told = "".join(f"- {note}\n" for note in notes)
        text = "\n".join(["# Report\n", DEFINITION + "\n", *parts, *([told] if told else [])])
        (stage / "report.md").write_text(text, encoding="utf-8")
        document = {
            "definition": DEFINITION,
            "tables": [table.document() for table in found],
            "runs": [_document(group, run) for group in groups for run in group.runs],
            "notes": list(notes),
        }
        (stage / "report.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        for task, picture in pictures.items():
            measured = {group.label: [run.metrics for run in group.runs] for group in groups if group.task == task}
            write_curves(stage / picture, measured, title=task)


def _document(group: Group, run: Run) -> dict[str, Any]:
    return {
        "folder": str(run.folder),
        "task": run.task,
        "label": group.label,
        "seed": run.seed,
        "come_to": run.metrics.come_to,
        "steps": run.steps,
        "complete": run.complete,
        "evaluations": {what: run.metrics.evaluations(what) for what in ("success", "return")},
    }
