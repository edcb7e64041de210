"""Figures that compare imagined frames with true ones, and bootstrap intervals for their averages.

Protocol, for every figure reported in decibels: one figure per clip and frame, then the mean over clips. Averaging
squared errors over clips before taking the logarithm gives lower and incomparable numbers; where such a number is
wanted, it is called pooled.

Frames are RGB `[... 3 h w]`, uint8 or float in [0, 1]; floats outside that range are clamped, as a screen would.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

MAX_PSNR = 100.0

Frames = UInt8[Tensor, "*batch 3 h w"] | Float[Tensor, "*batch 3 h w"]
Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def psnr(truth: Frames, predicted: Frames) -> Float[Tensor, "*batch"]:
    """Return the peak signal-to-noise ratio of every frame in dB, at most 100 (which equal frames get)."""
    return _decibels(_squared_error(truth, predicted).mean(dim=(-3, -2, -1)))


def changed_psnr(
    truth: Frames, predicted: Frames, last_context: Frames, *, threshold: float = 0.1
) -> Float[Tensor, "*batch"]:
    """Return the PSNR of every frame in dB over the pixels that truly changed since the last context frame.

    A copy of the context cannot score well here, however little of the picture moves. NaN where nothing changed.

    Args:
        truth: true frames.
        predicted: imagined frames of the same shape.
        last_context: the last frame that the model was shown, repeated for every frame.
        threshold: a pixel has changed when its true value differs by more than this in some channel, on the scale
            from 0 to 1. The default, 25 of 255 levels, is above the noise of compressed video.
    """
    changed = changed_pixels(truth, last_context, threshold=threshold)
    error = _squared_error(truth, predicted).mean(dim=-3)
    count = changed.sum(dim=(-2, -1))
    return _decibels((error * changed).sum(dim=(-2, -1)) / count)  # 0 / 0 is the NaN promised above


def pooled_errors(
    truth: Frames, predicted: Frames, last_context: Frames | None = None, *, threshold: float = 0.1
) -> Float[Tensor, "*batch 2"]:
    """Return every frame's squared error and the number of pixels it is summed over, for `pooled_decibels`.

    With `last_context`, only over the pixels that truly changed since then; see `changed_psnr`.
    """
    error = _squared_error(truth, predicted).mean(dim=-3)
    if last_context is None:
        counted = torch.ones_like(error)
    else:
        counted = changed_pixels(truth, last_context, threshold=threshold).to(error)
    return torch.stack([(error * counted).sum(dim=(-2, -1)), counted.sum(dim=(-2, -1))], dim=-1)


def changed_pixels(truth: Frames, last_context: Frames, *, threshold: float = 0.1) -> Bool[Tensor, "*batch h w"]:
    """Say which pixels differ from the last context frame by more than `threshold` (of 1) in some channel."""
    if not 0.0 <= threshold < 1.0:
        raise ValueError(f"threshold is {threshold}; expected one in [0, 1), the scale on which pixels are compared")
    return ((_unit(truth) - _unit(last_context)).abs() > threshold).any(dim=-3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and the ends of its confidence interval; NaN throughout when there was nothing to average."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return for example `18.06 [17.81, 18.30]`, or a dash when there is no estimate."""
        return "-" if np.isnan(self.value) else f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def short(self) -> str:
        """Return for example `18.06 ±0.25`, the further end deciding, or a dash when there is no estimate."""
        if np.isnan(self.value):
            return "-"
        return f"{self.value:.2f} ±{max(self.high - self.value, self.value - self.low):.2f}"


def mean(samples: Float[np.ndarray, "r n k"]) -> Float[np.ndarray, "r"]:
    """Return the mean of every sample, ignoring NaN."""
    present = ~np.isnan(samples)
    count = present.sum(axis=(1, 2))
    total = np.where(present, samples, 0.0).sum(axis=(1, 2))
    means: NDArray[np.float64] = np.divide(total, count, out=np.full(len(samples), np.nan), where=count > 0)
    return means


