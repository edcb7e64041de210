"""What is learned from episodes by imitation: what was seen, what was done then, and how far it was from the end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ivideo import Episode
from rl.sight import shrunken


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """A row for every frame of some episodes, or a batch of such rows."""

    observations: UInt8[Tensor, "n c s s"]
    """Stacked frames, the latest one last."""
    actions: Float[Tensor, "n a"]
    acted: Float[Tensor, " n"]
    """0 for an episode's last frame, behind which nothing is done, else 1."""
    left: Float[Tensor, " n"]
    """Steps to the episode's last frame."""

    def __len__(self) -> int:
        return len(self.observations)

    def to(self, device: Any, /) -> "Lessons":
        """The same on another device."""
        return self._each(lambda value: value.to(device))

    def drawn(self, count: int, seed: int, index: int) -> "Lessons":
        """Batch number `index`: `count` rows, drawn evenly; a function of the seed and the number."""
        words = [seed, abs(index), int(index < 0)]  # numbers below 0 are another series
        rows = torch.from_numpy(np.random.default_rng(words).integers(len(self), size=count))
        return self.rows(rows)

    def rows(self, rows: Int[Tensor, " m"]) -> "Lessons":
        """Some of the rows."""
        return self._each(lambda value: value[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Lessons":
        return Lessons(
            observations=change(self.observations),
            actions=change(self.actions),
            acted=change(self.acted),
            left=change(self.left),
        )

    @staticmethod
    def of(episodes: Sequence[Episode], *, stack: int, shrink: int = 1) -> "Lessons":
        """The frames of episodes with actions."""
        observations, actions, left = [], [], []
        for episode in episodes:
            if episode.actions is None:
                raise ValueError(f"{episode.name or 'an episode'} has no actions, which are what is imitated")
            frames = shrunken(episode.frames, shrink)
            observations.append(stacks(frames, stack))
            actions.append(_and_nothing(episode.actions))
            left.append(torch.arange(len(frames) - 1, -1, -1))
        if not observations:
            raise ValueError("there are no episodes to learn from; give at least one")
        return Lessons(
            observations=torch.cat(observations),
            actions=torch.cat(actions),
            acted=(torch.cat(left) > 0).float(),
            left=torch.cat(left).float(),
        )


def stacks(frames: UInt8[Tensor, "t 3 s s"], stack: int) -> UInt8[Tensor, "t c s s"]:
    """Every frame with those before it along the channels; before the first one, that is repeated."""
    places = torch.arange(len(frames))
    return torch.cat([frames[(places - back).clamp(min=0)] for back in range(stack - 1, -1, -1)], dim=1)


def _and_nothing(rows: Tensor) -> Tensor:
    return torch.cat([rows, torch.zeros_like(rows[:1])])
