"""Averages over few runs, and how sure they are, as Agarwal et al. recommend for them.

Source: Deep Reinforcement Learning at the Edge of the Statistical Precipice (arXiv 2108.13264), section 4. A score is
one number of one run, such as the share of its evaluation episodes that succeeded; tasks are strata: what is drawn
again are runs, within each task.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from ivideo.evaluation.statistics import Interval

RESAMPLES = 10_000
_AT_ONCE = 1 << 20
"""Comparisons that are made together."""

Strata = Sequence[Float[np.ndarray, "_"]]
"""Scores of the runs of every task."""


def iqm(samples: Float[np.ndarray, "r n"]) -> Float[np.ndarray, "r"]:
    """Return the interquartile mean of every sample: without its lowest and its highest quarter.

    Of n scores, n / 4 rounded down are left out at either end, whole scores only: none of up to three (a plain mean),
    one of four to seven, two of eight to eleven. That is `scipy.stats.trim_mean(scores, 0.25)`, as rliable has it.
    """
    cut = samples.shape[1] // 4
    middle: NDArray[np.float64] = np.sort(samples, axis=1)[:, cut : samples.shape[1] - cut].mean(axis=1)
    return middle


def iqm_interval(strata: Strata, *, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0) -> Interval:
    """Return the interquartile mean of the scores of all tasks with its stratified percentile bootstrap interval.

    Every resample draws as many runs of each task as it has, with replacement. One run of each task says nothing of
    its spread: the interval is then NaN, and so is everything where a task has no run.
    """
    if not strata or any(len(each) == 0 for each in strata):
        return Interval(value=float("nan"), low=float("nan"), high=float("nan"))
    value = float(iqm(np.concatenate(strata)[None])[0])
    rng = np.random.default_rng(seed)
    drawn = np.concatenate([each[_draws(rng, each, resamples)] for each in strata], axis=1)
    return _interval(value, iqm(drawn), level, known=any(len(each) > 1 for each in strata))


def improvement(
    better: Strata, worse: Strata, *, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return how likely a run of one method scores above a run of another, with its stratified bootstrap interval.

    That is the share of all pairs of their runs in which it does, ties counting half (the Mann-Whitney statistic over
    the number of pairs), averaged over tasks. Both methods' strata are the same tasks in the same order. The interval
    is NaN where each method has one run of each task, and so is everything where a task lacks runs of either.
    """
    assert len(better) == len(worse), "the strata are the same tasks"
    pairs = list(zip(better, worse, strict=True))
    if not pairs or any(len(each) == 0 or len(other) == 0 for each, other in pairs):
        return Interval(value=float("nan"), low=float("nan"), high=float("nan"))
    rng = np.random.default_rng(seed)
    value, drawn = 0.0, np.zeros(resamples)
    for each, other in pairs:
        wins = (each[:, None] > other[None]) + 0.5 * (each[:, None] == other[None])
        value += float(wins.mean()) / len(pairs)
        mine, theirs = _draws(rng, each, resamples), _draws(rng, other, resamples)
        for part in _parts(resamples, wins.size):
            drawn[part] += wins[mine[part][:, :, None], theirs[part][:, None, :]].mean(axis=(1, 2)) / len(pairs)
    return _interval(value, drawn, level, known=any(len(each) > 1 for pair in pairs for each in pair))


def _draws(rng: np.random.Generator, scores: Float[np.ndarray, "_"], resamples: int) -> Int[np.ndarray, "r n"]:
    return rng.integers(len(scores), size=(resamples, len(scores)))


def _parts(resamples: int, pairs: int) -> Iterator[slice]:
    step = max(1, _AT_ONCE // pairs)
    for first in range(0, resamples, step):
        yield slice(first, min(first + step, resamples))


def _interval(value: float, drawn: Float[np.ndarray, "r"], level: float, *, known: bool) -> Interval:
    if not known:
        return Interval(value=value, low=float("nan"), high=float("nan"))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail], method="inverted_cdf")
    return Interval(value=value, low=float(low), high=float(high))
