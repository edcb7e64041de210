"""The pushing table as a planning task: bring the disc where a goal image shows it, by pixels alone.

An instance is a moment of a scripted demonstration and what the table looked like `within` steps later, so that every
goal can be reached in so many. Demonstrations are of seeds that no training has seen.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.evaluation.clips import HELD_OUT
from ivideo.planning.table_dynamics import TableDynamics
from ivideo.planning.tasks.task import Outcome
from ivideo.simulate.demonstrations import Demonstration, demonstrations
from ivideo.simulate.motion import Point, TableState
from ivideo.simulate.policies import GoalPusher, Pusher
from ivideo.simulate.pushing_table import GOAL_TOLERANCE, PushingTable, in_goal

Goals: TypeAlias = Literal["place", "painted"]
"""Where the disc is to go: to any place, or into the painted goal."""
LEAST_WAY = 8.0
"""Table units that the disc is away from its goal at first, at least: more than twice what counts as there."""
_SEEDS = HELD_OUT + 50_000
_DEMONSTRATIONS = 100_000
_STEPS = 1_000_000  # trials end by themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One thing to do."""

    number: int
    start: TableState
    goal: TableState
    """What the goal image shows."""
    place: Point
    """Where the disc has to be, in table units."""

    def distance(self, state: TableState) -> float:
        """How far the disc is from where it has to be, in table units."""
        return math.dist(state.disc, self.place)

    def solved(self, state: TableState) -> bool:
        """Whether the disc is there: within what the table itself counts as in its goal."""
        return self.distance(state) <= GOAL_TOLERANCE

    def scene(self, size: int) -> "TableScene":
        """Begin, seen in frames of this size."""
        return TableScene(self, size)


class TableScene:
    """An instance while it is carried out."""

    def __init__(self, instance: Instance, size: int) -> None:
        self._instance, self._size = instance, size
        self._table = PushingTable(size=size, horizon=_STEPS)
        self._frame = _picture(self._table.reset(options={"state": instance.start})[0])

    @property
    def goal(self) -> UInt8[Tensor, "3 h w"]:
        return TableDynamics(size=self._size).draw([self._instance.goal])[0]

    def state(self) -> TableState:
        return self._table.state()

    def frame(self) -> UInt8[Tensor, "3 h w"]:
        return self._frame

    def act(self, action: Float[Tensor, "2"]) -> None:
        self._frame = _picture(self._table.step(action.numpy())[0])

    def outcome(self) -> Outcome:
        state = self._table.state()
        return Outcome(distance=self._instance.distance(state), solved=self._instance.solved(state))


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTask:
    """The pushing table for `ivideo plan`."""

    size: int
    goals: Goals
    within: int

    @property
    def name(self) -> str:
        return "pushing_table"

    @property
    def unit(self) -> str:
        return "units"

    @property
    def action_dim(self) -> int:
        return 2

    def instances(self, count: int, seed: int) -> list[Instance]:
        return instances(count, goals=self.goals, within=self.within, seed=seed)

    def dynamics(self) -> TableDynamics:
        return TableDynamics(size=self.size)

    def close(self) -> None:
        """Nothing to give back."""


def instances(count: int, *, goals: Goals, within: int, seed: int = 0) -> list[Instance]:
    """So many instances that a demonstration solves within some steps; a longer list begins with a shorter one."""
    if within < 4:
        raise ValueError(f"within is {within}; expected at least 4 steps, for the disc has to go {LEAST_WAY:.0f} units")
    found: list[Instance] = []
    for index, played in enumerate(_played(goals, seed)):
        moment = _moment(played, goals, within, np.random.default_rng([_SEEDS, seed, index]))
        if moment is not None:
            start, goal = (replace(played.states[at], step=0) for at in moment)
            place = goal.disc if goals == "place" else goal.goal
            found.append(Instance(number=len(found), start=start, goal=goal, place=place))
        if len(found) == count:
            return found
    raise ValueError(f"only {len(found)} of {count} instances were found; ask for fewer, or others")


def _played(goals: Goals, seed: int) -> Iterator[Demonstration]:
    policy = Pusher(noise=0.1, patience=(20, 40), wandering=0.0) if goals == "place" else GoalPusher(noise=0.1)
    return demonstrations(policy, _DEMONSTRATIONS, _SEEDS + seed, size=32)


def _moment(played: Demonstration, goals: Goals, within: int, rng: np.random.Generator) -> tuple[int, int] | None:
    """Two moments of a demonstration between which the disc goes far enough; None where there are none."""
    states = played.states
    # Only the last state of a demonstration can be in the painted goal.
    ends = range(within, len(states)) if goals == "place" else range(len(states) - 1, len(states))
    fitting = []
    for end in ends:
        start, goal = states[max(0, end - within)], states[end]
        place = goal.disc if goals == "place" else goal.goal
        arrived = goals == "place" or in_goal(goal)
        if arrived and end >= within and math.dist(start.disc, place) >= LEAST_WAY:
            fitting.append((end - within, end))
    return fitting[int(rng.integers(len(fitting)))] if fitting else None


def _picture(frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[Tensor, "3 h w"]:
    return torch.from_numpy(frame).permute(2, 0, 1).contiguous()
