"""A policy that looks at stacked frames and draws its actions around a mean."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ivideo.config import load_config
from ivideo.config.limits import check_least
from rl.reinforce.network import Sight, SightConfig, find_network, read_weights, write_network

NAME = "policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """What a policy sees and answers with."""

    size: int = 32
    """Side of a frame in pixels."""
    stack: int = 2
    """Frames in an observation (UniSim: 2)."""
    action_dim: int = 2
    """Numbers in an action."""
    sight: SightConfig = field(default_factory=SightConfig)
    """The network."""

    def __post_init__(self) -> None:
        check_least(self, size=8, stack=1, action_dim=1)


class Policy(nn.Module):
    """A Gaussian around a mean in [-1, 1], with one spread for each number, whatever is seen.

    Actions are drawn without bounds and are to be cut to [-1, 1] by whoever carries them out: the probability is that
    of what was drawn.
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.sight = Sight(config.sight, planes=3 * config.stack, out=config.action_dim)
        self.log_spread = nn.Parameter(torch.full((config.action_dim,), math.log(0.3)))

    def forward(self, observations: UInt8[Tensor, "b c s s"]) -> Float[Tensor, "b a"]:
        """The mean action."""
        return torch.tanh(self.sight(observations))

    def spreads(self, spread: float | None = None) -> Float[Tensor, " a"]:
        """Standard deviation of every number of an action: the policy's own, or the one given for all."""
        return self.log_spread.exp() if spread is None else torch.full_like(self.log_spread, spread)

    def log_probability(
        self, means: Float[Tensor, "b a"], actions: Float[Tensor, "b a"], spread: float | None = None
    ) -> Float[Tensor, " b"]:
        """Nats of actions that were drawn around these means, with the policy's own spread or the one given."""
        nats: Tensor = torch.distributions.Normal(means, self.spreads(spread)).log_prob(actions).sum(dim=1)
        return nats

    @torch.no_grad()
    def draw(
        self, means: Float[Tensor, "b a"], generator: torch.Generator, spread: float | None = None
    ) -> Float[Tensor, "b a"]:
        """Actions around these means."""
        noise = torch.randn(means.shape, generator=generator).to(means.device)
        return means + self.spreads(spread) * noise

    def save(self, folder: Path) -> None:
        """Write policy.yaml and policy.safetensors into a folder that exists."""
        write_network(self, self.config, folder, NAME)

    @staticmethod
    def from_folder(folder: Path | str, *, made_by: str = "ivideo rl clone") -> "Policy":
        """The policy of a run, ready to act.

        FileNotFoundError where there is none, ValueError where its files do not belong together.
        """
        place = find_network(Path(folder), NAME, made_by=made_by)
        policy = Policy(load_config(PolicyConfig, place / f"{NAME}.yaml"))
        read_weights(policy, place / f"{NAME}.safetensors")
        return policy.eval()
