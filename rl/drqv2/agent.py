"""The learner: acts, and improves from batches of transitions."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ivideo.config import load_config, save_config
from ivideo.config.limits import check_least
from ivideo.files import staged_folder
from ivideo.training.optim import load_optimizer_tensors, optimizer_tensors
from rl.drqv2.augmentation import PAD, random_shift
from rl.drqv2.networks import CHANNELS, Actor, Critic, Encoder
from rl.drqv2.schedule import Linear

_WEIGHTS = "agent.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrQv2Settings:
    """The published settings that no task changes."""

    stack: int = 3
    """Frames in an observation, three channels each."""
    channels: int = CHANNELS
    """Of the encoder's convolutions."""
    trunk: int = 50
    """Width of what actor and critic make of the features."""
    hidden: int = 1024
    """Width of their two hidden layers."""
    learning_rate: float = 1e-4
    """Of Adam, for encoder, actor and critic; published with 8e-5 for humanoids."""
    weight_decay: float = 0.0
    """1e-6 in iVideoGPT's runs."""
    tau: float = 0.01
    """How far the target critic follows in every update."""
    noise: Linear = field(default_factory=Linear)
    """Standard deviation of the exploration, by step of the agent."""
    noise_clip: float = 0.3
    """Noise of the actions that learning looks at is cut to this."""

    def __post_init__(self) -> None:
        check_least(self, stack=1, channels=1, trunk=1, hidden=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrQv2Config(DrQv2Settings):
    """The settings for a task."""

    size: int = 64
    """Side of a frame in pixels."""
    action_dim: int = 4
    """Numbers in an action."""
    pad: int = PAD
    """Pixels by which learning shifts observations at most."""
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

    def beside(self, other: "Transitions") -> "Transitions":
        """These and others, in one batch."""
        both = {name: torch.cat([getattr(self, name), getattr(other, name)]) for name in self.__slots__}
        return Transitions(**both)


class DrQv2:
    """Actor and critics with their optimizers.

    Randomness comes from one generator of its own, so that an agent that is saved and loaded goes on alike.
    """

    def __init__(self, config: DrQv2Config, *, device: torch.device | str = "cpu", seed: int = 0) -> None:
        self.config, self.device = config, torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = Encoder(3 * config.stack, config.size, config.channels)
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

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything that goes on: networks, optimizers, randomness. The tensors themselves, by name, and no copies."""
        return {
            "agent": dict(self.networks.state_dict()),
            "agent_optimizer": optimizer_tensors(list(self.optimizers.values()), self.networks),
            "agent_random": {"generator": self.generator.get_state()},
        }

    def load(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on where the agent of these tensors stood; ValueError where they are of another one's."""
        try:
            self.networks.load_state_dict(tensors["agent"])
            load_optimizer_tensors(list(self.optimizers.values()), self.networks, tensors["agent_optimizer"])
            self.generator.set_state(tensors["agent_random"]["generator"].cpu())
        except (RuntimeError, KeyError) as error:
            raise ValueError(
                f"these are weights of another agent ({' '.join(str(error).split())}); use the task, the stack and the "
                "sizes it was trained with"
            ) from error

    def save(self, folder: Path) -> None:
        """Write what it takes to act, and to look at the values: config.yaml and agent.safetensors, in one step."""
        with staged_folder(folder, overwrite=True) as stage:
            save_config(self.config, stage / "config.yaml")
            save_file(
                {name: value.cpu().contiguous() for name, value in self.networks.state_dict().items()}, stage / _WEIGHTS
            )

    @staticmethod
    def from_folder(folder: Path, *, device: torch.device | str = "cpu", seed: int = 0) -> "DrQv2":
        """The agent in `agent/` of a run, to act, or to go on learning with optimizers of its own.

        FileNotFoundError where there is none, ValueError where its files do not belong together.
        """
        folder = next((place for place in (folder, folder / "agent") if (place / _WEIGHTS).is_file()), folder)
        if not (folder / _WEIGHTS).is_file():
            raise FileNotFoundError(f"{folder} holds no agent; expected a run of `ivideo rl`, or the agent/ in one")
        agent = DrQv2(load_config(DrQv2Config, folder / "config.yaml"), device=device, seed=seed)
        try:
            agent.networks.load_state_dict(load_file(folder / _WEIGHTS))
        except (RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{folder / _WEIGHTS} is damaged or of another agent ({reason[:200]})") from error
        return agent

    def _features(self, observations: Tensor) -> Tensor:
        moved = random_shift(observations.to(self.device).float(), pad=self.config.pad, generator=self.generator)
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
