"""How far a rollout goes: so many steps, or until the model no longer knows what it sees."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ivideo.config.limits import check_least


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Every rollout has the same length (the iVideoGPT paper, table 5)."""

    steps: int = 10
    """Frames of a rollout."""

    def __post_init__(self) -> None:
        check_least(self, steps=1)

    @property
    def min_steps(self) -> int:
        """As many as it has."""
        return self.steps

    @property
    def max_steps(self) -> int:
        """As many as it has."""
        return self.steps

    @property
    def recent(self) -> int:
        """First frames that need to be known."""
        return 0

    def bar(self, first: Sequence[float]) -> float:
        """Nothing ends a rollout early."""
        return -math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """A rollout ends in front of the first frame that surprises the model itself.

    What is compared is the mean log-likelihood that the model gave a frame's tokens as it drew them, in nats per token.
    The bar is a quantile of what it gave the first frames of recent rollouts, which follow real ones: there it is on
    its own ground, so that a frame below the bar is one that the model is less sure of than nearly all of those. That
    needs neither a label nor a pass more, moves along as the model learns, and holds for any temperature, which real
    frames under teacher forcing would not: likely tokens are likelier than true ones.
    """

    max_steps: int = 15
    """Frames of a rollout at most."""
    min_steps: int = 1
    """Frames of a rollout at least, surprising or not."""
    quantile: float = 0.05
    """Share of first frames that are below the bar."""
    recent: int = 1000
    """First frames that the bar is drawn from, the latest ones."""

    def __post_init__(self) -> None:
        check_least(self, min_steps=1, max_steps=self.min_steps, recent=1)
        if not 0 <= self.quantile < 1:
            raise ValueError(f"quantile is {self.quantile}; expected a share, 0 <= quantile < 1")

    def bar(self, first: Sequence[float]) -> float:
        """The log-likelihood, in nats per token, below which a frame is not trusted, given those of first frames."""
        return float(np.quantile(np.asarray(first)[-self.recent :], self.quantile))