def median(samples: Float[np.ndarray, "r n k"]) -> Float[np.ndarray, "r"]:
    """Return the median of every sample, ignoring NaN."""
    flat = np.sort(rearrange(samples, "r n k -> r (n k)"), axis=1)  # NaN comes last
    count = (~np.isnan(flat)).sum(axis=1)
    rows = np.arange(len(flat))
    low, high = flat[rows, np.maximum(count - 1, 0) // 2], flat[rows, count // 2]  # both NaN when nothing is there
    medians: NDArray[np.float64] = 0.5 * (low + high)
    return medians


def pooled_decibels(samples: Float[np.ndarray, "r n k"]) -> Float[np.ndarray, "r"]:
    """Return the decibels of every sample's pooled error; the last axis holds squared errors, then their counts."""
    errors, counts = np.split(samples, 2, axis=2)
    total = counts.sum(axis=(1, 2))
    mean_error = np.divide(errors.sum(axis=(1, 2)), total, out=np.full(len(samples), np.nan), where=total > 0)
    decibels: NDArray[np.float64] = -10.0 * np.log10(np.maximum(mean_error, 10.0 ** (-MAX_PSNR / 10.0)))
    return decibels


def determination(samples: Float[np.ndarray, "r n k"]) -> Float[np.ndarray, "r"]:
    """Return the R2 of every sample, whose last axis holds first the true and then as many predicted values."""
    truth, predicted = np.split(samples, 2, axis=2)
    spread = np.square(truth - truth.mean(axis=(1, 2), keepdims=True)).sum(axis=(1, 2))
    missed = np.square(truth - predicted).sum(axis=(1, 2))
    explained: NDArray[np.float64] = 1.0 - np.divide(
        missed, spread, out=np.full(len(samples), np.nan), where=spread > 0
    )
    return explained


def ratio(samples: Float[np.ndarray, "r n k"]) -> Float[np.ndarray, "r"]:
    """Return the mean of the first half of the last axis over the mean of the second half, ignoring NaN."""
    above, below = (mean(half) for half in np.split(samples, 2, axis=2))
    quotient: NDArray[np.float64] = np.divide(above, below, out=np.full(len(samples), np.nan), where=below > 0)
    return quotient


def r2(truth: Float[Tensor, "*n"], predicted: Float[Tensor, "*n"]) -> float:
    """Return the coefficient of determination over all entries: 1 is perfect, 0 is no better than the true mean.

    NaN when the truth does not vary.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth is {list(truth.shape)} and predicted {list(predicted.shape)}; expected equal shapes")
    pairs = torch.stack([truth.flatten(), predicted.flatten()], dim=-1).double().cpu().numpy()
    return float(determination(pairs[None])[0])


def bootstrap(
    values: Float[Tensor, "n *k"] | Float[np.ndarray, "n *k"],
    statistic: Statistic = mean,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a statistic of the values with its percentile bootstrap interval; clips are what is drawn again.

    Args:
        values: one row per clip; further axes belong to the clip and are drawn with it. NaN marks a missing value.
        statistic: `mean`, `median`, `ratio` or `determination`, or another function of samples `[r n k]`, k being what
            belongs to a clip, that returns `[r]`.
        resamples: how many times the clips are drawn, with replacement.
        level: confidence.
        seed: the same values and seed give the same interval.
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) == 0:
        return Interval(value=float("nan"), low=float("nan"), high=float("nan"))
    array = array.reshape(len(array), -1)
    drawn = statistic(array[_draws(len(array), resamples, seed)])
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) == 0:
        return Interval(value=float("nan"), low=float("nan"), high=float("nan"))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail], method="inverted_cdf")  # no averaging: errors may be infinite
    return Interval(value=float(statistic(array[None])[0]), low=float(low), high=float(high))


def _draws(clips: int, resamples: int, seed: int) -> Int[np.ndarray, "r n"]:
    return np.random.default_rng(seed).integers(clips, size=(resamples, clips))


def _squared_error(truth: Tensor, predicted: Tensor) -> Tensor:
    if truth.shape != predicted.shape:
        raise ValueError(
            f"truth is {list(truth.shape)} and predicted {list(predicted.shape)}; expected frames of equal shape"
        )
    return (_unit(truth) - _unit(predicted)).square()


def _unit(frames: Tensor) -> Tensor:
    """Return frames as float64 in [0, 1], where the error of equal pixels is exactly 0."""
    if frames.dtype == torch.uint8:
        return frames.double() / 255.0
    return frames.double().clamp(0.0, 1.0)


def _decibels(mse: Tensor) -> Tensor:
    return -10.0 * torch.log10(mse.clamp_min(10.0 ** (-MAX_PSNR / 10.0)))
