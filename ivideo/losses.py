"""What losses of tokens and of heads have in common."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def masked_mean(value: Tensor, mask: Bool[Tensor, "b f"] | None) -> Tensor:
    """Mean over frames that are real; `mask` None means all of them."""
    if mask is None:
        return value.mean()
    weight = mask.to(value.dtype).reshape(*mask.shape, *[1] * (value.ndim - 2)).expand_as(value)
    return (value * weight).sum() / weight.sum().clamp(min=1)


def soft_targets(codebook: Float[Tensor, "k v"], temperature: float) -> Float[Tensor, "k k"]:
    """For every code a distribution over all of them that falls with the squared distance between their vectors."""
    squared = torch.cdist(codebook.float(), codebook.float()).square()
    neighbour = squared.clone().fill_diagonal_(torch.inf).amin(dim=1).median()
    return (-squared / (temperature * neighbour.clamp(min=1e-12))).softmax(dim=1)
