"""PushT as a planning task: bring the T where a goal image shows it, or into its painted place (extra `pusht`).

"place"    two moments of a scripted demonstration, `within` actions apart, between which the T's corners move by
           `LEAST_WAY` units on average or more; the second is the goal image. Done: they are within `NEAR` on average.
"painted"  the T was pushed out of its painted place by a demonstration of `within` actions; the goal image shows it
           there, with the pusher where it begins. Done: more than 95% of the place is covered, as published.

The thresholds of "place" are ours, and so is what both begin with. Demonstrations are of seeds no training has seen.
"""

import math
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float64

from ivideo.planning.tasks.problems import Problem
from ivideo.planning.tasks.task import Outcome
from ivideo.simulate.pusht import BOARD, NUMBERS, SUCCESS, PushT, centre, corners, random_state
from ivideo.simulate.pusht_policies import Pusher

Goals: TypeAlias = Literal["place", "painted"]
LEAST_WAY = 60.0
NEAR = 20.0
"""Units of the 512 that the board is wide: 2.5 pixels of 64."""
_LENGTH = 40
_SEEDS = 950_000
_MARGIN = 80.0
"""Units that the T's middle is away from the board's sides: it can be pushed from all of them."""
PAINTED = np.array([256.0, 256.0, math.pi / 4])


class PushTProblems:
    """PushT, and things to do in it."""

    tries = 50

    def __init__(self, *, size: int, goals: Goals, within: int) -> None:
        """ImportError, in a line with what to install, where gym-pusht is missing."""
        if within < 2:
            raise ValueError(f"within is {within}; expected at least 2 steps: the T has to go {LEAST_WAY:.0f} units")
        self.simulator = PushT(size)
        self.name, self.unit, self.goal_numbers = "pusht", "units", NUMBERS
        self.goals, self.within = goals, within

    @property
    def settings(self) -> dict[str, Any]:
        return {"goals": self.goals, "within": self.within}

    def outcome(self, goal: Float64[np.ndarray, "7"]) -> Outcome:
        """Mean distance of the T's corners from where they have to be."""
        away = apart(self.simulator.save(), goal)
        solved = away <= NEAR if self.goals == "place" else self.simulator.coverage() > SUCCESS
        return Outcome(distance=away, solved=solved)

    def problem(self, seed: tuple[int, ...]) -> Problem | None:
        rng = np.random.default_rng([_SEEDS, *seed])
        return self._place(rng) if self.goals == "place" else self._painted(rng)

    def close(self) -> None:
        self.simulator.close()

    def _place(self, rng: np.random.Generator) -> Problem | None:
        states = self._played(random_state(rng), _LENGTH, rng)
        fitting = [
            (start, goal)
            for start, goal in zip(states, states[self.within :], strict=False)
            if apart(start, goal) >= LEAST_WAY and _clear(start) and _clear(goal)
        ]
        if not fitting:
            return None
        start, goal = fitting[int(rng.integers(len(fitting)))]
        return self._seen(start, goal)

    def _painted(self, rng: np.random.Generator) -> Problem | None:
        painted = random_state(rng)
        painted[4:] = PAINTED
        if math.dist(painted[:2], centre(painted)) < 100.0:
            return None
        start = self._played(painted, self.within, rng)[-1]
        if apart(start, painted) < LEAST_WAY / 2 or not _clear(start):
            return None
        goal = start.copy()
        goal[2:] = [0.0, 0.0, *PAINTED]
        return self._seen(start, goal)

    def _played(
        self, first: Float64[np.ndarray, "7"], actions: int, rng: np.random.Generator
    ) -> list[Float64[np.ndarray, "7"]]:
        policy, states = Pusher(noise=0.1), [first]
        self.simulator.restore(first)
        nothing = np.zeros((1, 1, 3), np.uint8)
        for step in range(actions):
            self.simulator.advance(policy(nothing, {"state": states[-1], "step": step}, rng))
            states.append(self.simulator.save())
        return states

    def _seen(self, start: Float64[np.ndarray, "7"], goal: Float64[np.ndarray, "7"]) -> Problem:
        self.simulator.restore(goal)
        return Problem(start=start, goal=goal, image=self.simulator.draw())


def apart(state: Float64[np.ndarray, "7"], goal: Float64[np.ndarray, "7"]) -> float:
    """Mean distance of the T's corners in two states."""
    return float(np.linalg.norm(corners(state) - corners(goal), axis=1).mean())


def _clear(state: Float64[np.ndarray, "7"]) -> bool:
    middle = centre(state)
    return bool(((middle > _MARGIN) & (middle < BOARD - _MARGIN)).all())
