"""What an agent acts in, whatever simulator is behind it."""

from dataclasses import dataclass
from typing import Any

import gymnasium


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A simulator that shows uint8 RGB frames `[size size 3]` and takes actions in [-1, 1].

    `info["success"]` says in every step whether the aim is reached now (0 or 1).
    """

    name: str
    env: gymnasium.Env[Any, Any]
    size: int
    action_dim: int
    action_repeat: int = 1
    """Steps of the simulator that an action lasts: what environment steps are counted in."""
    horizon: int | None = None
    """Actions after which an episode is truncated; None: when the environment says so."""
