"""How many steps are left until the aim is reached, read off a frame: the reward of UniSim (arXiv 2310.06114).

`d(o, g)` is learned from demonstrations that succeed, with g the frame that each ends with where there is a goal image;
a task whose goal is in the picture, as the table's painted one, needs none. Being nearer by a step is worth `C`:
`r = -(d(o') - d(o)) C`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ivideo import Episode
from ivideo.config import load_config
from ivideo.config.limits import check_least
from ivideo.evaluation.measures.ranks import spearman
from ivideo.evaluation.statistics import Interval, bootstrap
from rl.reinforce.network import Sight, SightConfig, find_network, read_weights, write_network
from rl.sight import shrunken

NAME = "steps_to_go"
WORTH = 0.05
"""Of a step (UniSim's C)."""
_SCALE = 10.0
"""Steps for a network's output of 1."""
_CHUNK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsToGoConfig:
    """What is looked at."""

    size: int = 32
    """Side of a frame in pixels."""
    goal: bool = False
    """Whether a goal image is shown beside the frame."""
    most: float = 100.0
    """Steps that are never exceeded: those of the longest demonstration. A frame unlike any that were learned from
    would else be read as anything, and an imagined one may be."""
    sight: SightConfig = field(default_factory=SightConfig)
    """The network."""

    def __post_init__(self) -> None:
        check_least(self, size=8, most=1)


class StepsToGo(nn.Module):
    """Predicts the steps until the aim is reached."""

    def __init__(self, config: StepsToGoConfig) -> None:
        super().__init__()
        self.config = config
        self.sight = Sight(config.sight, planes=6 if config.goal else 3, out=1)

    def forward(
        self, frames: UInt8[Tensor, "b 3 s s"], goals: UInt8[Tensor, "b 3 s s"] | None = None
    ) -> Float[Tensor, " b"]:
        """Steps to go, with gradients."""
        assert (goals is not None) == self.config.goal
        seen = frames if goals is None else torch.cat([frames, goals], dim=1)
        steps: Tensor = self.sight(seen)[:, 0] * _SCALE
        return steps

    def loss(
        self,
        frames: UInt8[Tensor, "b 3 s s"],
        left: Float[Tensor, " b"],
        goals: UInt8[Tensor, "b 3 s s"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean squared error, in units of 10 steps."""
        missed: Tensor = ((self(frames, goals) - left) / _SCALE).square().mean()
        return missed

    @torch.inference_mode()
    def read(
        self, frames: UInt8[Tensor, "n 3 s s"], goals: UInt8[Tensor, "n 3 s s"] | None = None
    ) -> Float[Tensor, " n"]:
        """Steps to go of any number of frames of this network's size, from 0 to `most`."""
        parts = goals.split(_CHUNK) if goals is not None else [None] * -(-len(frames) // _CHUNK)
        read = torch.cat([self(seen, goal) for seen, goal in zip(frames.split(_CHUNK), parts, strict=True)])
        return read.clamp(0.0, self.config.most)

    def save(self, folder: Path) -> None:
        """Write steps_to_go.yaml and steps_to_go.safetensors into a folder that exists."""
        write_network(self, self.config, folder, NAME)

    @staticmethod
    def from_folder(folder: Path | str) -> "StepsToGo":
        """The network of a run of `ivideo rl clone`, ready to read.

        FileNotFoundError where there is none, ValueError where its files do not belong together.
        """
        place = find_network(Path(folder), NAME, made_by="ivideo rl clone")
        network = StepsToGo(load_config(StepsToGoConfig, place / f"{NAME}.yaml"))
        read_weights(network, place / f"{NAME}.safetensors")
        return network.eval()


def rewards_of(left: Float[Tensor, "b t"], worth: float = WORTH) -> Float[Tensor, "b t-1"]:
    """What every step earned, from the steps to go before and after it."""
    return -(left[:, 1:] - left[:, :-1]) * worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Rank correlation with the true steps to go over held-out frames; intervals are over episodes."""

    network: Interval
    pixels: Interval
    """Of the distance of pixels to the frame that the episode ends with, which no policy knows in advance."""
    error: float
    """Mean error of the network, in steps."""


def agreement(network: StepsToGo, episodes: Sequence[Episode], shrink: int = 1) -> Agreement:
    """How well steps to go are read off demonstrations that succeed, and how well pixels alone would tell them."""
    longest = max(len(episode) for episode in episodes)
    rows, errors = torch.full((len(episodes), 3, longest), torch.nan), []
    for row, episode in zip(rows, episodes, strict=True):
        frames = shrunken(episode.frames, shrink)
        goals = frames[-1:].expand_as(frames) if network.config.goal else None
        left = torch.arange(len(frames) - 1, -1, -1).float()
        read = network.read(frames, goals)
        distance = (frames.float() - frames[-1].float()).square().mean(dim=(1, 2, 3))
        row[:, : len(frames)] = torch.stack([left, read, distance])
        errors.append((read - left).abs())
    return Agreement(
        network=bootstrap(rows[:, [0, 1]], spearman, resamples=500),
        pixels=bootstrap(rows[:, [0, 2]], spearman, resamples=500),
        error=float(torch.cat(errors).mean()),
    )
