"""Figures against what they come to on paper."""

import math

import jaxtyping
import pytest
import torch

from ivideo.evaluation.metrics.pixels import changed_pixels, changed_psnr, mse, psnr
from ivideo.evaluation.statistics import bootstrap, r2


def grey(*values: int) -> torch.Tensor:
    """Frames `[t 3 4 4]`, each of one grey."""
    return torch.tensor(values, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4).clone()


@pytest.mark.parametrize(("error", "decibels"), [(0, 100.0), (255, 0.0), (51, 20 * math.log10(5)), (1, 48.1308)])
def test_psnr_of_a_constant_error(error: int, decibels: float) -> None:
    assert psnr(grey(0), grey(error)).item() == pytest.approx(decibels, abs=1e-4)


@pytest.mark.parametrize(("error", "squared"), [(0, 0.0), (255, 1.0), (51, 0.04)])
def test_mse_of_a_constant_error(error: int, squared: float) -> None:
    assert mse(grey(0, 0), grey(error, 0)).tolist() == pytest.approx([squared, 0.0])


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
