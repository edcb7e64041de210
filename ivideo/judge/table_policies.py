"""Scripted policies for the pushing table that see frames alone, graded by what they are bad at.

They find pusher, disc and square by their usual colours and the goal in the first frame, and remember where they last
saw what they lose: a table that looks otherwise can fool them, as it can any policy that sees.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from ivideo.config.limits import check_least
from ivideo.evaluation.measures.objects import detect
from ivideo.judge.acting import Actor, Briefing
from ivideo.judge.locating import LOST_BELOW, find_goal
from ivideo.simulate.motion import TABLE, Point, TableState
from ivideo.simulate.policies import press
from ivideo.simulate.pushing_table import GOAL_TOLERANCE

Aim: TypeAlias = Literal["goal", "elsewhere", "square", "touch", "walk", "random", "idle"]
_SURE = 0.75
"""Table units further in than it must be that the disc is pushed, for what is seen is not exact."""
_DIGITS = 3
"""Decimals of a position: what is seen in one batch and another differs behind these."""
_MEMORY = 0.85
"""Correlation of one step of a walk with the step before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePolicy:
    """What to do, and how badly."""

    aim: Aim = "goal"
    """The disc into the goal, the disc to the opposite place, the square into the goal, straight onto the disc, a
    smooth walk, actions drawn evenly, or nothing."""
    noise: float = 0.05
    """Standard deviation of what is added to either component of an action."""
    delay: int = 0
    """Frames by which what it acts on is late."""
    awake: float = 1.0
    """Probability that it does anything in a step."""
    speed: float = 1.0
    """What actions are multiplied with."""

    def __post_init__(self) -> None:
        check_least(self, delay=0)
        if not (0 <= self.awake <= 1 and 0 <= self.speed <= 1 and self.noise >= 0):
            raise ValueError(
                f"awake is {self.awake}, speed {self.speed} and noise {self.noise}; expected 0 to 1, and no less than 0"
            )

    @property
    def looks(self) -> bool:
        """Whether what it does depends on what it sees."""
        return self.aim not in ("walk", "random", "idle")

    def begin(self, briefing: Briefing) -> Actor:
        """Begin to act."""
        generators = [np.random.default_rng([1, *seed]) for seed in briefing.seeds]
        goals = [find_goal(frames[-1]) for frames in briefing.frames]
        rows = [_Row(goal=goal, rng=rng) for goal, rng in zip(goals, generators, strict=True)]
        return _Acting(policy=self, rows=rows)


SCRIPTED: dict[str, TablePolicy] = {
    "expert": TablePolicy(),
    "unsteady": TablePolicy(noise=0.9),
    "late": TablePolicy(delay=3),
    "lazy": TablePolicy(awake=0.4),
    "slow": TablePolicy(speed=0.4),
    "toucher": TablePolicy(aim="touch"),
    "wrong_place": TablePolicy(aim="elsewhere"),
    "wrong_object": TablePolicy(aim="square"),
    "walk": TablePolicy(aim="walk"),
    "random": TablePolicy(aim="random"),
    "idle": TablePolicy(aim="idle", noise=0.0),
}
"""By name, about from the best to the worst at pushing the disc into the goal."""


@dataclass(slots=True, kw_only=True)
class _Row:
    """What is remembered in one world."""

    goal: Point
    rng: np.random.Generator
    seen: Float32[np.ndarray, "3 2"] = field(default_factory=lambda: np.full((3, 2), np.nan, np.float32))
    """Where pusher, disc and square were last."""
    late: deque[Float32[np.ndarray, "3 2"]] = field(default_factory=deque)
    velocity: Float[np.ndarray, "2"] = field(default_factory=lambda: np.zeros(2))


@dataclass(slots=True, kw_only=True)
class _Acting:
    """A policy in several worlds."""

    policy: TablePolicy
    rows: list[_Row]

    def __call__(self, frames: UInt8[Tensor, "b 3 h w"]) -> Float32[Tensor, "b 2"]:
        if self.policy.looks:
            self._look(frames)
        return torch.from_numpy(np.stack([self._act(row) for row in self.rows]))

    def _look(self, frames: UInt8[Tensor, "b 3 h w"]) -> None:
        for goal in dict.fromkeys(row.goal for row in self.rows):
            which = [place for place, row in enumerate(self.rows) if row.goal == goal]
            found = detect(frames[which], goal)
            there = (found.areas >= LOST_BELOW).numpy()
            for place, position, present in zip(which, found.positions.numpy().round(_DIGITS), there, strict=True):
                row = self.rows[place]
                row.seen = np.where(present[:, None], position, row.seen)
                row.late.append(row.seen)
                if len(row.late) > self.policy.delay + 1:
                    row.late.popleft()

    def _act(self, row: _Row) -> Float32[np.ndarray, "2"]:
        policy = self.policy
        asleep, noise = row.rng.random() >= policy.awake, policy.noise * row.rng.standard_normal(2)
        wanted = self._wanted(row)
        if asleep:
            return np.zeros(2, np.float32)
        return (policy.speed * np.clip(np.asarray(wanted) + noise, -1.0, 1.0)).astype(np.float32)

    def _wanted(self, row: _Row) -> Point:
        """The action without what makes it worse."""
        aim = self.policy.aim
        if aim == "idle":
            return 0.0, 0.0
        if aim == "random":
            x, y = row.rng.uniform(-1.0, 1.0, 2)
            return float(x), float(y)
        if aim == "walk":
            row.velocity = _MEMORY * row.velocity + math.sqrt(1 - _MEMORY**2) * 0.6 * row.rng.standard_normal(2)
            return float(row.velocity[0]), float(row.velocity[1])
        seen, target = row.late[0], 2 if aim == "square" else 1
        if np.isnan(seen[[0, target]]).any():
            return 0.0, 0.0  # it does not see what it is about
        pusher, disc, square = (_point(each) for each in np.nan_to_num(seen, nan=-TABLE))
        state = TableState(pusher=pusher, disc=disc, square=square, goal=row.goal)
        if aim == "touch":
            return _straight(pusher, disc)
        if aim == "square":
            return (0.0, 0.0) if math.dist(square, row.goal) < GOAL_TOLERANCE else press(state, "square", row.goal)
        place = row.goal if aim == "goal" else (TABLE - row.goal[0], TABLE - row.goal[1])
        return (0.0, 0.0) if math.dist(disc, place) < GOAL_TOLERANCE - _SURE else press(state, "disc", place)


def _point(pair: Float32[np.ndarray, "2"]) -> Point:
    return float(pair[0]), float(pair[1])


def _straight(start: Point, end: Point) -> Point:
    """The largest action from one place towards another."""
    x, y = end[0] - start[0], end[1] - start[1]
    scale = max(abs(x), abs(y), 1e-6)
    return x / scale, y / scale
