"""`ivideo plan MODEL`: how well a world model can be planned with, beside the simulator itself and random actions."""

import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import UInt8
from rich.console import Console
from torch import Tensor

from ivideo.config import parse
from ivideo.config.limits import check_least
from ivideo.evaluation.identity import machine, model_identity, versions
from ivideo.files import check_new_file, folder_or_none, replace_file
from ivideo.planning.cem import CEM, ICEM
from ivideo.planning.model_dynamics import ModelDynamics
from ivideo.planning.mppi import MPPI
from ivideo.planning.objectives import Objective
from ivideo.planning.results import Row, markdown, rich, rows
from ivideo.planning.shooting import RandomShooting
from ivideo.planning.table_dynamics import TableDynamics
from ivideo.planning.table_task import Goals, instances
from ivideo.planning.trial import Footage, ModelSight, Remembered, Sight, Trial, TrueSight, Who, run_trial
from ivideo.planning.trial_folder import TrialFolder
from ivideo.planning.wanted import Wanted
from ivideo.progress import Progress
from ivideo.video import grid, write_video
from ivideo.world_model import Precision, WorldModel

TRIALS = "trials"
_CHANGEABLE = ("out", "overwrite", "device", "instances", "videos", "who")
"""Settings that may be others when planning goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """What to plan, with what, and how."""

    model: str
    """A folder, a packaged model or a Hugging Face Hub id."""
    task: Literal["pushing_table"] = "pushing_table"
    """What to do: bring the table's disc where a goal image shows it."""
    goals: Goals = "place"
    """Where the disc has to go: any "place" on the table, or into the "painted" goal."""
    who: tuple[Who, ...] = ("simulator", "model", "random")
    """Whose futures to plan with: the simulator itself (the upper bound), the model, or nobody's (random actions)."""
    instances: int = 50
    """Things to do."""
    seed: int = 0
    """Of the instances and of all that is drawn."""
    within: int = 8
    """Steps in which the demonstration behind an instance did it; a planner that looks as far can see it all."""
    steps: int = 15
    """Actions that there are for each."""
    every: int = 1
    """Actions that are carried out before the next decision."""
    planner: MPPI | CEM | ICEM | RandomShooting = field(default_factory=MPPI)
    """How plans are found."""
    objective: Wanted = field(default_factory=Wanted)
    """What is wanted of a future: weights of several objectives."""
    remembered: Remembered = "latest"
    """A model's context: the "latest" frames, encoded for every decision, or the "first", later ones read behind it."""
    videos: int = 3
    """Instances to show, with --out: what was done beside where the plan was to lead and the goal."""
    out: str | None = None
    """Folder for results.json, table.md and videos; planning that was stopped goes on there."""
    overwrite: bool = False
    """Replace what was left there before."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    precision: Precision = "float32"
    """How the transformer's weights are held."""

    def __post_init__(self) -> None:
        check_least(self, instances=1, seed=0, every=1, videos=0)
        if self.steps < self.within:
            raise ValueError(
                f"steps is {self.steps} and within {self.within}; expected at least as many steps to do it in"
            )
        if not self.who:
            raise ValueError("who is empty; expected some of simulator, model, random")
        if self.every > self.planner.horizon:
            raise ValueError(
                f"every is {self.every} and the planner's horizon {self.planner.horizon}; expected at most as many "
                "actions as are planned"
            )


def main(argv: list[str]) -> int:
    """`ivideo plan MODEL [...]`."""
    wanted = parse(
        Planning,
        argv,
        prog="ivideo plan",
        description="Plan with a world model, beside the simulator itself and random actions.",
        config_folder="plan",
        positional=("model",),
    )
    with _place(wanted) as place:
        model = WorldModel.from_pretrained(wanted.model, device=wanted.device, precision=wanted.precision)
        model.check_actions(torch.zeros(2), where="the pushing table: ")
        identity = model_identity(wanted.model, model, wanted.precision)
        folder = TrialFolder(place / TRIALS, _settings(wanted) | {"model": identity})
        found = rows(carry_out(wanted, model, folder, place))
        Console(width=112).print(rich(found, f"{wanted.model}: {wanted.instances} instances, {wanted.goals} goals"))
        print('distances in table units; "of" is over the simulator\'s, on the same instances; ± is the 95% interval')
        if wanted.out is None:
            print("--out FOLDER keeps the trials and writes videos")
        else:
            about = {
                "command": shlex.join(["ivideo", "plan", *argv]),
                "date": datetime.now(UTC).date().isoformat(),
                "machine": machine(model.device),
                "versions": versions(),
                "model": identity,
            }
            _write(place, found, about)
            print(f"wrote {', '.join(str(place / name) for name in _FILES)}")
    return 0


