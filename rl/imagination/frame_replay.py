"""Imagined episodes kept as frames, and what every buffer of imagined episodes can do."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from rl.drqv2 import Transitions
from rl.imagination.rollouts import Imagined
from rl.replay import Replay


@runtime_checkable
class ImaginedReplay(Protocol):
    """Rollouts to draw transitions from, as frames or as codes."""

    @property
    def written(self) -> int:
        """Rollouts ever kept."""

    def __len__(self) -> int:
        """Transitions to draw from."""

    def keep(self, imagined: Imagined) -> None:
        """Take up a rollout; the oldest ones go where there is no room."""

    def sample(self, batch: int, generator: np.random.Generator) -> Transitions:
        """Draw transitions as the agent sees them; the same generator gives the same ones."""

    def settle(self) -> None:
        """Remove files that no checkpoint needs any more."""

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in memory alone, to go on from."""

    def load(self, tensors: Mapping[str, Tensor], written: int) -> None:
        """Go on with what was kept in memory when so many rollouts had been kept."""


class FrameReplay:
    """Rollouts as episodes of frames, which are on disk: a checkpoint need say no more than how many there were."""

    def __init__(self, replay: Replay) -> None:
        """Keep rollouts in a buffer of episodes."""
        self.replay = replay

    @property
    def written(self) -> int:
        return self.replay.written

    def __len__(self) -> int:
        return len(self.replay)

    def keep(self, imagined: Imagined) -> None:
        self.replay.add(imagined.episode, lead=imagined.lead)

    def sample(self, batch: int, generator: np.random.Generator) -> Transitions:
        return self.replay.sample(batch, generator)

    def settle(self) -> None:
        self.replay.settle()

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def load(self, tensors: Mapping[str, Tensor], written: int) -> None:
        assert self.written == written, "the buffer was opened with another number of episodes"
