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
from ivideo.planning.tasks.task import Instance

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
    """Whether things got where they had to be, which ends the trial."""
    distances: tuple[float, ...]
    """From there, in the task's unit, at the start and after every step."""
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
    goal: UInt8[Tensor, "3 h w"] | None = None


@runtime_checkable
class Sight(Protocol):
    """What a planner knows of where the simulator stands."""

    @property
    def dynamics(self) -> Dynamics[Any]: ...

    def look(self, state: Any, frame: Tensor, action: Tensor | None) -> Any:
        """The state to plan from, after an action (None at first) and what it led to."""
        ...


@dataclass(slots=True, kw_only=True)
class TrueSight:
    """The simulator as the model: everything is known."""

    dynamics: Dynamics[Any]

    def look(self, state: Any, frame: Tensor, action: Tensor | None) -> Any:
        return state


@dataclass(slots=True, kw_only=True)
class ModelSight:
    """A world model that sees frames alone. Its context are the latest frames, or the first of the trial."""

    dynamics: ModelDynamics
    remembered: Remembered = "latest"
    _frames: list[Tensor] = field(default_factory=list)
    _state: Any = None

    def look(self, state: Any, frame: UInt8[Tensor, "3 h w"], action: Float[Tensor, " a"] | None) -> Any:
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
    idle: int = 0,
    footage: Footage | None = None,
) -> Trial:
    """Let a planner try an instance: it decides anew after `every` actions, beginning with what is left of its plan.

    `objective` makes what is wanted of the goal image. The first `idle` of its `steps` actions are zeros, without a
    decision.
    """
    scene = instance.scene(sight.dynamics.resolution)
    frame, wanted = scene.frame(), objective(scene.goal)
    state = sight.look(scene.state(), frame, None)
    outcome = scene.outcome()
    distances = [outcome.distance]
    if footage is not None:
        footage.goal = scene.goal
    plan: Plan | None = None
    size = sight.dynamics.action_size(state)
    done = decisions = imagined = 0
    seconds = 0.0
    for step in range(steps):
        if step >= idle and (plan is None or done == every):
            began = time.perf_counter()
            warm = None if plan is None else plan.rest(done)
            plan = planner.plan(sight.dynamics, state, wanted, warm=warm, seed=trial_seed(seed, instance.number, step))
            seconds += time.perf_counter() - began
            decisions, imagined, done = decisions + 1, imagined + plan.imagined, 0
            if footage is not None:
                end = _end(sight.dynamics, state, plan)
        if footage is not None:
            footage.executed.append(frame)
            footage.planned.append(frame if plan is None else end)
        action = torch.zeros(size) if plan is None else plan.actions[min(done, len(plan.actions) - 1)]
        scene.act(action)
        frame, outcome, done = scene.frame(), scene.outcome(), done + 1
        distances.append(outcome.distance)
        if outcome.solved:
            break
        began = time.perf_counter()
        state = sight.look(scene.state(), frame, action)
        seconds += time.perf_counter() - began
    if footage is not None:
        footage.executed.append(frame)
        footage.planned.append(frame if plan is None else end)
    return Trial(
        who=who,
        number=instance.number,
        solved=outcome.solved,
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
