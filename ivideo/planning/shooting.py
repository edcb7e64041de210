"""Random shooting: try many sequences of actions, take the best."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from ivideo.config.limits import check_least
from ivideo.planning.dynamics import Dynamics
from ivideo.planning.objectives import Objective
from ivideo.planning.plan import PerAction, Plan, Search

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomShooting:
    """Takes the best of sequences drawn evenly between the bounds; what is left of the plan before is one of them."""

    horizon: int = 10
    """Steps to look ahead."""
    samples: int = 256
    """Candidates."""
    low: PerAction = -1.0
    """Least action, one number for all components or one for each."""
    high: PerAction = 1.0
    """Greatest action."""

    def __post_init__(self) -> None:
        check_least(self, horizon=1, samples=1)

    def __call__(
        self, model: "Dynamics[Any] | WorldModel", state: Any, objective: Objective, *, seed: int = 0
    ) -> Float[Tensor, " a"]:
        """The action to take next."""
        return self.plan(model, state, objective, seed=seed).actions[0]

    def plan(
        self,
        model: "Dynamics[Any] | WorldModel",
        state: Any,
        objective: Objective,
        *,
        warm: Plan | None = None,
        seed: int = 0,
    ) -> Plan:
        """See `Planner.plan`."""
        search = Search(
            model, state, objective, horizon=self.horizon, low=self.low, high=self.high, warm=warm, seed=seed
        )
        drawn = torch.rand(self.samples, *search.shape, generator=search.generator)
        candidates = search.low + drawn * (search.high - search.low)
        if warm is not None:
            candidates[0] = search.bounded(search.mean)
        scores = search.score(candidates)
        best = int(scores.argmax())
        return Plan(actions=candidates[best], score=float(scores[best]), scores=scores, imagined=search.imagined)
