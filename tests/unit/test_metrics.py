"""Figures against what they come to on paper."""

import math

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ivideo.evaluation.metrics import (
    Interval,
    bootstrap,
    changed_pixels,
    changed_psnr,
    determination,
    mean,
    median,
    psnr,
    r2,
    ratio,
)


def grey(*values: int) -> torch.Tensor:
    """Frames `[t 3 4 4]`, each of one grey."""
    return torch.tensor(values, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4).clone()


@pytest.mark.parametrize(("error", "decibels"), [(0, 100.0), (255, 0.0), (51, 20 * math.log10(5)), (1, 48.1308)])
def test_psnr_of_a_constant_error(error: int, decibels: float) -> None:
    assert psnr(grey(0), grey(error)).item() == pytest.approx(decibels, abs=1e-4)


def test_psnr_is_per_frame_and_the_same_for_floats() -> None:
    truth, predicted = grey(0, 10, 200), grey(51, 10, 149)
    expected = [20 * math.log10(5), 100.0, 20 * math.log10(5)]
    assert psnr(truth, predicted).tolist() == pytest.approx(expected)
    assert psnr(truth, predicted.float() / 255.0)[[0, 2]].tolist() == pytest.approx([expected[0]] * 2, rel=1e-5)
    assert psnr(truth.reshape(1, 3, 3, 4, 4), predicted.reshape(1, 3, 3, 4, 4)).shape == (1, 3)


def test_floats_beyond_black_and_white_are_clamped() -> None:
    assert psnr(grey(255), grey(255).float() / 255.0 + 0.5).item() == 100.0


def test_unequal_shapes_are_refused_rather_than_broadcast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside of tests
    with pytest.raises(ValueError, match="equal shapes"):
        r2(torch.zeros(2, 2), torch.zeros(2))
    with pytest.raises(ValueError, match="equal shape"):
        psnr(grey(0, 0), grey(0))


def test_changed_psnr_looks_at_changed_pixels_only() -> None:
    last, truth = grey(100), grey(100)
    truth[0, 1, 0, 0] = 200  # one channel suffices
    truth[0, :, 3, 3] = 110  # below the threshold
    predicted = truth.clone()
    predicted[0, :, 2, 2] = 0  # wrong, where nothing changed
    predicted[0, :, 0, 0] = truth[0, :, 0, 0] - 51
    assert changed_pixels(truth, last).nonzero().tolist() == [[0, 0, 0]]
    assert changed_psnr(truth, predicted, last).item() == pytest.approx(20 * math.log10(5))
    assert changed_pixels(truth, last, threshold=0.03).sum() == 2


def test_changed_psnr_of_a_still_frame_is_nan_and_left_out_of_averages() -> None:
    values = changed_psnr(grey(9, 200), grey(9, 149), grey(9, 9))
    assert math.isnan(values[0])
    assert bootstrap(values).value == pytest.approx(20 * math.log10(5))


def test_a_threshold_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="threshold is 25"):
        changed_psnr(grey(0), grey(0), grey(0), threshold=25.0)


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
