"""REINFORCE (Williams 1992): what was followed by more than nothing becomes likelier."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ivideo.training.optim import load_optimizer_tensors, optimizer_tensors
from rl.reinforce.imagined import Rollouts
from rl.reinforce.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerConfig:
    """The updates; gamma and the missing baseline are UniSim's."""

    gamma: float = 0.9
    """Discount of a step."""
    baseline: Literal["none", "step"] = "none"
    """What is taken off the returns: nothing, or the mean of all actors in the same step."""
    batch_size: int = 64
    """Steps of actors in an update; all steps of a round are used once."""
    learning_rate: float = 1e-4
    """Of Adam."""
    clip: float = 1.0
    """Gradients are scaled down to this norm."""
    spread: float | None = 0.3
    """Standard deviation of the actions that are drawn while learning; null: the policy's own, which then learns."""

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"gamma is {self.gamma}; expected 0..1")
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; expected at least 1")
        for name in ("learning_rate", "clip", "spread"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}; expected more than 0")


def returns_to_go(rewards: Float[Tensor, "b k"], gamma: float) -> Float[Tensor, "b k"]:
    """What followed every step, its own reward included, discounted to it."""
    returns, after = torch.zeros_like(rewards), torch.zeros(len(rewards))
    for step in range(rewards.shape[1] - 1, -1, -1):
        after = rewards[:, step] + gamma * after
        returns[:, step] = after
    return returns


def less_mean(returns: Float[Tensor, "b k"], going: Bool[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """Returns less the mean, over the actors that were still going, of the same step."""
    counted = going.float()
    return returns - (returns * counted).sum(dim=0) / counted.sum(dim=0).clamp(min=1)


class Learner:
    """Improves a policy in place; all its randomness is that of one generator."""

    def __init__(self, policy: Policy, config: LearnerConfig, *, seed: int) -> None:
        self.policy, self.config = policy, config
        self.optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate)
        self.generator = torch.Generator().manual_seed(seed)

    def update(self, rollouts: Rollouts) -> dict[str, float]:
        """One pass over a round in batches; figures to log."""
        config = self.config
        returns = returns_to_go(rollouts.rewards, config.gamma)
        if config.baseline == "step":
            returns = less_mean(returns, rollouts.going)
        observations, actions = rollouts.observations[rollouts.going], rollouts.actions[rollouts.going]
        values = returns[rollouts.going]
        norms = []
        for rows in torch.randperm(len(values), generator=self.generator).split(config.batch_size):
            means = self.policy(observations[rows])
            likely = self.policy.log_probability(means, actions[rows], config.spread)
            loss = -(values[rows] * likely).mean()
            self.optimizer.zero_grad()
            loss.backward()
            norms.append(float(torch.nn.utils.clip_grad_norm_(self.policy.parameters(), config.clip)))
            self.optimizer.step()
        return {
            "train/return": float(values.mean()),
            "train/gradient": sum(norms) / len(norms),
            "train/spread": float(self.policy.log_spread.exp().mean()) if config.spread is None else config.spread,
        }

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything that goes on, by name; no copies."""
        return {
            "policy": dict(self.policy.state_dict()),
            "optimizer": optimizer_tensors([self.optimizer], self.policy),
            "random": {"generator": self.generator.get_state()},
        }

    def load(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on where the learner of these tensors stood; ValueError where they are of another one's."""
        try:
            self.policy.load_state_dict(tensors["policy"])
            load_optimizer_tensors([self.optimizer], self.policy, tensors["optimizer"])
            self.generator.set_state(tensors["random"]["generator"].cpu())
        except (RuntimeError, KeyError) as error:
            raise ValueError(f"these are weights of another policy ({' '.join(str(error).split())})") from error
