"""Structural similarity of frames: how alike their brightness, contrast and structure are around every pixel.

Source: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, IEEE TIP 13(4), 2004,
with the constants of its section III-C; per channel, as video prediction reports it.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ivideo.evaluation.metrics.pixels import Frames, check_equal_shapes, in_unit

WINDOW = 11
"""Side of the Gaussian window in pixels, and of the smallest frame there is a value for."""

_SIGMA = 1.5
_LUMINANCE, _CONTRAST = 0.01**2, 0.03**2  # (k L)^2 where L, the range of the pixels, is 1
_CHUNK = 8  # frames looked at together: what they need stays in the processor's cache


def ssim(truth: Frames, predicted: Frames) -> Float[Tensor, "*batch"]:
    """Return the structural similarity of every frame, at most 1 (which equal frames get).

    The mean over channels and over the positions at which the window lies within the frame; statistics are those of
    the window's own pixels (divided by their weight, not by one less). ValueError for frames below 11 x 11.
    """
    check_equal_shapes(truth, predicted)
    if min(truth.shape[-2:]) < WINDOW:
        height, width = truth.shape[-2:]
        raise ValueError(
            f"frames are {height} x {width} pixels; expected at least {WINDOW} x {WINDOW}, the window that SSIM looks "
            "through: leave ssim out, or evaluate larger frames"
        )
    pairs = (frames.reshape(-1, *frames.shape[-3:]).split(_CHUNK) for frames in (truth, predicted))
    values = [_similarity(in_unit(real), in_unit(made)) for real, made in zip(*pairs, strict=True)]
    result: Tensor = torch.cat(values).reshape(truth.shape[:-3])
    return result


def _similarity(x: Float[Tensor, "n 3 h w"], y: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
    mean_x, mean_y, square_x, square_y, product = _blur(torch.stack([x, y, x * x, y * y, x * y]))
    variances = (square_x - mean_x.square()) + (square_y - mean_y.square())
    covariance = product - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _LUMINANCE) / (mean_x.square() + mean_y.square() + _LUMINANCE)
    structure = (2 * covariance + _CONTRAST) / (variances + _CONTRAST)
    value: Tensor = (luminance * structure).mean(dim=(-3, -2, -1))
    return value


def _blur(maps: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h-10 w-10"]:
    """The Gaussian average around every pixel that is far enough from the edge, first along rows, then columns.

    Weighted slices are added up: convolutions in double precision are many times slower on a CPU.
    """
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    window = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    weights: list[float] = (window / window.sum()).tolist()
    for axis in (-1, -2):
        length = maps.shape[axis] - WINDOW + 1
        total = maps.narrow(axis, 0, length) * weights[0]
        for place, weight in enumerate(weights[1:], start=1):
            total.add_(maps.narrow(axis, place, length), alpha=weight)
        maps = total
    return maps
