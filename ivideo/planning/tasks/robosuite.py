"""robosuite's push as a planning task: bring two cubes where a goal image shows them (extra `robosuite`).

Two moments of a scripted demonstration, `within` actions apart, between which a cube moves by `LEAST_WAY` or more; the
second is the goal image. Done as in VP2 (Tian et al. 2023): the cube that is farthest from its place is within 5 cm of
it, at any time. The scene is ours; see `ivideo.simulate.robosuite_push`. Seeds are such as no training has seen.
"""

from typing import Any

import numpy as np
from jaxtyping import Float64

from ivideo.planning.tasks.problems import Problem
from ivideo.planning.tasks.task import Outcome
from ivideo.simulate.robosuite_push import PREFIX, Pusher, RobosuitePush

LEAST_WAY = 0.10
NEAR = 0.05
"""Metres."""
_LENGTH = 35
_SEEDS = 950_000


class RobosuiteProblems:
    """The cubes, and problems of them."""

    tries = 50

    def __init__(self, *, size: int, within: int) -> None:
        """ImportError, in a line with what to install, where robosuite or OpenGL is missing."""
        if within < 2:
            raise ValueError(f"within is {within}; expected at least 2 steps from the start to the goal")
        self.simulator = RobosuitePush(size)
        self.name, self.unit, self.goal_numbers = f"{PREFIX}push", "cm", 6
        self.within = within

    @property
    def settings(self) -> dict[str, Any]:
        return {"within": self.within}

    def outcome(self, goal: Float64[np.ndarray, "6"]) -> Outcome:
        """Distance of the cube that is farthest from its place."""
        away = _apart(self.simulator.cubes(), goal.reshape(2, 3))
        return Outcome(distance=100 * away, solved=away < NEAR)

    def problem(self, seed: tuple[int, ...]) -> Problem | None:
        rng = np.random.default_rng([_SEEDS, *seed])
        table, policy = self.simulator, Pusher()
        frame, info = table.reset(seed=_SEEDS + int(rng.integers(1 << 30)))
        states, cubes = [table.save()], [table.cubes()]
        for step in range(_LENGTH):
            table.advance(policy(frame, {**info, "step": step}, rng))
            info = {"state": {"hand": table.hand(), "cubes": table.cubes()}}
            states.append(table.save())
            cubes.append(table.cubes())
        fitting = [
            at for at in range(len(states) - self.within) if _apart(cubes[at], cubes[at + self.within]) >= LEAST_WAY
        ]
        if not fitting:
            return None
        at = fitting[int(rng.integers(len(fitting)))]
        table.restore(states[at + self.within])
        return Problem(start=states[at], goal=cubes[at + self.within].flatten(), image=table.draw())

    def close(self) -> None:
        self.simulator.close()


def _apart(cubes: Float64[np.ndarray, "2 3"], places: Float64[np.ndarray, "2 3"]) -> float:
    """Of the cube that is farthest from its place, in metres."""
    return float(np.linalg.norm(cubes - places, axis=1).max())
