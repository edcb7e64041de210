"""How samples become one value per clip."""

import math

import pytest
import torch
from random_lpips import random_backbone, random_heads
from torch import Tensor

from ivideo.evaluation.metrics.reduction import qualities, reduce_samples
from ivideo.evaluation.protocol import QUALITIES
from tokenizer.perceptual import LPIPS

NAN = math.nan
VALUES = torch.tensor([[[1.0, 5.0], [4.0, 4.0], [0.0, 2.0]], [[7.0, 1.0], [2.0, 2.0], [3.0, 4.0]]])


@pytest.mark.parametrize(("better", "score", "chosen"), [("higher", [4.0, 4.0], [1, 0]), ("lower", [1.0, 2.0], [2, 1])])
def test_the_best_sample_by_its_frame_average(better: str, score: list[float], chosen: list[int]) -> None:
    reduced = reduce_samples(VALUES, "best", better)
    assert reduced.score.tolist() == score
    assert reduced.chosen is not None
    assert reduced.chosen.tolist() == chosen
    assert reduced.curve.tolist() == [VALUES[clip, place].tolist() for clip, place in enumerate(chosen)]


def test_the_mean_of_all_samples() -> None:
    score, curve, chosen = reduce_samples(VALUES, "mean", "lower")
    assert score.tolist() == pytest.approx([16 / 6, 19 / 6])
    assert curve.flatten().tolist() == pytest.approx([5 / 3, 11 / 3, 4.0, 7 / 3])
    assert chosen is None


def test_one_sample_is_its_own_best_and_mean() -> None:
    for better in ("higher", "lower"):
        best, mean = (reduce_samples(VALUES[:, :1], how, better) for how in ("best", "mean"))
        assert torch.equal(best.score, mean.score)
        assert torch.equal(best.curve, mean.curve)


@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize("broken", [NAN, math.inf, -math.inf])
def test_a_broken_sample_never_wins_and_is_not_averaged_away(better: str, broken: float) -> None:
    values = VALUES.clone()
    values[0, 1, 0] = broken
    values[1, :, 1] = broken
    best, mean = (reduce_samples(values, how, better) for how in ("best", "mean"))
    assert best.chosen is not None
    assert best.chosen.tolist() == [0 if better == "higher" else 2, -1]
    assert best.score[0].item() == (3.0 if better == "higher" else 1.0)
    assert best.score[1].isnan()
    assert best.curve[1].isnan().all()
    assert mean.score.isnan().all()
    assert mean.curve.isnan().all()


def test_nothing_to_reduce_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        reduce_samples(VALUES[:, :0], "best", "higher")


def test_every_metric_gets_better_towards_the_truth_and_says_which_way_that_is() -> None:
    network = LPIPS(random_backbone("alex"), random_heads("alex"), "alex")
    truth = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    wrong = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    samples = torch.stack([truth.lerp(wrong, share) for share in (0.6, 0.1, 0.3)], dim=1)
    for quality in qualities(QUALITIES, network):
        values = quality.measure_samples(truth, samples)
        assert values.shape == (2, 3, 3)
        reduced = reduce_samples(values, "best", quality.better)
        assert reduced.chosen is not None
        assert reduced.chosen.tolist() == [1, 1], quality.name


def test_labels_say_how_values_are_scaled() -> None:
    def scaled(name: str, predicted: Tensor) -> float:
        return qualities((name,))[0].measure(torch.zeros(3, 16, 16), predicted).item()

    grey = torch.full((3, 16, 16), 0.2)
    assert [quality.label for quality in qualities()] == ["MSE x1000", "PSNR, dB", "SSIM x100"]
    assert scaled("mse", grey) == pytest.approx(40.0, rel=1e-6)
    assert scaled("psnr", grey) == pytest.approx(20 * math.log10(5), rel=1e-6)
    assert scaled("ssim", torch.zeros(3, 16, 16)) == pytest.approx(100.0)


def test_metrics_that_cannot_be_had_are_refused() -> None:
    with pytest.raises(ValueError, match="'fvd' is no metric of frames; expected some of mse, psnr, ssim, lpips"):
        qualities(("psnr", "fvd"))
    with pytest.raises(ValueError, match="lpips is measured by a network"):
        qualities(("lpips",))
