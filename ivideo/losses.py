"""What losses of tokens and of heads have in common, and how they are weighed against each other."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


class HarmoniousWeights(nn.Module):
    """Weighs losses of very different sizes by scales that are learned with everything else.

    Each loss L enters as `L / sigma + log(1 + sigma)` with `sigma = exp(s)`, `s` a parameter that starts at 0, where
    all losses weigh 1. For a steady L the scale settles where that is least, at `(L + sqrt(L^2 + 4 L)) / 2`: a large
    loss is scaled down to about 1, a small one up, by no more than about `1 / sqrt(L)`. Losses must not be negative.
    Source: HarmonyDream (Ma et al., arXiv 2310.00344), its rectified loss.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.s = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in names})

    def forward(self, losses: Mapping[str, Float[Tensor, ""]]) -> Float[Tensor, ""]:
        """The scalar to descend; a loss that no scale was made for is a KeyError."""
        terms = [F.softplus(self.s[name]) + loss * torch.exp(-self.s[name]) for name, loss in losses.items()]
        return torch.stack(terms).sum()

    def sigmas(self) -> dict[str, Float[Tensor, ""]]:
        """The scale of each loss as it is now."""
        return {name: s.detach().exp() for name, s in self.s.items()}


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
