"""What is wanted of a future, as settings: the weights of several objectives."""

from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from ivideo.planning.objectives import (
    GoalFeatures,
    GoalImage,
    GoalLPIPS,
    Objective,
    RewardSum,
    Unlikely,
    WeightedSum,
    Which,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Weights; 0 leaves an objective out, and what it would need is not computed."""

    pixels: float = 1.0
    """Squared error of pixels to the goal image, summed (VP2)."""
    features: float = 0.0
    """Squared distance of code vectors to the goal's, summed; the simulator, which has none, plans by pixels."""
    rewards: float = 0.0
    """The model's own rewards."""
    lpips: float = 0.0
    """Perceptual distance to the goal image; needs the published weights."""
    unlikely: float = 0.0
    """Penalty on frames that the model holds for unlikely, per nat below the bar."""
    bar: float = -1.0
    """Log-probability per token, in nats, from which on a frame costs nothing."""
    which: Which = "all"
    """Whether all frames are compared with the goal, or the last alone."""
    lpips_backbone: str | None = None
    """File or Hub repository of LPIPS's backbone; null takes the published one."""
    lpips_heads: str | None = None
    """File or Hub repository of LPIPS's linear heads; null takes the published ones."""

    def __post_init__(self) -> None:
        if not any((self.pixels, self.features, self.rewards, self.lpips)):
            raise ValueError(
                "no objective has a weight; give one of pixels, features, rewards or lpips a number other than 0"
            )

    def __call__(self, goal: UInt8[Tensor, "3 h w"]) -> Objective:
        """All that has a weight, for a goal image."""
        parts: list[tuple[float, Objective]] = []
        if self.pixels:
            parts.append((self.pixels, GoalImage(goal, which=self.which)))
        if self.features:
            parts.append((self.features, GoalFeatures(goal, which=self.which)))
        if self.rewards:
            parts.append((self.rewards, RewardSum()))
        if self.lpips:
            parts.append((self.lpips, GoalLPIPS(goal, self._network(), which=self.which)))
        if self.unlikely:
            parts.append((self.unlikely, Unlikely(bar=self.bar)))
        return parts[0][1] if len(parts) == 1 and parts[0][0] == 1 else WeightedSum(parts=tuple(parts))

    def for_simulator(self) -> "Wanted":
        """The same for a model that knows no features: pixels in their place."""
        return replace(self, features=0.0, pixels=self.pixels or 1.0) if self.features else self

    def _network(self) -> Any:
        from ivideo.evaluation.metrics.perceptual import load_perceptual

        return load_perceptual("vgg", backbone=self.lpips_backbone, heads=self.lpips_heads)
