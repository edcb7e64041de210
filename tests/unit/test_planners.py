"""Planners on a quadratic, whose optimum is known; what VP2's settings are; what is refused."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ivideo.planning import CEM, ICEM, MPPI, Futures, Plan, RandomShooting
from ivideo.planning.mppi import weighted_mean
from ivideo.planning.noise import coloured, correlated
from ivideo.planning.vp2 import cem, mppi

BEST = torch.tensor([[0.5, -0.3], [0.2, 0.9], [-0.7, 0.0], [0.1, -0.1]])


@dataclass(frozen=True)
class Quadratic:
    """Rewards are minus the squared distance of actions from the best ones: planned is one step at a time."""

    best: Tensor
    resolution = 8
    offers = frozenset({"rewards"})

    def action_size(self, state: None) -> int:
        return self.best.shape[1]

    def imagine(self, state: None, actions: Tensor, needs: frozenset, *, seed: int = 0) -> Iterator[Futures]:
        for part in actions.split(37):
            yield Futures(rewards=-(part - self.best[: part.shape[1]]).square().sum(dim=2))

    def features(self, state: None, frames: Tensor) -> Tensor:
        raise NotImplementedError


class Rewards:
    needs = frozenset({"rewards"})

    def prepare(self, dynamics: Any, state: Any) -> Any:
        return lambda futures: futures.rewards.sum(dim=1)


PLANNERS = {
    "shooting": RandomShooting(horizon=4, samples=4000),
    "CEM": CEM(horizon=4, samples=400, elites=20, iterations=12),
    "CEM, mean": CEM(horizon=4, samples=400, elites=20, iterations=12, keep="mean"),
    "iCEM": ICEM(horizon=4, samples=300, elites=20, iterations=12, colour=0.5),
    "MPPI": MPPI(horizon=4, samples=2000, iterations=12, gamma=30.0, std=0.2, correlation=0.0),
}
REACHED = {"shooting": 0.5, "CEM": 1e-3, "CEM, mean": 1e-4, "iCEM": 1e-3, "MPPI": 2e-2}
"""Largest sum of squares that is left."""


def left(plan: Plan, best: Tensor = BEST) -> float:
    return float((plan.actions - best).square().sum())


@pytest.mark.parametrize("name", PLANNERS)
def test_the_optimum_is_reached(name: str) -> None:
    plan = PLANNERS[name].plan(Quadratic(BEST), None, Rewards(), seed=3)
    assert left(plan) < REACHED[name] < float(BEST.square().sum())


@pytest.mark.parametrize("name", PLANNERS)
def test_an_optimum_outside_the_bounds_is_reached_at_them(name: str) -> None:
    planner = replace(PLANNERS[name], low=(-0.4, -0.2), high=(0.3, 1.0))
    plan = planner.plan(Quadratic(BEST), None, Rewards(), seed=3)
    within = BEST.clamp(torch.tensor([-0.4, -0.2]), torch.tensor([0.3, 1.0]))
    assert bool((plan.actions >= torch.tensor([-0.4, -0.2]) - 1e-6).all())
    assert bool((plan.actions <= torch.tensor([0.3, 1.0]) + 1e-6).all())
    assert left(plan, within) < 2 * REACHED[name] + 0.02


@pytest.mark.parametrize("name", PLANNERS)
def test_a_component_between_equal_bounds_never_changes(name: str) -> None:
    plan = replace(PLANNERS[name], low=(-1.0, 0.75), high=(1.0, 0.75)).plan(Quadratic(BEST), None, Rewards(), seed=3)
    assert bool((plan.actions[:, 1] == 0.75).all())
    assert plan.actions[:, 0].unique().numel() > 1


@pytest.mark.parametrize("name", PLANNERS)
def test_a_seed_decides(name: str) -> None:
    planner, model = PLANNERS[name], Quadratic(BEST)
    first, again, other = (planner.plan(model, None, Rewards(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.actions, again.actions)
    assert not torch.equal(first.actions, other.actions)
    assert torch.equal(planner(model, None, Rewards(), seed=1), first.actions[0])


def test_one_iteration_of_mppi_is_the_weighted_mean_of_its_candidates() -> None:
    """The optimum that one iteration allows: for a quadratic, the mean of a tilted normal distribution."""
    planner = MPPI(horizon=1, samples=200_000, gamma=2.0, std=0.3, correlation=0.5)
    plan = planner.plan(Quadratic(BEST), None, Rewards(), seed=0)
    # The product of exp(-2 (x - b)^2) and a normal density of variance 0.09 is normal around b * 0.36 / 1.36.
    torch.testing.assert_close(plan.actions[0], BEST[0] * 0.36 / 1.36, atol=5e-3, rtol=0)


def test_mppi_weighs_as_vp2_does() -> None:
    generator = torch.Generator().manual_seed(0)
    candidates, scores = torch.randn(200, 10, 4, generator=generator), 300 * torch.randn(200, generator=generator)
    exponentials = np.exp(0.05 * (scores.numpy() - scores.numpy().max()))[:, None, None]
    wanted = (exponentials * candidates.numpy()).sum(0) / exponentials.sum()
    np.testing.assert_allclose(weighted_mean(candidates, scores, 0.05).numpy(), wanted, atol=1e-5)


def test_gamma_zero_averages_and_much_takes_the_best() -> None:
    candidates, scores = torch.randn(50, 3, 2), torch.arange(50.0)
    torch.testing.assert_close(weighted_mean(candidates, scores, 0.0), candidates.mean(0))
    torch.testing.assert_close(weighted_mean(candidates, scores, 1e3), candidates[-1])


def test_correlated_noise_is_vp2s() -> None:
    std = torch.tensor([0.5, 0.1]).expand(6, 2)
    noise = correlated(20_000, std, 0.5, torch.Generator().manual_seed(0))
    variance = [1.0]
    for _ in range(5):
        variance.append(0.25 * variance[-1] + 0.25)
    wanted = std * torch.tensor(variance).sqrt()[:, None]
    torch.testing.assert_close(noise.std(dim=0), wanted, rtol=0.03, atol=0)
    neighbours = (noise[:, 2] * noise[:, 3]).mean(dim=0) / noise[:, 2].square().mean(dim=0)
    torch.testing.assert_close(neighbours, torch.tensor([0.5, 0.5]), rtol=0, atol=0.03)
    white = correlated(20_000, std, 0.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(white.std(dim=0), std, rtol=0.03, atol=0)


@pytest.mark.parametrize("frames", [1, 2, 7, 10])
@pytest.mark.parametrize("colour", [0.0, 2.0])
def test_coloured_noise_has_its_variance_and_its_colour(frames: int, colour: float) -> None:
    std = torch.tensor([0.5, 2.0]).expand(frames, 2)
    noise = coloured(20_000, std, colour, torch.Generator().manual_seed(0))
    torch.testing.assert_close(noise.square().mean(dim=(0, 1)).sqrt(), std[0], rtol=0.03, atol=0)
    if frames == 10:
        neighbours = (noise[:, 4] * noise[:, 5]).mean(dim=0) / noise[:, 4].square().mean(dim=0)
        # Of waves 0 to 5 with powers 1, 1, 1/4, 1/9, 1/16, 1/25, times 1, 4, 4, 4, 4, 1: sum of power times cosine.
        wanted = 0.0 if colour == 0 else 0.62
        torch.testing.assert_close(neighbours, torch.full((2,), wanted), rtol=0, atol=0.03)


def test_vp2s_settings() -> None:
    planner = mppi("robosuite")
    assert (planner.horizon, planner.samples, planner.iterations, planner.gamma) == (10, 200, 1, 0.05)
    assert (planner.std, planner.correlation, planner.keep) == ((0.5, 0.5, 0.5, 0.0), 0.5, "mean")
    assert mppi("robodesk", hard=True).samples == 800
    assert mppi("robodesk").std == (0.5, 0.5, 0.5, 0.1, 0.1)
    crossed = cem("robodesk")
    assert (crossed.samples, crossed.iterations, crossed.elites, crossed.narrow) == (200, 3, 10, True)
    # A component without spread is never tried: the gripper of robosuite stays at rest.
    plan = planner.plan(Quadratic(torch.full((10, 4), 0.4)), None, Rewards())
    assert bool((plan.actions[:, 3] == 0).all())
    assert not bool((plan.actions[:, :3] == 0).any())
    assert plan.imagined == 2000


def test_narrow_spread_stays_within_reach_of_the_bounds() -> None:
    near = Plan(actions=torch.full((4, 2), 0.98), score=0.0, scores=torch.zeros(1), imagined=0)
    seen = []

    class Watched(Quadratic):
        def imagine(self, state: None, actions: Tensor, needs: frozenset, *, seed: int = 0) -> Iterator[Futures]:
            seen.append(actions)
            yield from super().imagine(state, actions, needs, seed=seed)

    CEM(horizon=4, samples=500, elites=5, iterations=1, narrow=True).plan(Watched(BEST), None, Rewards(), warm=near)
    assert float(seen[0].std(dim=0).max()) < 0.015


def test_a_plan_goes_on_where_it_left_off() -> None:
    plan = Plan(actions=BEST, score=0.0, scores=torch.zeros(1), imagined=0, elites=BEST[None])
    rest = plan.rest(2)
    assert torch.equal(rest.actions, BEST[2:])
    assert rest.elites is not None
    assert torch.equal(rest.elites[0], BEST[2:])
    assert torch.equal(plan.rest(9).actions, BEST[-1:])
    # MPPI without spread to speak of gives back what it began with, its last action repeated.
    planner = MPPI(horizon=4, samples=4, std=1e-6)
    torch.testing.assert_close(
        planner.plan(Quadratic(BEST), None, Rewards(), warm=rest).actions, BEST[[2, 3, 3, 3]], atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("planner", [CEM(horizon=4, samples=64, elites=8, iterations=1), RandomShooting(horizon=4),
                                     ICEM(horizon=4, samples=64, elites=8, iterations=1)])  # fmt: skip
def test_a_good_beginning_helps(planner: Any) -> None:
    model, warm = Quadratic(BEST), PLANNERS["CEM"].plan(Quadratic(BEST), None, Rewards())
    cold = planner.plan(model, None, Rewards(), seed=5)
    begun = planner.plan(model, None, Rewards(), seed=5, warm=warm)
    assert begun.score > cold.score


def test_elites_are_tried_again_in_the_next_decision() -> None:
    warm = Plan(actions=torch.zeros(4, 2), score=0.0, scores=torch.zeros(1), imagined=0, elites=BEST[None])
    plan = ICEM(horizon=4, samples=32, elites=4, iterations=1).plan(Quadratic(BEST), None, Rewards(), warm=warm)
    assert left(plan) == 0.0


def test_candidates_without_a_finite_score_are_left_out() -> None:
    class Broken(Rewards):
        def prepare(self, dynamics: Any, state: Any) -> Any:
            def score(futures: Futures) -> Tensor:
                assert futures.rewards is not None
                scores = futures.rewards.sum(dim=1)
                return torch.where(scores < scores.median(), torch.nan, scores)

            return score

    for name in ("CEM", "MPPI"):
        assert left(PLANNERS[name].plan(Quadratic(BEST), None, Broken())) < 10 * REACHED[name]
    with pytest.raises(ValueError, match="none of 4000 candidates has a finite score"):
        PLANNERS["shooting"].plan(Quadratic(torch.full((4, 2), torch.nan)), None, Rewards())


@pytest.mark.parametrize(
    ("planner", "words"),
    [
        (CEM(std=(0.5, 0.5, 0.5)), "std has 3 values and an action 2; expected one for all, or one for each"),
        (CEM(std=0.0), "std is 0.0; expected numbers of 0 or more"),
        (MPPI(low=(1.5, -1.0)), "expected no low above its high"),
        (RandomShooting(high=(1.0, 1.0, 1.0, 1.0)), "high has 4 values and an action 2"),
    ],
)
def test_settings_that_do_not_fit_the_actions_are_refused(planner: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        planner.plan(Quadratic(BEST), None, Rewards())


def test_a_plan_for_another_model_is_refused() -> None:
    warm = Plan(actions=torch.zeros(4, 3), score=0.0, scores=torch.zeros(1), imagined=0)
    with pytest.raises(ValueError, match="has actions of 3 values and the model takes 2"):
        MPPI().plan(Quadratic(BEST), None, Rewards(), warm=warm)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CEM(samples=10, elites=11), "elites is 11 of 10 samples"),
        (lambda: CEM(momentum=1.0), "momentum is 1.0; expected at least 0 and below 1"),
        (lambda: ICEM(fewer=0.5), "fewer is 0.5"),
        (lambda: MPPI(gamma=-1.0), "gamma is -1.0"),
        (lambda: MPPI(horizon=0), "horizon is 0; expected at least 1"),
        (lambda: RandomShooting(samples=0), "samples is 0; expected at least 1"),
        (lambda: PLANNERS["CEM"].plan(Quadratic(BEST), None, Rewards()).rest(-1), "steps is -1"),
    ],
)
def test_settings_out_of_range_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
