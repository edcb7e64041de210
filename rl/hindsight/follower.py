"""A policy that does what it is told, in words, and knows what the table looked like when it was told."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from ivideo.config import load_config
from ivideo.config.limits import check_least
from ivideo.simulate.skills import SKILLS
from rl.hindsight.eyes import Eyes, EyesConfig
from rl.reinforce.network import find_network, read_weights, write_network

NAME = "follower"


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowerConfig:
    """What a follower sees, hears and answers with."""

    size: int = 32
    """Side of a frame in pixels."""
    sentences: tuple[str, ...] = SKILLS
    """What it can be told."""
    action_dim: int = 2
    """Numbers in an action."""
    eyes: EyesConfig = field(default_factory=EyesConfig)
    """The network."""

    def __post_init__(self) -> None:
        check_least(self, size=8, action_dim=1)


class Follower(nn.Module):
    """Answers a frame, the frame in which it was told something, and what that was, with an action.

    Whether an object has gone far enough can be seen only beside where it was. Every sentence has its own first layer,
    which may turn "the square, down" and "the disc, left" into one and the same task for the layers behind it.
    """

    def __init__(self, config: FollowerConfig) -> None:
        super().__init__()
        self.config = config
        self.eyes = Eyes(config.eyes)
        hidden, seen = config.eyes.hidden, 2 * self.eyes.seen
        self.heard = nn.Parameter(torch.randn(len(config.sentences), seen, hidden) * seen**-0.5)
        self.first = nn.Embedding(len(config.sentences), hidden)
        nn.init.zeros_(self.first.weight)
        self.rest = nn.Sequential(
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, config.action_dim),
        )

    def forward(
        self, frames: UInt8[Tensor, "b 3 s s"], asked: UInt8[Tensor, "b 3 s s"], said: Int[Tensor, " b"]
    ) -> Float[Tensor, "b a"]:
        """The action, -1 to 1."""
        now, then = self.eyes(torch.cat([frames, asked])).chunk(2)
        seen = torch.cat([now, now - then], dim=1)
        turned = torch.bmm(seen[:, None], self.heard[said])[:, 0]
        return torch.tanh(self.rest(turned + self.first(said)))

    def save(self, folder: Path) -> None:
        """Write follower.yaml and follower.safetensors into a folder that exists."""
        write_network(self, self.config, folder, NAME)

    @staticmethod
    def from_folder(folder: Path | str) -> "Follower":
        """The follower of a run, ready to act; errors as of `rl.reinforce.policy.Policy.from_folder`."""
        place = find_network(Path(folder), NAME, made_by="ivideo rl hindsight")
        follower = Follower(load_config(FollowerConfig, place / f"{NAME}.yaml"))
        read_weights(follower, place / f"{NAME}.safetensors")
        return follower.eval()
