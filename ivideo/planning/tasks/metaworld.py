"""Meta-World's reach and push as planning tasks: by a goal image, without rewards (extra `metaworld`).

The scripted demonstrator plays an episode to its success and ten actions on, which is the goal image; the instance
begins `within` actions before the success, or as much earlier as it takes to be `LEAST_WAY` from the target. Done: what
the task itself counts as success (within 5 cm of the target), of which a planner that looks at pixels is told by the
goal image alone. Episodes are of seeds that no training has seen.
"""

from typing import Any

import numpy as np
from jaxtyping import Float64

from ivideo.planning.tasks.problems import Problem
from ivideo.planning.tasks.task import Outcome
from ivideo.simulate.metaworld import PREFIX, Demonstrator
from ivideo.simulate.metaworld_simulator import MetaWorldSimulator

KNOWN = ("reach-v3", "push-v3")
LEAST_WAY = 10.0
"""Centimetres from the target at first, at least: twice what counts as there."""
_LONGEST, _ON = 100, 10
_SEEDS = 950_000


class MetaWorldProblems:
    """One of Meta-World's tasks, and problems of it."""

    tries = 50

    def __init__(self, task: str, *, size: int, within: int) -> None:
        """ImportError, in a line with what to install, where Meta-World or OpenGL is missing."""
        if task not in KNOWN:
            raise ValueError(
                f"no planning task {PREFIX}{task}; expected {' or '.join(PREFIX + each for each in KNOWN)}"
            )
        if within < 2:
            raise ValueError(f"within is {within}; expected at least 2 steps from the start to the goal")
        self.simulator = MetaWorldSimulator(task, size)
        self.name, self.unit, self.goal_numbers = PREFIX + task, "cm", 3
        self.within = within
        self._demonstrator = Demonstrator(task)

    @property
    def settings(self) -> dict[str, Any]:
        return {"within": self.within}

    def outcome(self, goal: Float64[np.ndarray, "3"]) -> Outcome:
        """Distance of the hand, or of the puck, from the target, which lies where the goal says."""
        info = self.simulator.measured()
        return Outcome(distance=100 * float(info["obj_to_target"]), solved=bool(info["success"]))

    def problem(self, seed: tuple[int, ...]) -> Problem | None:
        rng = np.random.default_rng([_SEEDS, *seed])
        simulator = self.simulator
        simulator.begin(_SEEDS + int(rng.integers(1 << 30)))
        target = np.array(simulator.env.task._target_pos, np.float64)
        states, outcomes = [simulator.save()], [self.outcome(target)]
        nothing = np.zeros((1, 1, 3), np.uint8)
        done: int | None = None
        for step in range(_LONGEST):
            simulator.advance(self._demonstrator(nothing, {"state": simulator.observed(), "step": step}, rng))
            states.append(simulator.save())
            outcomes.append(self.outcome(target))
            done = step + 1 if done is None and outcomes[-1].solved else done
            if done is not None and step + 1 == done + _ON:
                break
        if done is None or not outcomes[-1].solved:
            return None
        far = [at for at in range(done - self.within + 1) if outcomes[at].distance >= LEAST_WAY]
        if not far:
            return None
        simulator.restore(states[-1])
        return Problem(start=states[far[-1]], goal=target, image=simulator.draw())

    def close(self) -> None:
        self.simulator.close()
