"""Does a model rank policies as the world does? Correlations and rank violations, with how sure they are.

Values come as `[p s]`: p policies in the same s scenes. A policy's value is its mean over scenes; NaN is a scene that
was not judged, and is left out. Intervals are percentile bootstraps that draw scenes again, the same for all policies
and for model and truth alike; drawing policies too says how far it would hold for other ones.

Rank violation of policies i and j (SIMPLER, Li et al. 2024, arXiv 2405.05941, section on metrics): how far apart they
truly are, R(i) - R(j) in absolute value, where the model puts them in another order, and else 0. Its *mean maximum*
(MMRV) takes the worst j of every i, and the mean over i: what it costs, in the truth's unit, to believe the model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ivideo.evaluation.measures.ranks import spearman as rank_correlation
from ivideo.evaluation.statistics import Interval, bootstrap

Comparison: TypeAlias = Callable[[Float[np.ndarray, "r p"], Float[np.ndarray, "r p"]], Float[np.ndarray, "r"]]
"""A figure of judged and true values, in r draws at once."""
RESAMPLES = 2000
LEVEL = 0.95
_Pair: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Judged and true means of policies, `[r p]`."""
BINS = 8
"""Of a reliability diagram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How well judged values go with true ones."""

    pearson: Interval
    spearman: Interval
    spearman_policies: Interval
    """The same, policies drawn again as well as scenes."""
    mmrv: Interval
    """In the truth's unit; 0 is perfect."""
    bias: Interval
    """Mean of judged less true values; means something only where both have one unit."""
    policies: int
    """That have a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """A part of all episodes in a reliability diagram: those that were judged about alike."""

    judged: float
    """Mean of what they were judged."""
    true: Interval
    """Mean of what they truly came to."""
    episodes: int


def pearson(judged: Float[np.ndarray, "r p"], true: Float[np.ndarray, "r p"]) -> Float[np.ndarray, "r"]:
    """Return the correlation of each row; NaN where a side does not vary. Pairs with NaN are left out."""
    there = ~np.isnan(judged) & ~np.isnan(true)
    a, b = _centred(judged, there), _centred(true, there)
    spread = np.sqrt(np.square(a).sum(1) * np.square(b).sum(1))
    found: NDArray[np.float64] = np.divide((a * b).sum(1), spread, out=np.full(len(a), np.nan), where=spread > 1e-12)
    return found


def spearman(judged: Float[np.ndarray, "r p"], true: Float[np.ndarray, "r p"]) -> Float[np.ndarray, "r"]:
    """Return the rank correlation of each row, ties sharing their mean rank; NaN where a side does not vary."""
    return rank_correlation(np.ascontiguousarray(np.stack([_rounded(judged), _rounded(true)], axis=2)))


def mmrv(judged: Float[np.ndarray, "r p"], true: Float[np.ndarray, "r p"]) -> Float[np.ndarray, "r"]:
    """Return the mean maximum rank violation of each row; see above. Pairs with NaN are left out; NaN of none.

    As published, i and j are in another order where one side says that i is below j and the other does not: equal
    values are below nothing.
    """
    judged, true = _rounded(judged), _rounded(true)
    there = ~np.isnan(judged) & ~np.isnan(true)
    below = judged[:, :, None] < judged[:, None]
    truly = true[:, :, None] < true[:, None]
    both = there[:, :, None] & there[:, None]
    violation = np.where((below != truly) & both, np.abs(true[:, :, None] - true[:, None]), 0.0)
    worst = violation.max(axis=2) if violation.shape[2] else violation.sum(axis=2)
    count = there.sum(1)
    found: NDArray[np.float64] = np.divide(worst.sum(1), count, out=np.full(len(worst), np.nan), where=count > 0)
    return found


def bias(judged: Float[np.ndarray, "r p"], true: Float[np.ndarray, "r p"]) -> Float[np.ndarray, "r"]:
    """Return the mean difference of each row."""
    difference = judged - true
    return _mean(difference, axis=1)


def agreement(
    judged: Float[np.ndarray, "p s"],
    true: Float[np.ndarray, "p s"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """Compare values of the same policies in the same scenes."""
    draws = _draws(judged.shape[1], resamples, seed)
    means = _drawn_means(judged, draws), _drawn_means(true, draws)
    whole = _mean(judged, axis=1)[None], _mean(true, axis=1)[None]
    which = np.random.default_rng([seed, 1]).integers(max(len(judged), 1), size=(resamples, len(judged)))
    other = tuple(np.take_along_axis(each, which, axis=1) for each in means)
    return Agreement(
        pearson=_interval(pearson, whole, means),
        spearman=_interval(spearman, whole, means),
        spearman_policies=_interval(spearman, whole, (other[0], other[1])),
        mmrv=_interval(mmrv, whole, means),
        bias=_interval(bias, whole, means),
        policies=int((~np.isnan(whole[0])).sum()),
    )


def episode_correlation(
    judged: Float[np.ndarray, "p s"],
    true: Float[np.ndarray, "p s"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Pearson correlation over single tries; scenes, with all that was tried in them, are what is drawn again."""
    there = ~np.isnan(judged) & ~np.isnan(true)
    x, y = np.where(there, judged, 0.0), np.where(there, true, 0.0)
    sums = np.stack([each.sum(axis=0) for each in (there.astype(np.float64), x, y, x * x, y * y, x * y)])
    drawn = _correlation(sums @ _draws(judged.shape[1], resamples, seed).T)
    return _ends(float(_correlation(sums.sum(axis=1, keepdims=True))[0]), drawn)


