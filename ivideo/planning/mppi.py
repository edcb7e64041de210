"""Model-predictive path integral control: draw, then average, better candidates counting more."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ivideo.config.limits import check_least
from ivideo.planning.noise import correlated
from ivideo.planning.plan import PerAction, Plan, SamplingPlanner, Search


@dataclass(frozen=True, slots=True, kw_only=True)
class MPPI(SamplingPlanner):
    """Averages candidates with weights `exp(gamma * (score - best score))`; the defaults are VP2's.

    `gamma` belongs to the objective's scale: VP2's 0.05 to the squared error of 64 px frames, summed.
    """

    horizon: int = 10
    """Steps to look ahead."""
    samples: int = 200
    """Candidates of an iteration."""
    iterations: int = 1
    """How often; each begins with the mean of the one before."""
    gamma: float = 0.05
    """How much a better score counts: 0 averages all alike, much takes the best."""
    std: PerAction = 0.5
    """Spread, one number for all components of an action or one for each."""
    correlation: float = 0.5
    """What noise remembers of the step before; 0 is white."""
    keep: Literal["mean", "best"] = "mean"
    """Carry out the weighted mean, or the best candidate of the last iteration."""

    def __post_init__(self) -> None:
        check_least(self, horizon=1, samples=1, iterations=1)
        if not 0 <= self.gamma < float("inf") or not 0 <= self.correlation < 1:
            raise ValueError(
                f"gamma is {self.gamma} and correlation {self.correlation}; expected 0 or more, and 0 to below 1"
            )

    def _found(self, search: Search) -> Plan:
        mean, std = search.mean, search.std(self.std)
        for _ in range(self.iterations):
            noise = correlated(self.samples, std, self.correlation, search.generator)
            candidates = search.bounded(mean + noise)
            scores = search.score(candidates)
            mean = weighted_mean(candidates, scores, self.gamma)
        best = int(scores.argmax())
        return Plan(
            actions=mean if self.keep == "mean" else candidates[best],
            score=float(scores[best]),
            scores=scores,
            imagined=search.imagined,
        )


def weighted_mean(
    candidates: Float[Tensor, "n f a"], scores: Float[Tensor, " n"], gamma: float
) -> Float[Tensor, "f a"]:
    """Candidates averaged, each with the weight `exp(gamma * score)`."""
    weights = torch.exp(gamma * (scores.double() - scores.max()))
    weights = torch.where(scores == -torch.inf, 0.0, weights)
    return (weights[:, None, None] * candidates).sum(dim=0).div(weights.sum()).float()
