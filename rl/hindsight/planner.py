"""Says which instruction to give, when a frame is to become another one, or that nothing is left to do."""

import copy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from ivideo.config import load_config
from ivideo.simulate.skills import SKILLS
from rl.hindsight.eyes import Eyes, EyesConfig
from rl.reinforce.network import find_network, read_weights, write_network

NAME = "planner"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerConfig:
    """What a planner sees."""

    size: int = 32
    """Side of a frame in pixels."""
    sentences: tuple[str, ...] = SKILLS
    """What it can say, beside nothing."""
    eyes: EyesConfig = field(default_factory=EyesConfig)
    """The network."""


class Planner(nn.Module):
    """Compares what is with what is wanted; its eyes are those of somebody who acts, and do not learn any more."""

    def __init__(self, config: PlannerConfig, eyes: Eyes | None = None) -> None:
        super().__init__()
        self.config = config
        self.eyes = (Eyes(config.eyes) if eyes is None else copy.deepcopy(eyes)).requires_grad_(False)
        hidden = config.eyes.hidden
        self.decide = nn.Sequential(
            nn.Linear(3 * self.eyes.seen, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, len(config.sentences) + 1),
        )

    def forward(self, frames: UInt8[Tensor, "b 3 s s"], goals: UInt8[Tensor, "b 3 s s"]) -> Float[Tensor, "b n"]:
        """Logits of the sentences, the last one of saying nothing."""
        return self.weighed(self.eyes(frames), self.eyes(goals))

    def weighed(self, now: Float[Tensor, "b k"], goals: Float[Tensor, "b k"]) -> Float[Tensor, "b n"]:
        """The same of what its eyes have seen already."""
        said: Tensor = self.decide(torch.cat([now, goals, goals - now], dim=1))
        return said

    def answer(self, frames: UInt8[Tensor, "b 3 s s"], goals: UInt8[Tensor, "b 3 s s"]) -> Int[Tensor, " b"]:
        """The number of the likeliest instruction, that behind the last one for nothing."""
        with torch.inference_mode():
            said: Tensor = self(frames, goals).argmax(dim=1)
        return said

    def save(self, folder: Path) -> None:
        """Write planner.yaml and planner.safetensors into a folder that exists."""
        write_network(self, self.config, folder, NAME)

    @staticmethod
    def from_folder(folder: Path | str) -> "Planner":
        """The planner that a run has learned, ready to speak; errors as of `Follower.from_folder`."""
        place = find_network(Path(folder), NAME, made_by="ivideo rl hindsight")
        planner = Planner(load_config(PlannerConfig, place / f"{NAME}.yaml"))
        read_weights(planner, place / f"{NAME}.safetensors")
        return planner.eval()