def carry_out(wanted: Planning, model: WorldModel, folder: TrialFolder, place: Path) -> dict[str, list[Trial]]:
    """All trials of all who plan; those that stand are not repeated."""
    tasks = instances(wanted.instances, goals=wanted.goals, within=wanted.within, seed=wanted.seed)
    trials: dict[str, list[Trial]] = {who: [] for who in wanted.who}
    began, done = time.perf_counter(), 0
    with Progress(steps=len(tasks) * len(wanted.who), headline=("solved", "distance"), unit="trial") as progress:
        for who in wanted.who:
            progress.say(f"planning with {'nothing' if who == 'random' else f'the {who}'}")
            sight, planner, objective = _means(who, wanted, model)
            for task in tasks:
                trial = folder.load(who, task.number)
                if trial is None:
                    shown = Footage() if wanted.out is not None and task.number < wanted.videos else None
                    how: dict[str, Any] = {"steps": wanted.steps, "every": wanted.every, "seed": wanted.seed}
                    trial = run_trial(task, sight, planner, objective, who=who, footage=shown, **how)
                    if shown is not None:
                        goal = TableDynamics(size=sight.dynamics.resolution).draw([task.goal])[0]
                        _show(place / "videos" / f"{who}-{task.number:04}", shown, goal)
                    folder.save(trial)
                trials[who].append(trial)
                own, done = trials[who], done + 1
                solved = sum(each.solved for each in own) / len(own)
                progress.note({"solved": solved, "distance": sum(each.distances[-1] for each in own) / len(own)})
                progress.update(done, time.perf_counter() - began, last=done == len(tasks) * len(wanted.who))
    return trials


def _means(
    who: Who, wanted: Planning, model: WorldModel
) -> tuple[Sight, MPPI | CEM | ICEM | RandomShooting, Callable[[UInt8[Tensor, "3 h w"]], Objective]]:
    """What one plans with."""
    table = TrueSight(dynamics=TableDynamics(size=model.tokenizer.config.resolution))
    weights = wanted.objective
    if who == "model":
        return ModelSight(dynamics=ModelDynamics(model=model), remembered=wanted.remembered), wanted.planner, weights
    if who == "simulator":
        return table, wanted.planner, weights.for_simulator()
    random = RandomShooting(horizon=wanted.planner.horizon, samples=1, low=wanted.planner.low, high=wanted.planner.high)
    return table, random, replace(weights.for_simulator(), pixels=1.0, which="last")


def _show(name: Path, footage: Footage, goal: UInt8[Tensor, "3 h w"]) -> None:
    """A film of what was done, of where plans were to lead and of the goal, and a strip of the same."""
    executed, planned = torch.stack(footage.executed), torch.stack(footage.planned)
    columns = torch.stack([executed, planned, goal.expand_as(executed)])
    write_video(name.with_suffix(".mp4"), grid(columns, columns=3), fps=4, zoom=4)
    write_video(name.with_suffix(".png"), grid(columns, columns=1), zoom=2)


_FILES = ("results.json", "table.md")


def _write(place: Path, found: list[Row], about: dict[str, Any]) -> None:
    content = about | {"rows": [asdict(row) for row in found]}
    text = json.dumps(content, indent=2) + "\n"
    replace_file(place / "results.json", lambda path: path.write_text(text, encoding="utf-8"))
    replace_file(place / "table.md", lambda path: path.write_text(markdown(found), encoding="utf-8"))


@contextmanager
def _place(wanted: Planning) -> Iterator[Path]:
    """The folder to work in: the one that is asked for, or one that is forgotten."""
    with folder_or_none(wanted.out) as place:
        for name in _FILES:
            check_new_file(place / name, overwrite=True)
        if wanted.overwrite:
            shutil.rmtree(place / TRIALS, ignore_errors=True)
        yield place


def _settings(wanted: Planning) -> dict[str, Any]:
    """What trials of one experiment have in common."""
    kind = {"planner": {"kind": type(wanted.planner).__name__, **asdict(wanted.planner)}}
    return {name: value for name, value in asdict(wanted).items() if name not in _CHANGEABLE} | kind
