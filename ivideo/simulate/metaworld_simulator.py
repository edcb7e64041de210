"""A Meta-World task that can be saved and put back, for planning with the simulator (extra `metaworld`)."""

from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from ivideo.simulate.metaworld import MetaWorld
from ivideo.simulate.mujoco_state import restore_state, save_state

_OWN = 2
"""Numbers in front of MuJoCo's: the episode's seed, which places object and goal, and the steps since it began."""


class MetaWorldSimulator:
    """One task, seen from camera "corner", every action carried out twice, as iVideoGPT sees it.

    A state that comes back has the future that it had, rewards included. That holds of tasks which keep nothing of
    their own from step to step, as reach-v3 and push-v3 do.
    """

    action_dim = 4

    def __init__(self, task: str, size: int) -> None:
        """ImportError, in a line with what to install, where Meta-World or OpenGL is missing."""
        self.size = size
        self.env = MetaWorld(task, size)
        self._seed = -1

    def begin(self, seed: int) -> None:
        """Begin an episode: the seed places object and goal."""
        self.env.reset(seed=seed)
        self._seed = seed

    def save(self) -> Float64[np.ndarray, " s"]:
        if self._seed < 0:
            self.begin(0)
        own = [self._seed, self.env.task.curr_path_length]
        return np.concatenate([own, save_state(self.env.task.model, self.env.task.data)])

    def restore(self, state: Float64[np.ndarray, " s"]) -> None:
        if int(state[0]) != self._seed:
            self.begin(int(state[0]))
        restore_state(self.env.task.model, self.env.task.data, state[_OWN:])
        self.env.task.curr_path_length = int(state[1])

    def advance(self, action: Float32[np.ndarray, "4"]) -> float:
        return self.env.advance(action)

    def draw(self) -> UInt8[np.ndarray, "h w 3"]:
        return self.env.draw()

    def measured(self) -> dict[str, Any]:
        """What the task says of the present state: `success`, 0 or 1, and `obj_to_target`, in metres."""
        _, info = self.env.task.evaluate_state(self.observed(), np.zeros(4, np.float32))
        return dict(info)

    def observed(self) -> Float64[np.ndarray, "39"]:
        """The simulator's own numbers, which its demonstrator reads."""
        return np.asarray(self.env.task._get_obs(), np.float64)

    def close(self) -> None:
        self.env.close()
