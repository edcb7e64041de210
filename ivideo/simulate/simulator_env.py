"""What environments have in common whose simulator is moved by actions in [-1, 1] and seen by a camera."""

from abc import ABC, abstractmethod
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float32, UInt8


class SimulatorEnv(gymnasium.Env[UInt8[np.ndarray, "h w 3"], Float32[np.ndarray, " a"]], ABC):
    """Counts actions and shows frames; what begins, moves and is seen is for those that derive from it to say.

    Observation: the frame, uint8 RGB `[size size 3]`. Truncated after `horizon` actions; terminated by success where
    `success_ends`, else never. `info` holds `step`, the actions so far, and what `_told` says, `success` among it.
    """

    action_dim: int
    success_ends = False

    def __init__(self, size: int, horizon: int, render_mode: str | None) -> None:
        self.size, self.horizon, self.render_mode = size, horizon, render_mode
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self.action_dim,), np.float32)
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[UInt8[np.ndarray, "h w 3"], dict[str, Any]]:
        super().reset(seed=seed)
        self._begin(seed, options or {})
        self._step = 0
        return self.draw(), self._info()

    def step(
        self, action: Float32[np.ndarray, " a"]
    ) -> tuple[UInt8[np.ndarray, "h w 3"], float, bool, bool, dict[str, Any]]:
        reward = self.advance(action)
        self._step += 1
        frame, info = self.draw(), self._info()
        return frame, reward, self.success_ends and bool(info["success"]), self._step >= self.horizon, info

    def render(self) -> UInt8[np.ndarray, "h w 3"]:
        return self.draw()

    @abstractmethod
    def advance(self, action: Float32[np.ndarray, " a"]) -> float:
        """Carry out an action; the reward of the state arrived in."""

    @abstractmethod
    def draw(self) -> UInt8[np.ndarray, "h w 3"]:
        """What is seen."""

    @abstractmethod
    def _begin(self, seed: int | None, options: dict[str, Any]) -> None:
        """Put the simulator where an episode begins; `np_random` is seeded already."""

    @abstractmethod
    def _told(self) -> dict[str, Any]:
        """What `info` says of the present state."""

    def _info(self) -> dict[str, Any]:
        return {**self._told(), "step": self._step}
