"""Scores that need no dream: what a judge has to beat."""

from collections.abc import Sequence
from dataclasses import dataclass

from ivideo.judge.judges import Scores
from ivideo.judge.rollouts import Rollouts
from ivideo.judge.scenes import Scene
from ivideo.world_model import WorldModel


@dataclass(frozen=True, slots=True)
class FirstFrame:
    """Minus the disc's distance from the goal before anything happens: the same for every policy."""

    name: str = "first frame alone"
    counterpart: str = "distance"
    judges_truth: bool = False

    def check(self, model: WorldModel, scenes: Sequence[Scene], *, located: bool) -> None:
        """It is asked for only where things are looked for."""

    def __call__(self, rollouts: Rollouts) -> Scores:
        assert rollouts.located is not None
        return -rollouts.located.distances[:, 0].double().numpy()


@dataclass(frozen=True, slots=True)
class Effort:
    """How large the actions are on average: whoever does more is held for better."""

    name: str = "size of actions"
    counterpart: str = ""
    judges_truth: bool = False

    def check(self, model: WorldModel, scenes: Sequence[Scene], *, located: bool) -> None:
        """Anything acts."""

    def __call__(self, rollouts: Rollouts) -> Scores:
        return rollouts.actions.abs().mean(dim=(1, 2)).double().numpy()
