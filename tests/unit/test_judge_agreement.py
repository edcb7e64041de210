"""Correlations, rank violations and reliability: beside SciPy's, and cases worked by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from ivideo.judge.agreement import (
    agreement,
    bias,
    calibration_error,
    episode_correlation,
    mmrv,
    pearson,
    reliability,
    spearman,
)

RNG = np.random.default_rng(0)


def row(*values: float) -> np.ndarray:
    return np.array([values], dtype=np.float64)


@pytest.mark.parametrize("ties", [False, True])
def test_correlations_are_scipys(ties: bool) -> None:
    for policies in (2, 3, 5, 12):
        a, b = RNG.normal(size=policies), RNG.normal(size=policies)
        if ties:
            a, b = np.round(a), np.round(b)
            a[0], b[0] = 9.0, -9.0  # something varies
        assert pearson(a[None], b[None])[0] == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-9)
        assert spearman(a[None], b[None])[0] == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-9)


def test_a_side_that_does_not_vary_has_no_correlation() -> None:
    assert math.isnan(pearson(row(1, 1, 1), row(1, 2, 3))[0])
    assert math.isnan(spearman(row(1, 2, 3), row(0.1 + 0.2, 0.3, 0.3))[0])  # ties but for rounding


@pytest.mark.parametrize(
    ("judged", "true", "expected"),
    [
        ((0.1, 0.5, 0.9), (0.0, 0.4, 1.0), 0.0),  # the same order, other numbers
        ((0.9, 0.5, 0.1), (0.0, 0.4, 1.0), (1.0 + 0.6 + 1.0) / 3),  # reversed: each one's worst
        ((0.1, 0.9, 0.5), (0.0, 0.4, 0.5), (0.0 + 0.1 + 0.1) / 3),  # two neighbours exchanged
        ((0.5, 0.5), (0.2, 0.8), 0.6 / 2),  # judged equal: only the truly lower one is below the other
        ((0.2, 0.8), (0.5, 0.5), 0.0),  # truly equal: nothing is lost by any order
    ],
)
def test_rank_violations_by_hand(judged: tuple, true: tuple, expected: float) -> None:
    assert mmrv(row(*judged), row(*true))[0] == pytest.approx(expected)


def test_what_was_not_judged_is_left_out() -> None:
    nan = math.nan
    assert mmrv(row(0.9, nan, 0.1), row(0.0, 5.0, 1.0))[0] == pytest.approx(1.0)
    assert spearman(row(1, nan, 3, 2), row(1, 9, 3, 2))[0] == pytest.approx(1.0)
    assert pearson(row(1, nan, 3, 2), row(2, 9, 6, 4))[0] == pytest.approx(1.0)
    assert bias(row(1, nan), row(0, 5))[0] == pytest.approx(1.0)


def test_intervals_draw_scenes_alike_for_model_and_truth() -> None:
    truth = RNG.normal(size=(6, 1)) + 5.0 * RNG.normal(size=(1, 30))  # scenes differ far more than policies do
    exact = agreement(truth + 3.0, truth)
    assert (exact.spearman.low, exact.spearman.value, exact.spearman.high) == (1.0, 1.0, 1.0)
    assert exact.mmrv.high == 0.0
    assert exact.bias.low == pytest.approx(3.0)
    noise = agreement(RNG.normal(size=(6, 30)), truth)
    assert noise.spearman.low < 0 < noise.spearman.high
    assert agreement(truth, truth, seed=1) == agreement(truth, truth, seed=1)


def test_drawing_policies_too_is_less_sure() -> None:
    truth = np.arange(6.0)[:, None] + RNG.normal(size=(6, 40))
    judged = truth + 2.0 * RNG.normal(size=(6, 40))
    found = agreement(judged, truth)
    fixed, drawn = found.spearman, found.spearman_policies
    assert drawn.value == fixed.value
    assert drawn.high - drawn.low > fixed.high - fixed.low


def test_tries_are_correlated_one_by_one() -> None:
    truth = RNG.normal(size=(4, 25))
    judged = truth + 0.5 * RNG.normal(size=(4, 25))
    judged[0, 3] = np.nan
    there = ~np.isnan(judged)
    found = episode_correlation(judged, truth)
    assert found.value == pytest.approx(stats.pearsonr(judged[there], truth[there]).statistic)
    assert found.low < found.value < found.high
    assert math.isnan(episode_correlation(np.ones((4, 25)), truth).value)


def test_nothing_known_is_no_number() -> None:
    found = agreement(np.full((3, 4), np.nan), np.ones((3, 4)))
    assert math.isnan(found.spearman.value)
    assert found.policies == 0


def test_reliability_bins_hold_all_and_split_no_ties() -> None:
    judged = np.repeat([0.0, 0.5, 1.0], [50, 30, 20])
    true = np.concatenate([np.zeros(50), np.tile([0.0, 1.0], 15), np.ones(20)])
    bins = reliability(judged, true, bins=8)
    assert sorted({each.judged for each in bins}) == [0.0, 0.5, 1.0]
    assert sum(each.episodes for each in bins) == 100
    assert len(bins) == 3
    assert calibration_error(bins) == pytest.approx(0.0)
    assert calibration_error(reliability(judged, 1.0 - true)) == pytest.approx(0.7)
    assert reliability(np.array([np.nan]), np.array([1.0])) == []
