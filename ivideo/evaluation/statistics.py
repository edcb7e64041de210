"""Averages over clips and how sure they are: bootstrap intervals, clips being what is drawn again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ivideo.evaluation.metrics.pixels import MAX_PSNR

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and the ends of its confidence interval; NaN throughout when there was nothing to average."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return for example `18.06 [17.81, 18.30]`, without the ends where none are known, a dash for no estimate."""
        if np.isnan(self.value):
            return "-"
        places = self._places
        ends = "" if np.isnan(self.low) else f" [{self.low:.{places}f}, {self.high:.{places}f}]"
        return f"{self.value:.{places}f}{ends}"

    def short(self) -> str:
        """Return for example `18.06 ±0.25`, the further end deciding; otherwise as in full."""
        if np.isnan(self.value) or np.isnan(self.low):
            return str(self)
        places = self._places
        return f"{self.value:.{places}f} ±{max(self.high - self.value, self.value - self.low):.{places}f}"

    @property
    def _places(self) -> int:
        """Decimals: two, and four for what two would hide."""
        return 4 if 0 < abs(self.value) < 0.1 else 2


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
    drawn = np.concatenate([statistic(array[draws]) for draws in _draws(array.shape, resamples, seed)])
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) == 0:
        return Interval(value=float("nan"), low=float("nan"), high=float("nan"))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail], method="inverted_cdf")  # no averaging: errors may be infinite
    return Interval(value=float(statistic(array[None])[0]), low=float(low), high=float(high))


def _draws(shape: tuple[int, ...], resamples: int, seed: int) -> Iterator[Int[np.ndarray, "r n"]]:
    """Draws of clips, as many at a time as keep the memory that is taken the same however many clips there are."""
    generator, clips = np.random.default_rng(seed), shape[0]
    step = max(1, _AT_ONCE // (clips * shape[1]))
    for first in range(0, resamples, step):
        yield generator.integers(clips, size=(min(step, resamples - first), clips))


_AT_ONCE = 1 << 20
"""Numbers that are drawn together."""

StatisticName: TypeAlias = Literal["mean", "median", "pooled_decibels", "ratio", "determination"]
"""How values of many clips become one figure; the last three read their last axis as two halves."""

STATISTICS: dict[StatisticName, Statistic] = {
    "mean": mean,
    "median": median,
    "pooled_decibels": pooled_decibels,
    "ratio": ratio,
    "determination": determination,
}
HALVED: frozenset[StatisticName] = frozenset({"pooled_decibels", "ratio", "determination"})
