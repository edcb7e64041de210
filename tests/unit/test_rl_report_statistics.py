"""Averages over few runs against what they come to by hand and by trying everything."""

import math
from itertools import product

import numpy as np
import pytest

from ivideo.evaluation.statistics import bootstrap
from rl.report.statistics import improvement, iqm, iqm_interval


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([7.0], 7.0),
        ([1.0, 2.0, 6.0], 3.0),  # three: nothing is left out
        ([0.0, 1.0, 2.0, 100.0], 1.5),  # four to seven: one at either end
        ([100.0, 3.0, 1.0, -50.0, 2.0], 2.0),
        ([0.0, 0.0, 1.0, 2.0, 3.0, 9.0, 9.0, 9.0], 3.75),  # eight: two
    ],
)
def test_the_interquartile_mean_by_hand(scores: list[float], expected: float) -> None:
    assert iqm(np.array([scores]))[0] == pytest.approx(expected)


def test_the_interquartile_mean_is_scipys_trimmed_mean() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for count in range(1, 30):
        samples = rng.normal(size=(3, count))
        assert np.allclose(iqm(samples), stats.trim_mean(samples, 0.25, axis=1))


def test_one_task_is_the_usual_bootstrap_over_runs() -> None:
    scores = np.random.default_rng(1).normal(size=7)
    usual = bootstrap(scores, lambda samples: iqm(samples[:, :, 0]), resamples=3000, seed=4)
    assert iqm_interval([scores], resamples=3000, seed=4) == usual


def test_runs_are_drawn_within_their_task() -> None:
    # Whatever is drawn of tasks in which all runs score alike, it is the same.
    alike = iqm_interval([np.zeros(4), np.full(4, 1.0)])
    assert (alike.value, alike.low, alike.high) == (0.5, 0.5, 0.5)
    mixed = iqm_interval([np.array([0.0, 1.0] * 4)])
    assert (mixed.value, mixed.low, mixed.high) == (0.5, 0.0, 1.0)


def test_an_interval_against_all_resamples_there_are() -> None:
    scores = np.array([0.0, 0.1, 0.4, 0.5, 1.0])
    everything = np.sort([iqm(np.array([draw]))[0] for draw in product(scores, repeat=5)])
    found = iqm_interval([scores], resamples=200_000)
    for end, share in ((found.low, 0.025), (found.high, 0.975)):
        below, upto = np.mean(everything < end - 1e-9), np.mean(everything <= end + 1e-9)
        assert below - 0.003 <= share <= upto + 0.003


def test_improvement_by_hand_with_ties_counting_half() -> None:
    better, worse = np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.0])
    found = improvement([better], [worse])
    assert found.value == pytest.approx((0 + 1 + 0.5 + 1 + 1 + 1) / 6)
    other = improvement([worse], [better])
    assert other.value == pytest.approx(1 - found.value)
    assert found.low < found.value < found.high
    assert improvement([better], [better]).value == 0.5


def test_improvement_is_averaged_over_tasks() -> None:
    one, other = (np.array([1.0, 1.0]), np.array([0.0])), (np.array([0.0]), np.array([1.0, 1.0, 1.0]))
    assert improvement([one[0]], [one[1]]).value == 1.0
    assert improvement([one[0], other[0]], [one[1], other[1]]).value == 0.5


def test_an_interval_of_improvement_against_all_resamples_there_are() -> None:
    better, worse = np.array([0.2, 0.5, 0.9]), np.array([0.1, 0.6])
    every = [
        np.mean([(x > y) + 0.5 * (x == y) for x, y in product(mine, theirs)])
        for mine in product(better, repeat=3)
        for theirs in product(worse, repeat=2)
    ]
    found = improvement([better], [worse], resamples=100_000)
    for end, share in ((found.low, 0.025), (found.high, 0.975)):
        below, upto = np.mean(np.array(every) < end - 1e-9), np.mean(np.array(every) <= end + 1e-9)
        assert below - 0.005 <= share <= upto + 0.005


def test_parts_of_the_comparisons_give_what_all_at_once_give(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    better, worse = [rng.normal(size=6)], [rng.normal(size=5)]
    whole = improvement(better, worse, resamples=500)
    monkeypatch.setattr("rl.report.statistics._AT_ONCE", 100)
    assert improvement(better, worse, resamples=500) == whole


def test_one_run_says_nothing_of_its_spread_and_none_nothing_at_all() -> None:
    single = iqm_interval([np.array([3.0])])
    assert single.value == 3.0
    assert math.isnan(single.low)
    assert str(single) == "3.00"
    pair = improvement([np.array([3.0])], [np.array([1.0])])
    assert pair.value == 1.0
    assert math.isnan(pair.high)
    for empty in (iqm_interval([np.array([])]), iqm_interval([]), improvement([np.array([])], [np.array([1.0])])):
        assert math.isnan(empty.value)
