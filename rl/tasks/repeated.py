"""Actions that last several steps of a simulator."""

from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float32


class Repeated(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose actions last `repeat` steps, fewer where the episode ends before.

    Rewards are summed; the observation and `info` are the last step's, with `info["success"]` 1.0 if the environment
    told of success (under "success" or "is_success") in any of them, else 0.0. An action during which the aim is
    reached earns `bonus` as well. Truncated after `horizon` actions at the latest. Actions are clipped to the action
    space.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        repeat: int = 1,
        horizon: int | None = None,
        bonus: float = 0.0,
    ) -> None:
        super().__init__(env)
        assert isinstance(env.action_space, gymnasium.spaces.Box)
        self.repeat, self.horizon, self.bonus = repeat, horizon, bonus
        self._low, self._high = env.action_space.low, env.action_space.high
        self._actions = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._actions = 0
        return observation, {**info, "success": _success(info)}

    def step(self, action: Float32[np.ndarray, " a"]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if np.shape(action) != self._low.shape or not np.isfinite(action).all():
            raise ValueError(f"action is {action}; expected {len(self._low)} finite numbers in -1..1")
        action = np.clip(action, self._low, self._high)
        earned, success = 0.0, 0.0
        for _ in range(self.repeat):
            observation, reward, terminated, truncated, info = self.env.step(action)
            earned, success = earned + float(reward), max(success, _success(info))
            if terminated or truncated:
                break
        self._actions += 1
        truncated = truncated or (self.horizon is not None and self._actions >= self.horizon)
        return observation, earned + self.bonus * success, bool(terminated), truncated, {**info, "success": success}


def _success(info: dict[str, Any]) -> float:
    return float(bool(info.get("success", info.get("is_success", False))))
