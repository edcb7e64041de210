"""Do the actions explain what moves, and at which step? Ridge regression from frame changes to actions.

    frames[t] --change[t]--> frames[t+1]        lag l compares change[t] with actions[t + l]; 0 is right,
              actions[t]                        -1: frames answer a step late, +1: they move before they are told to

Change is summed up in 42 numbers a step, from frames averaged to 16 by 16: for every channel, the change of its
moments up to second order (an object on a plain ground moves them by its displacement), and the products of the change
in time with the slopes along x and y in four quarters of the picture, whose ratio to the squared slopes is optical flow
(Lucas and Kanade 1981). R^2 is always of episodes, or in small sets pieces of episodes, that were not fitted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.regression import STRENGTHS, ridge

PIXELS = 16
LAGS = tuple(range(-3, 4))
"""Lags that are compared."""
_REACH = LAGS[-1]
_STEPS = 256
_FOLDS = 5
_CHUNK_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """How an episode's frames change in its first steps, and what was done and earned meanwhile."""

    changes: Float[Tensor, "s 42"]
    actions: Float[Tensor, "s a"] | None
    rewards: Float[Tensor, "s"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How well changes explain targets at every lag, and what they say at the best one."""

    scores: Float[Tensor, "l k"]
    """Held-out R^2 per lag and target dimension."""
    settled: Float[Tensor, "k"]
    """R^2 at the best lag once episodes that disagree with the rest are left out."""
    predictions: list[Float[Tensor, "_s k"]]
    """Per episode, for its inner steps, from a fit without it at the best lag."""
    steps: int

    @property
    def overall(self) -> Float[Tensor, "l"]:
        """R^2 per lag, the mean over target dimensions; one that is worse than its mean counts as 0."""
        means: Tensor = self.scores.clamp(min=0).mean(1)
        return means

    @property
    def best(self) -> int:
        """The lag that explains most."""
        return LAGS[int(self.overall.argmax())]

    def at(self, lag: int) -> float:
        return float(self.overall[lag + _REACH])


def observe(
    small: Float[Tensor, "t 3 16 16"], actions: Float[Tensor, "t-1 a"] | None, rewards: Float[Tensor, "t-1"] | None
) -> Motion:
    """Return the changes between frames of levels 0 to 255, averaged to 16 by 16, with what belongs to them."""
    return Motion(
        changes=changes(small[: _STEPS + 1]),
        actions=None if actions is None else actions[:_STEPS].clone(),
        rewards=None if rewards is None else rewards[:_STEPS].clone(),
    )


def changes(small: Float[Tensor, "t 3 16 16"]) -> Float[Tensor, "t-1 42"]:
    """How each of some frames of levels 0 to 255 differs from the one before; see the top of this module."""
    small = small / 255.0
    step, middle = small[1:] - small[:-1], (small[1:] + small[:-1]) / 2
    y, x = torch.meshgrid(torch.linspace(-1, 1, PIXELS), torch.linspace(-1, 1, PIXELS), indexing="ij")
    bases = torch.stack([torch.ones_like(x), x, y, x * y, x * x, y * y]).flatten(1)
    moments = (step.flatten(2) @ bases.T).flatten(1)
    along_x = F.pad(middle[..., 2:] - middle[..., :-2], (1, 1))
    along_y = F.pad(middle[..., 2:, :] - middle[..., :-2, :], (0, 0, 1, 1))
    flow = [F.adaptive_avg_pool2d(step * slope, 2).flatten(1) for slope in (along_x, along_y)]
    return torch.cat([moments, *flow], dim=1)


def shrunk(frames: UInt8[Tensor, "t 3 h w"]) -> Float[Tensor, "t 3 16 16"]:
    """The frames averaged over a grid of 16 by 16 cells, a chunk at a time: as floats, a long video would not fit."""
    chunk = max(1, _CHUNK_BYTES // (4 * frames[0].numel()))
    return torch.cat([F.adaptive_avg_pool2d(part.float(), PIXELS) for part in frames.split(chunk)])


def inner(values: Float[Tensor, "s k"], lag: int = 0) -> Float[Tensor, "r k"]:
    """The rows at `lag` from the steps that have all lags within the episode."""
    return values[_REACH + lag : len(values) - _REACH + lag]


def is_long_enough(values: Float[Tensor, "s k"]) -> bool:
    return len(values) > 2 * _REACH


def fit(changes: Sequence[Float[Tensor, "_s d"]], targets: Sequence[Float[Tensor, "_s k"]]) -> Fit | None:
    """Explain targets by changes, episode by episode; None when there are too few steps to tell.

    Every episode has more than six steps. One whose targets are larger than the median episode's weighs less, so that
    a few in another unit do not rule the fit.
    """
    rows = [inner(each) for each in changes]
    steps = sum(map(len, rows))
    if not rows or steps < 2 * rows[0].shape[1]:
        return None
    lengths = [len(each) for each in rows]
    x = torch.cat(rows).double()
    x = (x - x.mean(0)) / x.std(0).clamp(min=1e-9)
    y = torch.cat([torch.cat([inner(each, lag) for lag in LAGS], dim=1) for each in targets]).double()
    owner = torch.arange(len(rows)).repeat_interleave(torch.tensor(lengths))
    folds = owner % _FOLDS if len(rows) >= _FOLDS else torch.arange(steps) * _FOLDS // steps
    weights = _weights(targets)
    fits = {strength: _held_out(x, y, weights[owner], folds, strength) for strength in STRENGTHS}
    strength = max(STRENGTHS, key=lambda each: float(fits[each][0].clamp(min=0).sum()))
    scores, predicted = fits[strength]
    scores = scores.view(len(LAGS), -1)
    best = int(scores.clamp(min=0).mean(1).argmax())
    y, predicted = (values.view(steps, len(LAGS), -1)[:, best] for values in (y, predicted))
    # Once more without the episodes that disagree, so that what is wrong with a few does not blur what they should be.
    settled = [
        _held_out(x, y[:, [column]], (weights * agrees)[owner], folds, strength)
        for column, agrees in enumerate(_agreeing(predicted, y, lengths))
    ]
    return Fit(
        scores=scores.float(),
        settled=torch.cat([score for score, _ in settled]).float(),
        predictions=list(torch.cat([each for _, each in settled], dim=1).float().split(lengths)),
        steps=steps,
    )


def correlation(a: Float[Tensor, "r *k"], b: Float[Tensor, "r *k"]) -> Float[Tensor, "*k"]:
    """Pearson's correlation down the rows; 0 where one of the two does not vary."""
    a, b = a - a.mean(0), b - b.mean(0)
    found: Tensor = (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)).clamp(min=1e-9)
    return found


