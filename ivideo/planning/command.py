"""`ivideo plan MODEL`: how well a world model can be planned with, beside the simulator itself and random actions."""

import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
from ivideo.planning.table_task import Goals
from ivideo.planning.tasks.opening import check_task, open_task
from ivideo.planning.tasks.task import PlanningTask
from ivideo.planning.trial import Footage, ModelSight, Remembered, Sight, Trial, TrueSight, Who, run_trial
from ivideo.planning.trial_folder import TrialFolder
from ivideo.planning.wanted import Wanted
from ivideo.progress import Progress
from ivideo.video import grid, write_video
from ivideo.world_model import Precision, WorldModel

TRIALS = "trials"
INSTANCES = "instances.npz"
_CHANGEABLE = ("out", "overwrite", "device", "instances", "videos", "who")
"""Settings that may be others when planning goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """What to plan, with what, and how."""

    model: str
    """A folder, a packaged model or a Hugging Face Hub id."""
    task: str = "pushing_table"
    """What to do until the camera sees a goal image: pushing_table, pusht, metaworld/reach-v3, metaworld/push-v3,
    robosuite/push, or VP2's robodesk/push_red, push_green, push_blue, open_slide, open_drawer, upright_block_off_table
    and flat_block_off_table; all but the first need an extra of their name."""
    goals: Goals = "place"
    """Where the table's disc or PushT's T has to go: any "place", or into the "painted" one."""
    who: tuple[Who, ...] = ("simulator", "model", "random")
    """Whose futures to plan with: the simulator itself (the upper bound), the model, or nobody's (random actions).
    Without the model, one of any actions will do: only the size of its frames counts."""
    instances: int = 50
    """Things to do."""
    instances_from: str | None = None
    """File of the instances, such as the instances.npz that --out keeps, or one of VP2's for RoboDesk; null makes them
    from seeds."""
    seed: int = 0
    """Of the instances and of all that is drawn."""
    within: int = 8
    """Steps in which the demonstration behind an instance did it; a planner that looks as far can see it all."""
    steps: int = 15
    """Actions that there are for each."""
    every: int = 1
    """Actions that are carried out before the next decision."""
    idle: int = 0
    """Actions of zeros before the first decision, among `steps`; VP2 takes two."""
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
    """In what the model's layers multiply."""

    def __post_init__(self) -> None:
        check_least(self, instances=1, seed=0, every=1, idle=0, videos=0)
        if self.steps < self.within:
            raise ValueError(
                f"steps is {self.steps} and within {self.within}; expected at least as many steps to do it in"
            )
        check_task(self.task, goals=self.goals, from_file=self.instances_from is not None)
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
        identity = model_identity(wanted.model, model, wanted.precision)
        folder = TrialFolder(place / TRIALS, _settings(wanted) | {"model": identity})
        with closing(_task(wanted, model, place)) as task:
            if "model" in wanted.who:
                model.check_actions(torch.zeros(task.action_dim), where=f"{task.name}: ")
            found, unit = rows(carry_out(wanted, model, task, folder, place)), task.unit
        Console(width=112).print(rich(found, f"{wanted.model}, {wanted.task}: {wanted.instances} instances"))
        print(f'distances in {unit}; "of" is over the simulator\'s, on the same instances; ± is the 95% interval')
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
            _write(place, found, about, unit)
            print(f"wrote {', '.join(str(place / name) for name in _FILES)}")
    return 0


def carry_out(
    wanted: Planning, model: WorldModel, task: PlanningTask, folder: TrialFolder, place: Path
) -> dict[str, list[Trial]]:
    """All trials of all who plan; those that stand are not repeated."""
    instances = task.instances(wanted.instances, wanted.seed)
    trials: dict[str, list[Trial]] = {who: [] for who in wanted.who}
    began, done = time.perf_counter(), 0
    with Progress(steps=len(instances) * len(wanted.who), headline=("solved", "distance"), unit="trial") as progress:
        for who in wanted.who:
            progress.say(f"planning with {'nothing' if who == 'random' else f'the {who}'}")
            sight, planner, objective = _means(who, wanted, model, task)
            for instance in instances:
                trial = folder.load(who, instance.number)
                if trial is None:
                    shown = Footage() if wanted.out is not None and instance.number < wanted.videos else None
                    how: dict[str, Any] = {"steps": wanted.steps, "every": wanted.every, "idle": wanted.idle}
                    how["seed"] = wanted.seed
                    trial = run_trial(instance, sight, planner, objective, who=who, footage=shown, **how)
                    if shown is not None:
                        _show(place / "videos" / f"{who}-{instance.number:04}", shown)
                    folder.save(trial)
                trials[who].append(trial)
                own, done = trials[who], done + 1
                solved = sum(each.solved for each in own) / len(own)
                progress.note({"solved": solved, "distance": sum(each.distances[-1] for each in own) / len(own)})
                progress.update(done, time.perf_counter() - began, last=done == len(instances) * len(wanted.who))
    return trials


def _means(
    who: Who, wanted: Planning, model: WorldModel, task: PlanningTask
) -> tuple[Sight, MPPI | CEM | ICEM | RandomShooting, Callable[[UInt8[Tensor, "3 h w"]], Objective]]:
    """What one plans with."""
    truth = TrueSight(dynamics=task.dynamics())
    weights = wanted.objective
    if who == "model":
        return ModelSight(dynamics=ModelDynamics(model=model), remembered=wanted.remembered), wanted.planner, weights
    if who == "simulator":
        return truth, wanted.planner, weights.for_simulator()
    random = RandomShooting(horizon=wanted.planner.horizon, samples=1, low=wanted.planner.low, high=wanted.planner.high)
    return truth, random, replace(weights.for_simulator(), pixels=1.0, which="last")


def _task(wanted: Planning, model: WorldModel, place: Path) -> PlanningTask:
    """What to do, seen as the model sees."""
    return open_task(
        wanted.task,
        size=model.tokenizer.config.resolution,
        goals=wanted.goals,
        within=wanted.within,
        file=None if wanted.instances_from is None else Path(wanted.instances_from).expanduser(),
        kept=None if wanted.out is None else place / INSTANCES,
        progress=_tell,
    )


def _tell(made: int, count: int) -> None:
    """A line for every tenth of the instances that take long to make."""
    if made % max(1, count // 10) == 0:
        print(f"made {made} of {count} instances", file=sys.stderr, flush=True)


def _show(name: Path, footage: Footage) -> None:
    """A film of what was done, of where plans were to lead and of the goal, and a strip of the same."""
    executed, planned = torch.stack(footage.executed), torch.stack(footage.planned)
    assert footage.goal is not None
    columns = torch.stack([executed, planned, footage.goal.expand_as(executed)])
    write_video(name.with_suffix(".mp4"), grid(columns, columns=3), fps=4, zoom=4)
    write_video(name.with_suffix(".png"), grid(columns, columns=1), zoom=2)


_FILES = ("results.json", "table.md")


def _write(place: Path, found: list[Row], about: dict[str, Any], unit: str) -> None:
    content = about | {"unit": unit, "rows": [asdict(row) for row in found]}
    text = json.dumps(content, indent=2) + "\n"
    replace_file(place / "results.json", lambda path: path.write_text(text, encoding="utf-8"))
    replace_file(place / "table.md", lambda path: path.write_text(markdown(found, unit), encoding="utf-8"))


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
