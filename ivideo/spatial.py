"""Layers of small networks that look at frames and tell where things are."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Residual(nn.Module):
    """Two convolutions, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        changed: Tensor = self.second(F.gelu(self.first(F.gelu(maps))))
        return maps + changed


def places(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b two_c"]:
    """Where every channel is strongest: expected x and y, in [-1, 1], under a softmax over the picture.

    Source: spatial soft-argmax, Levine et al. 2016, arXiv 1504.00702, section 5.2.
    """
    height, width = maps.shape[2:]
    weights = maps.flatten(2).softmax(dim=-1).unflatten(2, (height, width))
    x = torch.linspace(-1, 1, width, device=maps.device)
    y = torch.linspace(-1, 1, height, device=maps.device)
    return torch.cat([weights.sum(dim=2) @ x, weights.sum(dim=3) @ y], dim=1)
