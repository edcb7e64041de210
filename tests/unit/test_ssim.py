"""SSIM against an independent implementation, a plain loop, and what it comes to on paper."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ivideo.evaluation.metrics.ssim import ssim


def pictures(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, 3, 24, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def looped(x: np.ndarray, y: np.ndarray) -> float:
    """Of one channel, position by position, straight from the definition."""
    line = np.array([math.exp(-((i - 5) ** 2) / 4.5) for i in range(11)])
    window = np.outer(line, line) / np.outer(line, line).sum()
    values = []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = x[top : top + 11, left : left + 11], y[top : top + 11, left : left + 11]
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            spread = (window * (a - mean_a) ** 2).sum() + (window * (b - mean_b) ** 2).sum()
            shared = (window * (a - mean_a) * (b - mean_b)).sum()
            values.append(
                (2 * mean_a * mean_b + 1e-4) * (2 * shared + 9e-4) / ((mean_a**2 + mean_b**2 + 1e-4) * (spread + 9e-4))
            )
    return float(np.mean(values))


def test_agrees_with_torchmetrics() -> None:
    theirs = pytest.importorskip("torchmetrics.functional.image").structural_similarity_index_measure
    truth = pictures(0, 12)
    for predicted in (pictures(1, 12), (truth + 0.1 * pictures(2, 12)).clamp(0, 1)):
        _, maps = theirs(
            predicted, truth, sigma=1.5, kernel_size=11, data_range=1.0, reduction="none", return_full_image=True
        )
        expected = maps[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))  # it reflects the edges; here, windows stay within them
        assert ssim(truth, predicted).tolist() == pytest.approx(expected.tolist(), abs=1e-7)


def test_agrees_with_the_definition_position_by_position() -> None:
    truth, predicted = pictures(3, 1), pictures(4, 1)
    expected = np.mean([looped(truth[0, k].numpy(), predicted[0, k].numpy()) for k in range(3)])
    assert ssim(truth, predicted).item() == pytest.approx(float(expected), abs=1e-10)


def test_equal_pictures_and_constant_ones() -> None:
    picture = pictures(5, 2)
    assert ssim(picture, picture).tolist() == pytest.approx([1.0, 1.0], abs=1e-12)
    grey, light = torch.full_like(picture, 0.2), torch.full_like(picture, 0.7)
    paper = (2 * 0.2 * 0.7 + 1e-4) / (0.2**2 + 0.7**2 + 1e-4)  # no structure on either side
    assert ssim(grey, light).tolist() == pytest.approx([paper, paper])


def test_per_frame_symmetric_and_the_same_for_bytes() -> None:
    truth, predicted = ((255 * pictures(seed, 2, 9)).to(torch.uint8) for seed in (6, 7))
    values = ssim(truth, predicted)
    assert values.shape == (2, 9)
    assert values.dtype == torch.float64
    assert values[1, 8].item() == pytest.approx(ssim(truth[1, 8], predicted[1, 8]).item())
    assert torch.allclose(values, ssim(predicted, truth))
    assert torch.allclose(values, ssim(truth.double() / 255, predicted.double() / 255))
    assert ssim(truth[:, :0], predicted[:, :0]).shape == (2, 0)


def test_a_broken_frame_has_no_value_and_spoils_no_other() -> None:
    truth, predicted = pictures(8, 3), pictures(9, 3)
    predicted[1, 0, 5, 5] = math.nan
    assert ssim(truth, predicted).isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("shape", [(3, 10, 64), (3, 64, 10)])
def test_frames_smaller_than_the_window_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected at least 11 x 11"):
        ssim(torch.zeros(shape), torch.zeros(shape))
