"""Statistics of order: does what is larger here tend to be larger there? Equal values share the mean of their ranks.

Both read samples `[r n k]`, the last axis of which is two halves, and ignore pairs in which a value is missing (NaN).
"""

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from numpy.typing import NDArray


def spearman(samples: Float[np.ndarray, "r n k"]) -> Float[np.ndarray, "r"]:
    """Return the rank correlation of every sample's two halves; NaN where one of them does not vary."""
    first, second, present = _halves(samples)
    a, b = _centred(ranks(first, present), present), _centred(ranks(second, present), present)
    spread = np.sqrt(np.square(a).sum(1) * np.square(b).sum(1))
    found: NDArray[np.float64] = np.divide((a * b).sum(1), spread, out=np.full(len(a), np.nan), where=spread > 0)
    return found


def auroc(samples: Float[np.ndarray, "r n k"]) -> Float[np.ndarray, "r"]:
    """Return how often a positive scores above a negative, a tie counting half; NaN where one of them is missing.

    The first half are labels, positive above 0.5, the second scores. It is the area under the ROC curve, exactly
    (Mann and Whitney 1947): 0.5 is chance.
    """
    labels, scores, present = _halves(samples)
    positive = present & (labels > 0.5)
    positives, negatives = positive.sum(1), (present & ~positive).sum(1)
    above = (ranks(scores, present) * positive).sum(1) - positives * (positives + 1) / 2
    count = (positives * negatives).astype(np.float64)
    found: NDArray[np.float64] = np.divide(above, count, out=np.full(len(count), np.nan), where=count > 0)
    return found


def ranks(values: Float[np.ndarray, "r k"], present: Bool[np.ndarray, "r k"]) -> Float[np.ndarray, "r k"]:
    """Return the rank of every value among those of its row that are present, from 1; of others, anything."""
    there = torch.from_numpy(np.where(present, values, np.inf))  # behind all others
    ordered = there.sort(dim=1).values
    below = torch.searchsorted(ordered, there)
    upto = torch.searchsorted(ordered, there, right=True)
    mean_rank: NDArray[np.float64] = ((below + upto + 1).double() / 2).numpy()
    return mean_rank


def _halves(
    samples: Float[np.ndarray, "r n k"],
) -> tuple[Float[np.ndarray, "r m"], Float[np.ndarray, "r m"], Bool[np.ndarray, "r m"]]:
    first, second = (rearrange(half, "r n k -> r (n k)") for half in np.split(samples, 2, axis=2))
    return first, second, ~np.isnan(first) & ~np.isnan(second)


def _centred(values: Float[np.ndarray, "r m"], present: Bool[np.ndarray, "r m"]) -> Float[np.ndarray, "r m"]:
    """The values less the mean of those present; 0 where none is."""
    count = np.maximum(present.sum(1, keepdims=True), 1)
    mean = np.where(present, values, 0.0).sum(1, keepdims=True) / count
    centred: NDArray[np.float64] = np.where(present, values - mean, 0.0)
    return centred