def _correlation(sums: Float[np.ndarray, "6 r"]) -> NDArray[np.float64]:
    """The correlation of each column, which holds a count and the sums of x, y, their squares and their product."""
    count, x, y, xx, yy, xy = sums
    count = np.maximum(count, 1)
    spread = np.sqrt(np.clip(xx - x * x / count, 0, None) * np.clip(yy - y * y / count, 0, None))
    found: NDArray[np.float64] = np.divide(
        xy - x * y / count, spread, out=np.full(count.shape, np.nan), where=spread > 1e-9
    )
    return found


def _interval(comparison: Comparison, whole: _Pair, drawn: _Pair, level: float = LEVEL) -> Interval:
    """A figure of all scenes, with the interval of what it is in draws of them."""
    return _ends(float(comparison(*whole)[0]) if whole[0].size else float("nan"), comparison(*drawn), level)


def _ends(value: float, drawn: NDArray[np.float64], level: float = LEVEL) -> Interval:
    """The percentile interval; draws in which the figure is not defined are left out.

    NaN throughout where it is not defined itself, such as a correlation with something that does not vary.
    """
    nan = float("nan")
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not len(drawn):
        return Interval(value=value, low=nan, high=nan)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail], method="inverted_cdf")
    return Interval(value=value, low=float(low), high=float(high))


def _draws(scenes: int, resamples: int, seed: int) -> Float[np.ndarray, "r s"]:
    """How often each scene is drawn, in every draw."""
    rng = np.random.default_rng(seed)
    drawn: NDArray[np.float64] = rng.multinomial(scenes, np.full(scenes, 1.0 / scenes), size=resamples).astype(float)
    return drawn


def _drawn_means(values: Float[np.ndarray, "p s"], draws: Float[np.ndarray, "r s"]) -> NDArray[np.float64]:
    """Policies' means in every draw, `[r p]`, without NaN; NaN where nothing else is."""
    there = ~np.isnan(values)
    count, total = draws @ there.T.astype(np.float64), draws @ np.where(there, values, 0.0).T
    found: NDArray[np.float64] = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return found


def reliability(judged: Float[np.ndarray, "n"], true: Float[np.ndarray, "n"], *, bins: int = BINS) -> list[Bin]:
    """Episodes in bins of about as many, by what they were judged; episodes judged the same are in one bin."""
    there = ~np.isnan(judged) & ~np.isnan(true)
    judged, true = judged[there], true[there]
    if not len(judged):
        return []
    order = np.argsort(judged, kind="stable")
    judged, true = judged[order], true[order]
    wanted = [round(part * len(judged) / bins) for part in range(1, bins)]
    cuts = sorted({int(np.searchsorted(judged, judged[min(cut, len(judged) - 1)])) for cut in wanted} - {0})
    parts = zip(np.split(judged, cuts), np.split(true, cuts), strict=True)
    return [
        Bin(judged=float(own.mean()), true=bootstrap(came_to[:, None]), episodes=len(own)) for own, came_to in parts
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Mean over episodes of how far a bin's judged mean is from its true one; for scores in the truth's own unit."""
    episodes = sum(each.episodes for each in bins)
    if not episodes:
        return float("nan")
    return sum(each.episodes * abs(each.judged - each.true.value) for each in bins) / episodes


def _mean(values: Float[np.ndarray, "..."], axis: int) -> NDArray[np.float64]:
    """The mean along an axis without NaN; NaN where nothing else is."""
    there = ~np.isnan(values)
    count = there.sum(axis=axis)
    total = np.where(there, values, 0.0).sum(axis=axis)
    found: NDArray[np.float64] = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return found


def _centred(values: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    centre = np.where(there, values, 0.0).sum(1, keepdims=True) / np.maximum(there.sum(1, keepdims=True), 1)
    centred: NDArray[np.float64] = np.where(there, values - centre, 0.0)
    return centred


def _rounded(values: Float[np.ndarray, "r p"]) -> NDArray[np.float64]:
    """Without what is left of adding up in another order, which would break ties."""
    rounded: NDArray[np.float64] = np.round(values, 9)
    return rounded
