"""The cross-entropy method, plain and improved: draw, keep the best, draw around them."""

from dataclasses import dataclass
from typing import Literal

import torch

from ivideo.config.limits import check_least
from ivideo.planning.noise import coloured, correlated
from ivideo.planning.plan import PerAction, Plan, SamplingPlanner, Search


@dataclass(frozen=True, slots=True, kw_only=True)
class CEM(SamplingPlanner):
    """Draws candidates from a normal distribution, fits it to the best of them, and again.

    VP2's settings are `ivideo.planning.vp2.cem`.
    """

    horizon: int = 10
    """Steps to look ahead."""
    samples: int = 256
    """Candidates of an iteration."""
    elites: int = 32
    """How many of the best the next distribution is fitted to."""
    iterations: int = 3
    """How often."""
    std: PerAction = 0.5
    """Spread at first, one number for all components of an action or one for each."""
    momentum: float = 0.0
    """How much of its mean and variance a distribution keeps when it is fitted anew."""
    correlation: float = 0.0
    """What noise remembers of the step before (VP2: 0.5); 0 is white."""
    narrow: bool = False
    """Bound the spread by half of the mean's distance to either bound (VP2)."""
    keep: Literal["best", "mean"] = "best"
    """Carry out the best candidate of the last iteration, or the mean of its best."""

    def __post_init__(self) -> None:
        _check_counts(self)
        _check_shares(self, "momentum", "correlation")

    def _found(self, search: Search) -> Plan:
        mean, variance = search.mean, search.std(self.std).square()
        for _ in range(self.iterations):
            spread = variance.sqrt()
            if self.narrow:
                spread = torch.minimum(spread, torch.minimum(mean - search.low, search.high - mean).clamp(min=0) / 2)
            noise = correlated(self.samples, spread, self.correlation, search.generator)
            candidates = search.bounded(mean + noise)
            scores = search.score(candidates)
            best = candidates[scores.topk(self.elites).indices]
            mean = self.momentum * mean + (1 - self.momentum) * best.mean(dim=0)
            variance = self.momentum * variance + (1 - self.momentum) * best.var(dim=0, correction=0)
        return Plan(
            actions=best[0] if self.keep == "best" else mean,
            score=float(scores.max()),
            scores=scores,
            imagined=search.imagined,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ICEM(SamplingPlanner):
    """The improved method of Pinneri et al. 2020 (arXiv 2008.06389): coloured noise, elites kept, fewer samples later.

    Elites are tried again in the next iteration and, a step further on, in the next decision; the last iteration tries
    the mean, too; the best candidate of all iterations is carried out.
    """

    horizon: int = 10
    """Steps to look ahead."""
    samples: int = 128
    """Candidates of the first iteration."""
    elites: int = 16
    """How many of the best the next distribution is fitted to."""
    iterations: int = 3
    """How often."""
    std: PerAction = 0.5
    """Spread at first, one number for all components of an action or one for each."""
    colour: float = 2.0
    """Power of the noise falls with frequency as 1 / frequency ** colour; 0 is white."""
    fewer: float = 1.25
    """Each iteration draws so many times fewer candidates than the one before, but at least twice the elites."""
    kept: float = 0.3
    """Share of the elites that are tried again."""
    momentum: float = 0.1
    """How much of its mean and variance a distribution keeps when it is fitted anew."""

    def __post_init__(self) -> None:
        _check_counts(self)
        _check_shares(self, "momentum", "kept")
        if not self.fewer >= 1 or not self.colour >= 0:
            raise ValueError(
                f"fewer is {self.fewer} and colour {self.colour}; expected at least 1, for as many, and 0, for white"
            )

    def _found(self, search: Search) -> Plan:
        mean, variance = search.mean, search.std(self.std).square()
        again = mean.new_empty(0, *mean.shape) if search.elites is None else search.bounded(search.elites)
        again = again[: round(self.kept * self.elites)]
        found, best_of_all = -torch.inf, mean
        for iteration in range(self.iterations):
            count = max(round(self.samples * self.fewer**-iteration), 2 * self.elites)
            noise = coloured(count, variance.sqrt(), self.colour, search.generator)
            tried = [search.bounded(mean + noise), again]
            if iteration == self.iterations - 1 and iteration:
                tried.append(search.bounded(mean)[None])
            candidates = torch.cat(tried)
            scores = search.score(candidates)
            top = scores.topk(self.elites)
            best = candidates[top.indices]
            if float(top.values[0]) > found:
                found, best_of_all = float(top.values[0]), best[0]
            again = best[: round(self.kept * self.elites)]
            mean = self.momentum * mean + (1 - self.momentum) * best.mean(dim=0)
            variance = self.momentum * variance + (1 - self.momentum) * best.var(dim=0, correction=0)
        return Plan(actions=best_of_all, score=found, scores=scores, imagined=search.imagined, elites=best)


def _check_counts(settings: CEM | ICEM) -> None:
    check_least(settings, horizon=1, samples=1, elites=1, iterations=1)
    if settings.elites > settings.samples:
        raise ValueError(f"elites is {settings.elites} of {settings.samples} samples; expected at most as many")


def _check_shares(settings: CEM | ICEM, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(settings, name) < 1:
            raise ValueError(f"{name} is {getattr(settings, name)}; expected at least 0 and below 1")
