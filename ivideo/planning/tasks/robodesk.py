"""The seven RoboDesk tasks of VP2 as planning tasks (extra `robodesk`).

A problem made from a seed: the scripted demonstrator does the task from a random desk; the goal image is what is seen
when it succeeds, and the problem begins `within` actions before. A problem out of VP2's own file begins and ends where
that says. Done: the package's rule of the present state, as VP2 scores it. Desks are of seeds that no training has
seen.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from ivideo.planning.tasks.problems import Problem
from ivideo.planning.tasks.task import Outcome
from ivideo.planning.tasks.vp2_file import vp2_problems
from ivideo.simulate.robodesk import PREFIX, VP2_NUMBERS, RoboDesk
from ivideo.simulate.robodesk_policies import Demonstrator

_LONGEST = 30
_SEEDS = 950_000
_NOISE = 0.1


class RoboDeskProblems:
    """One of RoboDesk's tasks, and problems of it."""

    tries = 5

    def __init__(self, task: str, *, size: int, within: int) -> None:
        """ImportError, in a line with what to install, where RoboDesk or OpenGL is missing."""
        if within < 1:
            raise ValueError(f"within is {within}; expected at least 1 step from the start to the goal")
        self.simulator = RoboDesk(task, size)
        self.name, self.unit, self.goal_numbers = PREFIX + task, "cm", 0
        self.within = within
        self._demonstrator = Demonstrator(task, _NOISE)

    @property
    def settings(self) -> dict[str, Any]:
        return {"within": self.within}

    def outcome(self, goal: Float64[np.ndarray, "0"]) -> Outcome:
        """What is left to do: from the hand to the button, to open, or to fall."""
        return Outcome(distance=100 * self.simulator.remaining(), solved=self.simulator.success())

    def problem(self, seed: tuple[int, ...]) -> Problem | None:
        rng = np.random.default_rng([_SEEDS, *seed])
        desk = self.simulator
        _, info = desk.reset(seed=_SEEDS + int(rng.integers(1 << 30)))
        states = [desk.save()]
        nothing = np.zeros((1, 1, 3), np.uint8)
        for _ in range(_LONGEST):
            if info["success"]:
                break
            _, _, _, _, info = desk.step(self._demonstrator(nothing, info, rng))
            states.append(desk.save())
        if not info["success"] or len(states) == 1:
            return None
        return Problem(start=states[max(0, len(states) - 1 - self.within)], goal=np.zeros(0), image=desk.draw())

    def from_vp2(self, file: Path) -> list[Problem]:
        """The problems in one of VP2's files."""

        def begin(numbers: Float64[np.ndarray, " s"]) -> Float64[np.ndarray, " n"]:
            self.simulator.restore_vp2(numbers)
            return self.simulator.save()

        return vp2_problems(
            file,
            camera="camera",
            size=self.simulator.size,
            numbers=VP2_NUMBERS,
            begin=begin,
            goal=lambda numbers: np.zeros(0),
        )

    def close(self) -> None:
        self.simulator.close()
