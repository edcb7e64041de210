"""Rewards and terminations against what their figures come to on paper."""

import math

import numpy as np
import pytest
import torch

from ivideo.evaluation.measures.calibration import calibration, calibration_error, outcomes, reliability
from ivideo.evaluation.measures.collected import Collected


def figures(found: Collected) -> dict[tuple[str, str], float]:
    return {(each.quantity, each.source): each.values[0].value for each in calibration(found, resamples=50)}


def test_perfect_and_ignorant_rewards() -> None:
    true = torch.tensor([[9.0, 0.0, 1.0], [9.0, 2.0, 5.0]])  # the first arrives with a context frame
    right = figures(outcomes(2, rewards=(true, true)))
    assert right["Reward of clips, R2", "prediction"] == 1.0
    assert right["Reward, mean absolute error", "prediction"] == right["Reward, bias", "prediction"] == 0.0
    ignorant = figures(outcomes(2, rewards=(true, torch.full_like(true, 2.0))))
    assert ignorant["Reward of clips, R2", "prediction"] == 0.0
    assert ignorant["Reward, mean absolute error", "prediction"] == 1.5
    assert ignorant["Reward, mean absolute error", "mean reward"] == 1.5
    assert ignorant["Reward, bias", "prediction"] == 0.0
    assert figures(outcomes(2, rewards=(true, true + 0.25)))["Reward, bias", "prediction"] == 0.25
    assert not any("Termination" in quantity for quantity, _ in right)


def test_terminations_of_known_rates() -> None:
    true = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    sure = figures(outcomes(1, terminals=(true, true)))
    assert sure["Termination, Brier score", "prediction"] == 0.0
    assert sure["Termination, AUROC", "prediction"] == 1.0
    assert sure["Termination, expected calibration error", "prediction"] == 0.0
    rate = figures(outcomes(1, terminals=(true, torch.full_like(true, 1 / 6))))
    assert rate["Termination, Brier score", "prediction"] == pytest.approx(5 / 36, rel=1e-6)
    assert rate["Termination, Brier score", "base rate"] == pytest.approx(5 / 36)
    assert rate["Termination, AUROC", "prediction"] == 0.5
    assert rate["Termination, expected calibration error", "prediction"] == pytest.approx(0.0, abs=1e-6)
    never = figures(outcomes(1, terminals=(torch.zeros(2, 3), torch.full((2, 3), 0.25))))
    assert math.isnan(never["Termination, AUROC", "prediction"])
    assert never["Termination, expected calibration error", "prediction"] == 0.25
    assert never["Termination, Brier score", "base rate"] == 0.0


def test_calibration_error_is_the_gap_in_every_tenth() -> None:
    generator = np.random.default_rng(3)
    true, predicted = (generator.random((4, 30, 2)) < 0.4).astype(float), generator.random((4, 30, 2))
    predicted[0, 0] = 1.0  # belongs to the last tenth
    found = calibration_error(np.concatenate([true, predicted], axis=2))
    for row in range(4):
        gap = 0.0
        for tenth in range(10):
            inside = np.minimum((predicted[row] * 10).astype(int), 9) == tenth
            if inside.any():
                gap += inside.sum() * abs(true[row][inside].mean() - predicted[row][inside].mean())
        assert found[row] == pytest.approx(gap / 60)


def test_reliability_bins_hold_every_frame_once() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted = torch.rand(40, 5, generator=generator)
    true = (torch.rand(40, 5, generator=generator) < predicted).float()
    tables = reliability(outcomes(1, rewards=(3 * predicted, predicted), terminals=(true, predicted)))
    for bins in tables.values():
        assert sum(each.count for each in bins) == 200
        assert [each.predicted for each in bins] == sorted(each.predicted for each in bins)
        total = sum(each.count * each.predicted for each in bins)
        assert total == pytest.approx(float(predicted.sum()), rel=1e-6)
    assert {each.count for each in tables["reward"]} == {20}
    assert all(each.true == pytest.approx(3 * each.predicted, rel=1e-6) for each in tables["reward"])
    assert all(place / 10 <= each.predicted < (place + 1) / 10 for place, each in enumerate(tables["termination"]))
    assert len(reliability(outcomes(1, terminals=(true[:1, :1], predicted[:1, :1])))["termination"]) == 1


def test_batches_and_runs_add_up() -> None:
    true, predicted = torch.rand(4, 3), torch.rand(4, 3)
    whole = outcomes(1, rewards=(true, predicted))
    halves = [outcomes(1, rewards=(true[rows], predicted[rows])) for rows in (slice(0, 1), slice(1, 4))]
    assert figures(Collected.joined(halves)) == figures(whole)
    assert [len(each) for each in Collected.joined(halves).values.values()] == [4, 4]
    twice = figures(Collected.repeated([whole, whole]))
    assert twice == pytest.approx(figures(whole))
