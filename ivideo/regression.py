"""Ridge regression, for questions that a linear fit can answer."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

STRENGTHS = (0.01, 0.1, 1.0)
"""Penalties worth trying, in units of the variance of inputs of about unit variance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What targets are expected to be, as a linear function of inputs."""

    centre: Float[Tensor, " d"]
    slopes: Float[Tensor, "d k"]
    mean: Float[Tensor, " k"]

    def __call__(self, x: Float[Tensor, "*r d"]) -> Float[Tensor, "*r k"]:
        expected: Tensor = (x - self.centre) @ self.slopes + self.mean
        return expected


def ridge(
    x: Float[Tensor, "r d"], y: Float[Tensor, "r k"], strength: float, weights: Float[Tensor, " r"] | None = None
) -> Fitted:
    """Fit rows of targets by rows of inputs, each with its weight; the penalty grows with the sum of the weights."""
    w = torch.ones_like(x[:, :1]) if weights is None else weights[:, None]
    centre, mean = (w * x).sum(0) / w.sum(), (w * y).sum(0) / w.sum()
    x = x - centre
    normal = x.T @ (w * x) + strength * float(w.sum()) * torch.eye(x.shape[1], dtype=x.dtype)
    return Fitted(centre=centre, slopes=torch.linalg.solve(normal, x.T @ (w * (y - mean))), mean=mean)
