"""Frechet distances against closed forms and an independent way to compute them."""

import math
from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ivideo.evaluation.metrics.frechet import Moments, frechet_distance


def drawn(seed: int, count: int, size: int = 6, *, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(count, size, generator=generator) @ torch.randn(size, size, generator=generator)
    return shift + scale * mixed


def gaussian(mean: list[float], covariance: Tensor) -> Moments:
    return Moments(count=1000, mean=torch.tensor(mean).double(), scatter=1000 * covariance.double())


def by_eigenvalues(a: Tensor, b: Tensor) -> float:
    """The textbook formula: the root's trace from the eigenvalues of the product of the covariances."""
    first, second = a.double().numpy(), b.double().numpy()
    covariances = [np.cov(x, rowvar=False, bias=True) for x in (first, second)]
    roots = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(0)).sum()
    apart = np.square(first.mean(0) - second.mean(0)).sum()
    return float(apart + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * roots)


def rotation(angle: float) -> Tensor:
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]).double()


def test_one_dimension() -> None:
    distance = frechet_distance(gaussian([1.0], torch.tensor([[4.0]])), gaussian([3.0], torch.tensor([[9.0]])))
    assert distance == pytest.approx((1 - 3) ** 2 + (2 - 3) ** 2)


def test_commuting_covariances() -> None:
    first, second = torch.diag(torch.tensor([4.0, 1.0, 0.25])), torch.diag(torch.tensor([1.0, 9.0, 0.25]))
    distance = frechet_distance(gaussian([0.0, 0.0, 0.0], first), gaussian([1.0, 0.0, 2.0], second))
    assert distance == pytest.approx(5 + (2 - 1) ** 2 + (1 - 3) ** 2)


def test_covariances_that_do_not_commute() -> None:
    first = torch.diag(torch.tensor([9.0, 1.0])).double()
    turned = rotation(0.7) @ torch.diag(torch.tensor([4.0, 0.5])).double() @ rotation(0.7).T
    # Of 2 x 2 matrices, tr(M^(1/2)) is the root of tr(M) + 2 det(M)^(1/2).
    trace, determinant = float((first @ turned).trace()), 9 * 2
    expected = 10 + 4.5 - 2 * math.sqrt(trace + 2 * math.sqrt(determinant))
    assert frechet_distance(gaussian([0.0, 0.0], first), gaussian([0.0, 0.0], turned)) == pytest.approx(expected)


@given(seed=st.integers(0, 1000), count=st.integers(2, 40), other=st.integers(2, 40))
@settings(max_examples=40)
def test_agrees_with_the_textbook_formula_at_every_rank(seed: int, count: int, other: int) -> None:
    a, b = drawn(seed, count), drawn(seed + 1, other, scale=0.7, shift=0.5)
    distance = frechet_distance(Moments.of(a), Moments.of(b))
    # The textbook's way loses half the digits where a covariance has not full rank: ours may differ by as much.
    slack = 1e-6 if min(count, other) <= 7 else 0.0
    assert distance == pytest.approx(by_eigenvalues(a, b), rel=1e-5, abs=slack * float(a.var() + b.var()) * 6)
    assert distance == pytest.approx(frechet_distance(Moments.of(b), Moments.of(a)), rel=1e-9)


def test_sets_without_spread_are_as_far_apart_as_their_means() -> None:
    points = [torch.ones(5, 3), torch.tensor([[1.0, 1.0, 3.0]]).expand(4, 3)]
    assert frechet_distance(*map(Moments.of, points)) == pytest.approx(4.0)


def test_equal_sets_are_at_zero_even_of_fewer_features_than_numbers() -> None:
    few = drawn(3, 20, size=100)
    assert frechet_distance(Moments.of(few), Moments.of(few)) <= 1e-12 * float(few.var()) * 100


def test_spread_in_directions_of_very_different_size() -> None:
    scales = torch.logspace(-6, 0, 12).double()
    turn = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0)).double()).Q
    covariances = [turn @ torch.diag(factor * scales) @ turn.T for factor in (1.0, 4.0)]
    distance = frechet_distance(*(gaussian([1e3] * 12, covariance) for covariance in covariances))
    assert distance == pytest.approx(float(scales.sum()), rel=1e-6)  # (2 - 1)^2 of every direction


@given(cuts=st.lists(st.integers(1, 49), unique=True, max_size=5), seed=st.integers(0, 100))
@settings(max_examples=20)
def test_batches_in_any_order_are_one_set(cuts: list[int], seed: int) -> None:
    features = 1e4 + drawn(seed, 50)  # far from 0, where sums of squares alone would drown the spread
    batches = list(features.tensor_split(sorted(cuts)))
    whole, parts = Moments.of(features), [Moments.of(batch) for batch in batches]
    streamed = parts[-1]
    for batch in batches[-2::-1]:
        streamed = streamed.add(batch)
    for found in (reduce(Moments.__add__, parts), streamed, streamed.add(features[:0])):
        assert found.count == 50
        torch.testing.assert_close(found.mean, whole.mean, rtol=1e-12, atol=0)
        torch.testing.assert_close(found.covariance, whole.covariance, rtol=0, atol=1e-7)
    exact = torch.from_numpy(np.cov(features.double().numpy(), rowvar=False, bias=True))
    torch.testing.assert_close(whole.covariance, exact, rtol=0, atol=1e-7)


def test_draws_of_one_distribution_come_closer_with_their_number() -> None:
    few, more, many = (
        frechet_distance(*(Moments.of(drawn(seed, 2 * count, size=40)[half::2]) for half in (0, 1)))
        for seed, count in ((0, 16), (0, 64), (0, 1024))
    )
    assert few > 2 * more > 8 * many > 0


def test_too_few_features_are_refused() -> None:
    few, many = Moments.of(drawn(0, 1)), Moments.of(drawn(0, 100))
    with pytest.raises(ValueError, match="there are 1 imagined features; expected at least 2"):
        frechet_distance(many, few, min_clips=1)
    with pytest.raises(ValueError, match=r"100 real features; expected at least 256.*pass --min_clips 100"):
        frechet_distance(many, many, min_clips=256)
    with pytest.raises(ValueError, match="no features"):
        Moments.of(drawn(0, 0))


def test_features_of_two_networks_or_of_none_are_refused() -> None:
    with pytest.raises(ValueError, match="of 6 and of 7 numbers"):
        frechet_distance(Moments.of(drawn(0, 9)), Moments.of(drawn(0, 9, size=7)))
    with pytest.raises(ValueError, match="of 6 and of 7 numbers"):
        Moments.of(drawn(0, 9)).add(drawn(0, 9, size=7))
    broken = drawn(0, 9)
    broken[4, 2] = math.nan
    with pytest.raises(ValueError, match="1 of 9 features hold NaN"):
        Moments.of(broken)
