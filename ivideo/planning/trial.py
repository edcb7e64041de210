"""One instance of a task, carried out: decide, act, look, and decide again."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.planning.dynamics import Dynamics
from ivideo.planning.model_dynamics import ModelDynamics
from ivideo.planning.objectives import Objective
from ivideo.planning.plan import Plan, Planner
from ivideo.planning.table_dynamics import TableDynamics
from ivideo.planning.table_task import Instance
from ivideo.simulate.motion import TableState
from ivideo.simulate.pushing_table import PushingTable

Who: TypeAlias = Literal["simulator", "model", "random"]
"""Whose futures are planned with; "random" plans nothing."""
Remembered: TypeAlias = Literal["latest", "first"]
"""Which frames are a model's context: the latest that were seen, or the first, later ones being read behind them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How an instance went."""

    who: str
    number: int
    solved: bool
    """Whether the disc got there, which ends the trial."""
    distances: tuple[float, ...]
    """Of the disc from its goal, in table units, at the start and after every step."""
    decisions: int = 0
    seconds: float = 0.0
    """That all decisions took."""
    imagined: int = 0
    """Frames that were imagined for them."""


@dataclass(slots=True, kw_only=True, eq=False)
class Footage:
    """What is to be seen of a trial."""

    executed: list[UInt8[Tensor, "3 h w"]] = field(default_factory=list)
    planned: list[UInt8[Tensor, "3 h w"]] = field(default_factory=list)
    """Beside every frame, where the plan of that time was going to lead."""


@runtime_checkable
class Sight(Protocol):
    """What a planner knows of where the table stands."""

    @property
    def dynamics(self) -> Dynamics[Any]: ...

    def look(self, state: TableState, frame: Tensor, action: Tensor | None) -> Any:
        """The state to plan from, after an action (None at first) and what it led to."""
        ...


@dataclass(slots=True, kw_only=True)
class TrueSight:
    """The simulator as the model: everything is known."""

    dynamics: TableDynamics

    def look(self, state: TableState, frame: Tensor, action: Tensor | None) -> TableState:
        return state


@dataclass(slots=True, kw_only=True)
class ModelSight:
    """A world model that sees frames alone. Its context are the latest frames, or the first of the trial."""

    dynamics: ModelDynamics
    remembered: Remembered = "latest"
    _frames: list[Tensor] = field(default_factory=list)
    _state: Any = None

    def look(self, state: TableState, frame: UInt8[Tensor, "3 h w"], action: Float[Tensor, " a"] | None) -> Any:
        model = self.dynamics.model
        if action is None:
            self._frames = [frame] * model.context_frames
        else:
            self._frames = [*self._frames[1:], frame]
        if action is None or self.remembered == "latest":
            self._state = model.start(torch.stack(self._frames))
        else:
            self._state = self.dynamics.observe(self._state, action, frame)
        return self._state


def run_trial(
    instance: Instance,
    sight: Sight,
    planner: Planner,
    objective: Callable[[UInt8[Tensor, "3 h w"]], Objective],
    *,
    who: str,
    steps: int,
    every: int,
    seed: int,
    footage: Footage | None = None,
) -> Trial:
    """Let a planner try an instance: it decides anew after `every` actions, beginning with what is left of its plan.

    `objective` makes what is wanted of the goal image.
    """
    size = sight.dynamics.resolution
    table = PushingTable(size=size, horizon=steps + 1)
    picture, _ = table.reset(options={"state": instance.start})
    frame = _tensor(picture)
    wanted = objective(_tensor(PushingTable(size=size).reset(options={"state": instance.goal})[0]))
    state = sight.look(table.state(), frame, None)
    distances = [instance.distance(instance.start)]
    plan: Plan | None = None
    done = decisions = imagined = 0
    seconds = 0.0
    for step in range(steps):
        if plan is None or done == every:
            began = time.perf_counter()
            warm = None if plan is None else plan.rest(done)
            plan = planner.plan(sight.dynamics, state, wanted, warm=warm, seed=trial_seed(seed, instance.number, step))
            seconds += time.perf_counter() - began
            decisions, imagined, done = decisions + 1, imagined + plan.imagined, 0
            if footage is not None:
                end = _end(sight.dynamics, state, plan)
        if footage is not None:
            footage.executed.append(frame)
            footage.planned.append(end)
        action = plan.actions[min(done, len(plan.actions) - 1)]
        picture, *_ = table.step(action.numpy())
        frame, done = _tensor(picture), done + 1
        distances.append(instance.distance(table.state()))
        if instance.solved(table.state()):
            break
        began = time.perf_counter()
        state = sight.look(table.state(), frame, action)
        seconds += time.perf_counter() - began
    if footage is not None:
        footage.executed.append(frame)
        footage.planned.append(end)
    return Trial(
        who=who,
        number=instance.number,
        solved=instance.solved(table.state()),
        distances=tuple(distances),
        decisions=decisions,
        seconds=seconds,
        imagined=imagined,
    )


def trial_seed(seed: int, number: int, step: int) -> int:
    """A seed for every decision: what one draws has nothing in common with another."""
    return int(np.random.SeedSequence([seed, number, step]).generate_state(1, np.uint64)[0] >> 2)


def _end(dynamics: Dynamics[Any], state: Any, plan: Plan) -> UInt8[Tensor, "3 h w"]:
    """The last frame that is imagined under a plan."""
    (futures,) = dynamics.imagine(state, plan.actions[None], frozenset({"last_frame"}))
    assert futures.frames is not None
    return futures.frames[0, -1].cpu()


def _tensor(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[Tensor, "3 h w"]:
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous()