def _agreeing(predicted: Float[Tensor, "r k"], y: Float[Tensor, "r k"], lengths: list[int]) -> Float[Tensor, "k e"]:
    """1 for every episode and dimension whose targets go with the predictions half as well as is usual, else 0."""
    pairs = zip(predicted.split(lengths), y.split(lengths), strict=True)
    found = torch.stack([correlation(one, other) for one, other in pairs])
    middle = found.median(0).values
    # At least half of them always agree, also where nothing is explained and the median is negative.
    agrees: Tensor = (found >= torch.minimum(middle, 0.5 * middle)).double().T
    return agrees


def _weights(targets: Sequence[Float[Tensor, "_s k"]]) -> Float[Tensor, "e"]:
    sizes = torch.stack([each.double().square().mean(0) for each in targets])
    typical = sizes.median(0).values.clamp(min=1e-12)
    weights: Tensor = 1.0 / (sizes / typical).mean(1).clamp(min=1.0)
    return weights


def _held_out(
    x: Float[Tensor, "r d"], y: Float[Tensor, "r k"], weights: Float[Tensor, "r"], folds: Tensor, strength: float
) -> tuple[Float[Tensor, "k"], Float[Tensor, "r k"]]:
    """R^2 per target dimension on folds that were left out, and the predictions for them."""
    predicted = torch.empty_like(y)
    for fold in range(_FOLDS):
        out = folds == fold
        predicted[out] = ridge(x[~out], y[~out], strength, weights[~out])(x[out])
    weights = weights[:, None]
    mean = (weights * y).sum(0) / weights.sum()
    left = (weights * (y - predicted).square()).sum(0)
    whole = (weights * (y - mean).square()).sum(0)
    varies = whole > 1e-12 * weights.sum()
    return torch.where(varies, 1 - left / whole.clamp(min=1e-300), torch.zeros_like(left)), predicted
