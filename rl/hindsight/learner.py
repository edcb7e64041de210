"""What is learned of goals: what to do, and which instruction to give, when a frame is to become another one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from ivideo.config import load_config
from ivideo.simulate.skills import SKILLS
from rl.hindsight.chains import Chain
from rl.reinforce.lessons import Lessons
from rl.reinforce.network import Sight, SightConfig, find_network, read_weights, write_network
from rl.reinforce.policy import Policy, PolicyConfig

NAME = "planner"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerConfig:
    """What a planner sees."""

    size: int = 32
    """Side of a frame in pixels."""
    stack: int = 2
    """Frames in an observation."""
    sentences: tuple[str, ...] = SKILLS
    """What it can say."""
    sight: SightConfig = field(default_factory=SightConfig)
    """The network."""


class Planner(nn.Module):
    """Says which instruction leads from what is seen towards a goal image."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        self.config = config
        self.sight = Sight(config.sight, planes=3 * (config.stack + 1), out=len(config.sentences))

    def forward(self, observations: UInt8[Tensor, "b c s s"], goals: UInt8[Tensor, "b 3 s s"]) -> Float[Tensor, "b n"]:
        """Logits of the sentences."""
        said: Tensor = self.sight(torch.cat([observations, goals], dim=1))
        return said

    @staticmethod
    def from_folder(folder: Path | str) -> "Planner":
        """The planner that a run has learned, ready to speak; errors as of `Policy.from_folder`."""
        place = find_network(Path(folder), NAME, made_by="ivideo rl hindsight")
        planner = Planner(load_config(PlannerConfig, place / f"{NAME}.yaml"))
        read_weights(planner, place / f"{NAME}.safetensors")
        return planner.eval()


class Apprentice(nn.Module):
    """Learns single instructions: what to do when it is told something."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def loss(self, batch: Lessons) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Nats of the actions."""
        value = _imitated(self.policy, batch, self.policy(batch.observations, said=batch.said))
        return value, {"loss": value.detach()}

    def save(self, folder: Path) -> None:
        """Write the policy into a folder that exists."""
        self.policy.save(folder)


class GoalLearner(nn.Module):
    """Learns what leads to goal images: actions, and instructions."""

    def __init__(self, policy: Policy, planner: Planner) -> None:
        super().__init__()
        self.policy, self.planner = policy, planner

    @staticmethod
    def fresh(*, size: int, stack: int, action_dim: int, sight: SightConfig) -> "GoalLearner":
        """One that knows nothing yet."""
        policy = Policy(PolicyConfig(size=size, stack=stack, goal=True, action_dim=action_dim, sight=sight))
        return GoalLearner(policy, Planner(PlannerConfig(size=size, stack=stack, sight=sight)))

    def loss(self, batch: Lessons) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Nats of the actions and of the instructions."""
        assert batch.goals is not None
        assert batch.said is not None
        actions = _imitated(self.policy, batch, self.policy(batch.observations, goals=batch.goals))
        wrong = F.cross_entropy(self.planner(batch.observations, batch.goals), batch.said, reduction="none")
        words = (wrong * batch.acted).sum() / batch.acted.sum().clamp(min=1)
        value = actions + words
        return value, {"loss": value.detach(), "actions": actions.detach(), "instructions": words.detach()}

    def save(self, folder: Path) -> None:
        """Write both networks into a folder that exists."""
        self.policy.save(folder)
        write_network(self.planner, self.planner.config, folder, NAME)


def lessons_of(chains: Sequence[Chain], *, stack: int, shrink: int, goals: bool) -> Lessons:
    """The steps of chains, each with what was said; with `goals`, beside the last frame of its chain."""
    return Lessons.of(
        [each.episode for each in chains],
        stack=stack,
        shrink=shrink,
        goals=goals,
        said=[each.said for each in chains],
    )


def _imitated(policy: Policy, batch: Lessons, means: Float[Tensor, "b a"]) -> Float[Tensor, ""]:
    likely = policy.log_probability(means, batch.actions)
    return -(likely * batch.acted).sum() / batch.acted.sum().clamp(min=1)


def numbers_of(planner: Planner, observations: Tensor, goals: Tensor) -> Int[Tensor, " b"]:
    """The likeliest instruction of every row."""
    with torch.inference_mode():
        said: Tensor = planner(observations, goals).argmax(dim=1)
    return said
