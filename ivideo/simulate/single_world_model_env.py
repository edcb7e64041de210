"""One imagined environment, as Gymnasium and what is built on it expect."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

from ivideo.simulate.world_model_env import Array, WorldModelEnv
from ivideo.world_model import WorldModel


class Single(gymnasium.Env[Array, Array]):
    """One environment of its own, where there could be many; an episode that has ended waits for `reset`."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, many: VectorEnv[Array, Array, Array]) -> None:
        self.many = many
        self.observation_space = many.single_observation_space
        self.action_space = many.single_action_space
        self.render_mode = many.render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        observation, _ = self.many.reset(seed=int(self.np_random.integers(2**31)), options=options)
        return observation[0], {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, infos = self.many.step(np.asarray(action)[None])
        info = {name: float(infos[name][0]) for name in ("log_likelihood", "terminal")}
        return observation[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> Array:
        frames = self.many.render()
        assert isinstance(frames, tuple)
        return np.asarray(frames[0])

    def close(self) -> None:
        self.many.close()


class SingleWorldModelEnv(Single):
    """One imagined environment, as `gymnasium.make("ivideo/WorldModel-v0", model=..., starts=...)` makes it.

    Takes what `WorldModelEnv` takes, but for the number.
    """

    def __init__(self, model: WorldModel | str | Path = "pushing_table", **how: Any) -> None:
        super().__init__(WorldModelEnv(model, num_envs=1, **how))
