"""REINFORCE (Williams 1992): what was followed by more than nothing becomes likelier."""

import copy
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
    near: float = 0.0
    """Reward that a nat costs by which the policy diverges from the one it began as (the penalty of Stiennon et al.
    2020, arXiv 2009.01325): what reads the steps to go is right about episodes like those it was learned from, and
    less and less about others. 0, as published, costs nothing."""
    average_every: int | None = None
    """Rounds from one whose weights count to the next: the policy that is evaluated and kept is the mean of those, the
    one that it began as included (Polyak and Juditsky 1992), while the latest one goes on living and learning. Noise
    of the updates cancels in it, and what all of them agree on stays. null, as published, keeps the latest."""

    def __post_init__(self) -> None:
        if self.average_every is not None and self.average_every < 1:
            raise ValueError(f"average_every is {self.average_every}; expected at least 1 round, or null")
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"gamma is {self.gamma}; expected 0..1")
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; expected at least 1")
        if not self.near >= 0:
            raise ValueError(f"near is {self.near}; expected 0 or more")
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
    """Improves a policy in place; all its randomness is that of one generator.

    The policy as it is given is the one that `near` keeps to; one that goes on is given as it began, and then loaded.
    """

    def __init__(self, policy: Policy, config: LearnerConfig, *, seed: int) -> None:
        self.policy, self.config = policy, config
        self.first = copy.deepcopy(policy).requires_grad_(False)
        self.mean = copy.deepcopy(self.first)
        self.optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate)
        self.generator = torch.Generator().manual_seed(seed)

    @property
    def kept(self) -> Policy:
        """What is to be evaluated and saved: the mean of the weights where they are averaged, else the policy."""
        return self.policy if self.config.average_every is None else self.mean

    @torch.no_grad()
    def average(self, rounds: int) -> None:
        """Count the weights in, after so many rounds, if it is their turn."""
        every = self.config.average_every
        if every is None or rounds % every:
            return
        counted = 1 + rounds // every
        for mean, latest in zip(self.mean.parameters(), self.policy.parameters(), strict=True):
            mean.lerp_(latest, 1 / counted)

    def update(self, rollouts: Rollouts) -> dict[str, float]:
        """One pass over a round in batches; figures to log."""
        config = self.config
        returns = returns_to_go(rollouts.rewards, config.gamma)
        if config.baseline == "step":
            returns = less_mean(returns, rollouts.going)
        observations, actions = rollouts.observations[rollouts.going], rollouts.actions[rollouts.going]
        values = returns[rollouts.going]
        norms, gone = [], []
        for rows in torch.randperm(len(values), generator=self.generator).split(config.batch_size):
            means = self.policy(observations[rows])
            likely = self.policy.log_probability(means, actions[rows], config.spread)
            with torch.no_grad():
                begun = self.first(observations[rows])
            away = self.divergence(means, begun).mean()
            gone.append(float(away.detach()))
            loss = -(values[rows] * likely).mean() + config.near * away
            self.optimizer.zero_grad()
            loss.backward()
            norms.append(float(torch.nn.utils.clip_grad_norm_(self.policy.parameters(), config.clip)))
            self.optimizer.step()
        return {
            "train/return": float(values.mean()),
            "train/gradient": sum(norms) / len(norms),
            "train/divergence": sum(gone) / len(gone),
            "train/spread": float(self.policy.log_spread.exp().mean()) if config.spread is None else config.spread,
        }

    def divergence(self, means: Float[Tensor, "b a"], begun: Float[Tensor, "b a"]) -> Float[Tensor, " b"]:
        """Kullback-Leibler divergence of the policy from the one it began as, in nats, where these are their means."""
        now, first = (each.spreads(self.config.spread) for each in (self.policy, self.first))
        normal = torch.distributions.Normal
        nats: Tensor = torch.distributions.kl_divergence(normal(means, now), normal(begun, first)).sum(dim=1)
        return nats

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything that goes on, by name; no copies."""
        averaged = {} if self.config.average_every is None else {"mean": dict(self.mean.state_dict())}
        return averaged | {
            "policy": dict(self.policy.state_dict()),
            "optimizer": optimizer_tensors([self.optimizer], self.policy),
            "random": {"generator": self.generator.get_state()},
        }

    def load(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on where the learner of these tensors stood; ValueError where they are of another one's."""
        try:
            self.policy.load_state_dict(tensors["policy"])
            if self.config.average_every is not None:
                self.mean.load_state_dict(tensors["mean"])
            load_optimizer_tensors([self.optimizer], self.policy, tensors["optimizer"])
            self.generator.set_state(tensors["random"]["generator"].cpu())
        except (RuntimeError, KeyError) as error:
            raise ValueError(f"these are weights of another policy ({' '.join(str(error).split())})") from error
