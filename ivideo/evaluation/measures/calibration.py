"""Whether imagined rewards and terminations can be taken at their word.

All figures are over all imagined frames of a clip together. A termination is a probability, and comes with what one
would get who knows nothing but how often episodes end: the Brier score of that base rate. (Its expected calibration
error would be 0, which is why that figure never stands alone.) What cannot be told, such as an area under the ROC curve
where no episode ends, is NaN.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ivideo.evaluation.measures.collected import Collected, figure, pairs
from ivideo.evaluation.measures.ranks import auroc
from ivideo.evaluation.series import PREDICTION, Figure
from ivideo.evaluation.statistics import Statistic, determination, mean

BINS = 10
REWARD, TERMINATION = "reward", "termination"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Imagined frames of which about the same was predicted."""

    predicted: float
    """The mean prediction."""
    true: float
    """The mean of what was true."""
    count: int


def outcomes(
    context: int,
    *,
    rewards: tuple[Float[Tensor, "n s"], Float[Tensor, "n s"]] | None = None,
    terminals: tuple[Float[Tensor, "n s"], Float[Tensor, "n s"]] | None = None,
) -> Collected:
    """What a batch tells of rewards and terminals: the true and the imagined ones, context included, where known."""
    values: dict[str, Tensor] = {}
    for name, both in ((REWARD, rewards), (TERMINATION, terminals)):
        if both is not None:
            true, predicted = (each[:, context - 1 :] for each in both)
            values |= {f"true {name}": true, f"predicted {name}": predicted}
    return Collected.of(values)


def calibration(found: Collected, *, resamples: int = 1000, seed: int = 0) -> list[Figure]:
    """How right imagined rewards and terminations are; nothing of what was not collected."""
    figures = []

    def add(quantity: str, source: str, name: str, statistic: Statistic) -> None:
        values = pairs(found.values[f"true {name}"], found.values[f"predicted {name}"])
        figures.append(figure(quantity, source, values, statistic, per="clip", resamples=resamples, seed=seed))

    if f"true {REWARD}" in found.values:
        add("Reward of clips, R2", PREDICTION, REWARD, determination)
        add("Reward, mean absolute error", PREDICTION, REWARD, _of_difference(np.abs))
        add("Reward, mean absolute error", "mean reward", REWARD, _around_mean)
        add("Reward, bias", PREDICTION, REWARD, _of_difference(np.positive))
    if f"true {TERMINATION}" in found.values:
        add("Termination, Brier score", PREDICTION, TERMINATION, _of_difference(np.square))
        add("Termination, Brier score", "base rate", TERMINATION, _base_rate)
        add("Termination, expected calibration error", PREDICTION, TERMINATION, calibration_error)
        add("Termination, AUROC", PREDICTION, TERMINATION, auroc)
    return figures


def reliability(found: Collected) -> dict[str, tuple[Bin, ...]]:
    """What was true where about the same was predicted: probabilities in tenths, rewards in bins of equal count.

    On the diagonal predictions mean what they say. Bins without frames are left out.
    """
    tables = {}
    for name in (REWARD, TERMINATION):
        if f"true {name}" not in found.values:
            continue
        true, predicted = (found.values[f"{which} {name}"].flatten() for which in ("true", "predicted"))
        if name == REWARD:
            order = predicted.argsort(stable=True)
            parts = [part for part in order.tensor_split(BINS) if len(part)]
        else:
            place = _tenth(predicted.numpy())
            parts = [torch.from_numpy(np.flatnonzero(place == index)) for index in range(BINS)]
        tables[name] = tuple(
            Bin(predicted=float(predicted[part].mean()), true=float(true[part].mean()), count=len(part))
            for part in parts
            if len(part)
        )
    return tables


def calibration_error(samples: Float[np.ndarray, "r n k"]) -> Float[np.ndarray, "r"]:
    """Return the expected calibration error of every sample, whose last axis holds outcomes and then probabilities.

    The mean over tenths of probability, weighted by their counts, of how far outcomes and probabilities are apart
    (Naeini et al. 2015). Of few samples it is too large, never too small.
    """
    true, predicted = _halves(samples)
    place, off = _tenth(predicted), true - predicted
    gaps = [np.abs(np.where(place == index, off, 0.0).sum(axis=1)) for index in range(BINS)]
    error: NDArray[np.float64] = np.sum(gaps, axis=0) / true.shape[1]
    return error


def _tenth(probability: NDArray[np.float64]) -> NDArray[np.int64]:
    place: NDArray[np.int64] = np.clip(np.floor(probability * BINS), 0, BINS - 1).astype(np.int64)
    return place


def _of_difference(function: Callable[..., NDArray[np.float64]]) -> Statistic:
    """The mean of a function of predicted less true."""

    def statistic(samples: NDArray[np.float64]) -> NDArray[np.float64]:
        true, predicted = np.split(samples, 2, axis=2)
        return mean(function(predicted - true))

    return statistic


def _around_mean(samples: Float[np.ndarray, "r n k"]) -> Float[np.ndarray, "r"]:
    """The mean absolute error of predicting the mean of the true values."""
    true, _ = np.split(samples, 2, axis=2)
    return mean(np.abs(true - mean(samples=true)[:, None, None]))


def _base_rate(samples: Float[np.ndarray, "r n k"]) -> Float[np.ndarray, "r"]:
    """The Brier score of predicting how often episodes end."""
    true, _ = np.split(samples, 2, axis=2)
    rate = mean(true)
    score: NDArray[np.float64] = rate * (1.0 - rate)
    return score


def _halves(samples: Float[np.ndarray, "r n k"]) -> tuple[Float[np.ndarray, "r m"], Float[np.ndarray, "r m"]]:
    first, second = (rearrange(half, "r n k -> r (n k)") for half in np.split(samples, 2, axis=2))
    return first, second
