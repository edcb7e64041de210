"""Random shooting: try many sequences of actions, take the best."""

from dataclasses import dataclass

import torch

from ivideo.config.limits import check_least
from ivideo.planning.plan import Plan, SamplingPlanner, Search


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomShooting(SamplingPlanner):
    """Takes the best of sequences drawn evenly between the bounds; what is left of the plan before is one of them."""

    horizon: int = 10
    """Steps to look ahead."""
    samples: int = 256
    """Candidates."""

    def __post_init__(self) -> None:
        check_least(self, horizon=1, samples=1)

    def _found(self, search: Search) -> Plan:
        drawn = torch.rand(self.samples, *search.shape, generator=search.generator)
        candidates = search.low + drawn * (search.high - search.low)
        if search.warm:
            candidates[0] = search.bounded(search.mean)
        scores = search.score(candidates)
        best = int(scores.argmax())
        return Plan(actions=candidates[best], score=float(scores[best]), scores=scores, imagined=search.imagined)
