"""The networks of DrQ-v2: one encoder for both, and trunks of their own for actor and critic.

::

    observation -> encoder -> features --+--> trunk -> tanh -> action               (features cut off from the gradient)
     [9 64 64]                 [20000]   +--> trunk -+-> Q1
                                                     +-> Q2      action enters here
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

_STRIDES = (2, 1, 1, 1)
CHANNELS = 32


class Encoder(nn.Module):
    """Stacked uint8 frames to a flat vector: four 3x3 convolutions without padding, the first with stride 2."""

    def __init__(self, planes: int, size: int, channels: int = CHANNELS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = planes
        for stride in _STRIDES:
            layers += [nn.Conv2d(width, channels, 3, stride=stride), nn.ReLU()]
            width, size = channels, (size - 3) // stride + 1
        if size < 1:
            raise ValueError("frames are too small for four convolutions; expected 17 pixels or more")
        self.layers = nn.Sequential(*layers)
        self.features = channels * size**2
        self.apply(orthogonal)

    def forward(self, observations: UInt8[Tensor, "b c s s"] | Float[Tensor, "b c s s"]) -> Float[Tensor, "b f"]:
        features: Tensor = self.layers(observations.float() / 255.0 - 0.5)
        return features.flatten(1)


class Actor(nn.Module):
    """The mean action, in -1..1."""

    def __init__(self, features: int, action_dim: int, trunk: int, hidden: int) -> None:
        super().__init__()
        self.trunk = _trunk(features, trunk)
        self.policy = _mlp([trunk, hidden, hidden, action_dim])
        self.apply(orthogonal)

    def forward(self, features: Float[Tensor, "b f"]) -> Float[Tensor, "b a"]:
        mean: Tensor = torch.tanh(self.policy(self.trunk(features)))
        return mean


class Critic(nn.Module):
    """Two estimates of the value of an action."""

    def __init__(self, features: int, action_dim: int, trunk: int, hidden: int) -> None:
        super().__init__()
        self.trunk = _trunk(features, trunk)
        self.first = _mlp([trunk + action_dim, hidden, hidden, 1])
        self.second = _mlp([trunk + action_dim, hidden, hidden, 1])
        self.apply(orthogonal)

    def forward(
        self, features: Float[Tensor, "b f"], actions: Float[Tensor, "b a"]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        together = torch.cat([self.trunk(features), actions], dim=1)
        return self.first(together).squeeze(1), self.second(together).squeeze(1)


def orthogonal(module: nn.Module) -> None:
    """Orthogonal weights and zero biases; convolutions with the gain of a ReLU."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        gain = nn.init.calculate_gain("relu") if isinstance(module, nn.Conv2d) else 1.0
        nn.init.orthogonal_(module.weight, gain)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _trunk(features: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(features, width), nn.LayerNorm(width), nn.Tanh())


def _mlp(widths: Sequence[int]) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
