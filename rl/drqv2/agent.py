"""The learner: acts, and improves from batches of transitions."""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from rl.drqv2.augmentation import random_shift
from rl.drqv2.networks import Actor, Critic, Encoder
from rl.drqv2.schedule import Linear


@dataclass(frozen=True, slots=True, kw_only=True)
class DrQv2Config:
    """The published settings; what depends on the task is said there."""

    size: int = 64
    """Side of a frame in pixels."""
    stack: int = 3
    """Frames in an observation, three channels each."""
    action_dim: int = 4
    trunk: int = 50
    """Width of what actor and critic make of the features."""
    hidden: int = 1024
    learning_rate: float = 1e-4
    """8e-5 for humanoids."""
    weight_decay: float = 0.0
    """1e-6 in iVideoGPT's runs."""
    tau: float = 0.01
    """How far the target critic follows in every update."""
    noise: Linear = field(default_factory=Linear)
    """Standard deviation of the exploration, by step of the agent."""
    noise_clip: float = 0.3
    """Noise of the actions that learning looks at is cut to this."""
    random_steps: int = 2000
    """Steps of the agent that are uniformly random at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transitions:
    """A batch of n-step transitions."""

    observations: UInt8[Tensor, "b c s s"]
    actions: Float[Tensor, "b a"]
    rewards: Float[Tensor, " b"]
    """Sum of the n rewards, each discounted to the first step."""
    discounts: Float[Tensor, " b"]
    """What the value of the next observation is multiplied with: gamma to the n, 0 behind a terminal state."""
    next_observations: UInt8[Tensor, "b c s s"]


class DrQv2:
    """Actor and critics with their optimizers.

    Randomness comes from one generator of its own, so that an agent that is saved and loaded goes on alike.
    """

    def __init__(self, config: DrQv2Config, *, device: torch.device | str = "cpu", seed: int = 0) -> None:
        self.config, self.device = config, torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = Encoder(3 * config.stack, config.size)
            sizes = (encoder.features, config.action_dim, config.trunk, config.hidden)
            self.networks = nn.ModuleDict({"encoder": encoder, "actor": Actor(*sizes), "critic": Critic(*sizes)})
        self.networks["target"] = copy.deepcopy(self.networks["critic"]).requires_grad_(False)
        self.networks.to(self.device)
        how: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
        self.optimizers = {
            name: torch.optim.Adam(self.networks[name].parameters(), **how) for name in ("encoder", "actor", "critic")
        }
        self.generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def act(self, observations: UInt8[Tensor, "b c s s"], step: int, *, explore: bool = True) -> Float[Tensor, "b a"]:
        """Actions in -1..1 after `step` steps; with exploration, uniformly random ones at first, then noisy ones."""
        if explore and step < self.config.random_steps:
            drawn = torch.rand(len(observations), self.config.action_dim, generator=self.generator)
            return 2.0 * drawn - 1.0
        mean: Tensor = self.networks["actor"](self.networks["encoder"](observations.to(self.device)))
        return (self._noisy(mean, step, clip=None) if explore else mean).cpu()

    def update(self, batch: Transitions, step: int) -> dict[str, float]:
        """One update of critic and encoder, then of the actor, then the target critic follows; figures to log."""
        observations = self._features(batch.observations)
        with torch.no_grad():
            following = self._features(batch.next_observations)
            actions = self._noisy(self.networks["actor"](following), step, clip=self.config.noise_clip)
            value = torch.minimum(*self.networks["target"](following, actions))
            target = batch.rewards.to(self.device) + batch.discounts.to(self.device) * value
        first, second = self.networks["critic"](observations, batch.actions.to(self.device))
        critic_loss = F.mse_loss(first, target) + F.mse_loss(second, target)
        self._descend(critic_loss, "encoder", "critic")

        features = observations.detach()
        actions = self._noisy(self.networks["actor"](features), step, clip=self.config.noise_clip)
        actor_loss = -torch.minimum(*self.networks["critic"](features, actions)).mean()
        self._descend(actor_loss, "actor")

        with torch.no_grad():
            pairs = zip(self.networks["target"].parameters(), self.networks["critic"].parameters(), strict=True)
            for slow, fast in pairs:
                slow.lerp_(fast, self.config.tau)
        return {
            "critic_loss": float(critic_loss.detach()),
            "actor_loss": float(actor_loss.detach()),
            "target_value": float(target.mean()),
            "noise": self.config.noise.at(step),
        }

    def state_dict(self) -> dict[str, Any]:
        """A copy of everything that goes on: networks, optimizers, randomness."""
        state = {
            "networks": self.networks.state_dict(),
            "optimizers": {name: each.state_dict() for name, each in self.optimizers.items()},
            "generator": self.generator.get_state(),
        }
        return copy.deepcopy(state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a saved agent stood."""
        self.networks.load_state_dict(state["networks"])
        for name, each in self.optimizers.items():
            each.load_state_dict(state["optimizers"][name])
        self.generator.set_state(state["generator"])

    def _features(self, observations: Tensor) -> Tensor:
        moved = random_shift(observations.to(self.device).float(), generator=self.generator)
        features: Tensor = self.networks["encoder"](moved)
        return features

    def _noisy(self, mean: Tensor, step: int, *, clip: float | None) -> Tensor:
        """Actions around a mean, inside -1..1; the gradient passes as if they were not cut off there."""
        noise = torch.randn(mean.shape, generator=self.generator).to(mean) * self.config.noise.at(step)
        if clip is not None:
            noise = noise.clamp(-clip, clip)
        actions = mean + noise
        return actions - actions.detach() + actions.detach().clamp(-1.0 + 1e-6, 1.0 - 1e-6)

    def _descend(self, loss: Tensor, *names: str) -> None:
        for each in self.optimizers.values():
            each.zero_grad(set_to_none=True)
        loss.backward()
        for name in names:
            self.optimizers[name].step()
