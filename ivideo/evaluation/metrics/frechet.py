"""Frechet distances between sets of features: FVD of videos, FID of images.

A set is summed up by the Gaussian with its mean and covariance, and the distance is that of the Gaussians:
|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)). It belongs to sets, not to clips, and falls with their size: compare
distances of equally many clips only.

Source: Dowson and Landau, The Frechet distance between multivariate normal distributions, 1982; Heusel et al., GANs
Trained by a Two Time-Scale Update Rule, arXiv 1706.08500; Unterthiner et al., FVD, arXiv 1812.01717.
"""

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

MIN_CLIPS = 64
"""Clips in either set below which an evaluation refuses to report FVD or FID, unless told otherwise.

Few clips are far from others of their own kind (docs/evaluation.md has figures), so that this is a floor and no
recommendation: compare distances of equally many clips only.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What is kept of a set of features: enough for its mean and covariance, and to add more. In float64."""

    count: int
    mean: Float[Tensor, "d"]
    scatter: Float[Tensor, "d d"]
    """Summed products of the features' distances from their mean: stable, however far that is from 0."""

    @classmethod
    def of(cls, features: Float[Tensor, "n d"]) -> Self:
        """The moments of at least one feature; ValueError for NaN or infinite ones."""
        if not len(features):
            raise ValueError("there are no features; expected at least one, of one clip")
        if not bool(features.isfinite().all()):
            broken = int((~features.isfinite()).any(dim=1).sum())
            raise ValueError(
                f"{broken} of {len(features)} features hold NaN or infinity; look at the frames behind them"
            )
        exact = features.detach().double().cpu()
        mean = exact.mean(dim=0)
        return cls(count=len(exact), mean=mean, scatter=(exact - mean).T @ (exact - mean))

    def add(self, features: Float[Tensor, "n d"]) -> "Moments":
        """The moments of this set and further features, whose order does not matter."""
        return self + Moments.of(features) if len(features) else self

    def __add__(self, other: "Moments") -> "Moments":
        """The moments of two sets together (Chan et al., Updating Formulae and a Pairwise Algorithm, 1979)."""
        if self.mean.shape != other.mean.shape:
            raise ValueError(
                f"features of {len(self.mean)} and of {len(other.mean)} numbers; expected those of one network"
            )
        count, apart = self.count + other.count, other.mean - self.mean
        return Moments(
            count=count,
            mean=self.mean + apart * (other.count / count),
            scatter=self.scatter + other.scatter + torch.outer(apart, apart) * (self.count * other.count / count),
        )

    @property
    def covariance(self) -> Float[Tensor, "d d"]:
        """Of the set itself: divided by its count, as the published evaluators of video models do."""
        covariance: Tensor = self.scatter / self.count
        return covariance


def frechet_distance(real: Moments, made: Moments, *, min_clips: int = 2) -> float:
    """The Frechet distance between two sets, at least 0; equal sets are at 0, up to rounding.

    Defined for covariances of any rank, as of fewer features than these have numbers. ValueError for sets of fewer
    than `min_clips` (never fewer than 2).
    """
    least = max(2, min_clips)
    for name, moments in (("real", real), ("imagined", made)):
        if moments.count < least:
            raise ValueError(
                f"there are {moments.count} {name} features; expected at least {least}, for a distance between sets "
                f"means little of fewer: give {least} clips or more, or, to compare with equally few, pass "
                f"--min_clips {max(2, min(real.count, made.count))}"
            )
    if real.mean.shape != made.mean.shape:
        raise ValueError(f"features of {len(real.mean)} and of {len(made.mean)} numbers; expected those of one network")
    covariances = real.covariance, made.covariance
    # The trace of (S1 S2)^(1/2) is the sum of the singular values of R1' R2 where S = R R'. Found this way, what
    # rounding adds to directions in which a set has no spread does not pass through a square root.
    overlap = torch.linalg.svdvals(_root(covariances[0]).T @ _root(covariances[1])).sum()
    spread = sum(covariance.trace() for covariance in covariances)
    return max(0.0, float((real.mean - made.mean).square().sum() + spread - 2 * overlap))


def _root(covariance: Float[Tensor, "d d"]) -> Float[Tensor, "d k"]:
    """R with R R' = S, a column for each direction in which there is spread."""
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > values[-1].clamp_min(0) * len(values) * torch.finfo(values.dtype).eps
    root: Tensor = vectors[:, kept] * values[kept].sqrt()
    return root
