"""One imagined environment that a server computes, as `dm_env` has it."""

from typing import Any

import dm_env
import numpy as np
from dm_env import specs
from numpy.typing import NDArray

from ivideo.serve.client import RemoteWorlds

Array = NDArray[Any]


class RemoteEnvironment(dm_env.Environment):  # type: ignore[misc]  # dm_env has no types
    """An environment whose observations are frames `[h w 3]`, or tokens `[m]`.

    A terminated episode ends with discount 0, a truncated one with discount 1. The step after an episode's last begins
    the next one, whatever its action.
    """

    def __init__(self, address: str, *, seed: int | None = None, **how: Any) -> None:
        """Connect; takes what `RemoteWorlds` takes, but for the number. `seed` is that of the first episode on."""
        self.many = RemoteWorlds(address, num_envs=1, **how)
        self._seed = seed
        self._over = True

    def reset(self) -> dm_env.TimeStep:
        """Begin an episode."""
        observation, _ = self.many.reset(seed=self._seed)
        self._seed, self._over = None, False
        return dm_env.restart(observation[0])

    def step(self, action: Array) -> dm_env.TimeStep:
        """Go on under an action, or begin the next episode after the last step of one."""
        if self._over:
            return self.reset()
        seen, reward, terminated, truncated, _ = self.many.step(np.asarray(action, np.float32)[None])
        self._over = bool(terminated[0] or truncated[0])
        if terminated[0]:
            return dm_env.termination(float(reward[0]), seen[0])
        if truncated[0]:
            return dm_env.truncation(float(reward[0]), seen[0])
        return dm_env.transition(float(reward[0]), seen[0])

    def observation_spec(self) -> specs.BoundedArray:
        """Of a frame, or of its tokens."""
        return _spec(self.many.single_observation_space, "observation")

    def action_spec(self) -> specs.BoundedArray:
        """Of an action, each number from -1 to 1."""
        return _spec(self.many.single_action_space, "action")

    def close(self) -> None:
        """Leave the server."""
        self.many.close()


def _spec(space: Any, name: str) -> specs.BoundedArray:
    return specs.BoundedArray(space.shape, space.dtype, space.low, space.high, name)
