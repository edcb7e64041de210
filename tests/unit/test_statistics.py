"""Averages and intervals against what they come to on paper."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ivideo.evaluation.statistics import Interval, bootstrap, determination, mean, median, r2, ratio


def test_r2_of_truth_its_mean_and_worse() -> None:
    truth = torch.tensor([[0.0, 1.0], [2.0, 5.0]])
    assert r2(truth, truth) == 1.0
    assert r2(truth, torch.full_like(truth, 2.0)) == 0.0
    assert r2(truth, torch.tensor([[0.0, 1.0], [2.0, 1.0]])) == pytest.approx(1 - 16 / 14)
    assert math.isnan(r2(torch.ones(3), torch.zeros(3)))


values = st.lists(st.floats(-50, 50) | st.just(math.nan), min_size=1, max_size=12)


@given(values=values)
def test_statistics_ignore_missing_values(values: list[float]) -> None:
    samples = np.array(values).reshape(1, -1, 1)
    present = [value for value in values if not math.isnan(value)]
    for statistic, reference in ((mean, np.mean), (median, np.median)):
        found = statistic(samples)[0]
        assert math.isnan(found) if not present else found == pytest.approx(reference(present), abs=1e-9)


def test_a_median_can_hold_against_infinite_errors() -> None:
    assert median(np.array([[[1.0], [2.0], [math.inf]]]))[0] == 2.0
    assert bootstrap(torch.tensor([math.inf, math.inf, 1.0]), median).value == math.inf


def test_statistics_of_halves() -> None:
    pairs = np.array([[[1.0, 4.0], [3.0, 4.0], [math.nan, math.nan]]])
    assert ratio(pairs)[0] == 0.5
    assert determination(np.array([[[0.0, 0.0], [2.0, 1.0]]]))[0] == 0.5
    assert math.isnan(ratio(np.zeros((1, 3, 2)))[0])


def test_bootstrap_is_seeded_and_covers_the_estimate() -> None:
    numbers = torch.from_numpy(np.random.default_rng(0).normal(10.0, 2.0, 100))
    found = bootstrap(numbers)
    assert found == bootstrap(numbers)
    assert found != bootstrap(numbers, seed=1)
    assert found.value == pytest.approx(float(numbers.mean()))
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * float(numbers.std()) / 10.0, rel=0.15)
    narrow = bootstrap(numbers, level=0.5)
    assert found.low < narrow.low < narrow.high < found.high


def test_bootstrap_draws_clips_not_frames() -> None:
    clips = torch.tensor([0.0, 1.0] * 10).reshape(-1, 1).expand(-1, 50)  # all that varies is between clips
    many = bootstrap(clips)
    assert many == bootstrap(clips[:, 0])
    assert many.high - many.low > 0.3


def test_bootstrap_of_nothing_is_nan_and_prints_as_a_dash() -> None:
    for nothing in (torch.zeros(0), torch.full((3,), math.nan)):
        found = bootstrap(nothing)
        assert math.isnan(found.value)
        assert str(found) == found.short() == "-"


def test_intervals_print_in_full_and_in_short() -> None:
    found = Interval(value=18.061, low=17.8, high=18.3)
    assert str(found) == "18.06 [17.80, 18.30]"
    assert found.short() == "18.06 ±0.26"
