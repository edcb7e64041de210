"""Episodes as an agent lives them: stacked frames in, an action out, until the episode ends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from ivideo import Episode
from rl.tasks import Task

Act: TypeAlias = Callable[[UInt8[Tensor, "c h w"]], Float[Tensor, " a"]]
"""Answers the latest frames, stacked along the channels, with an action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """An episode, and whether the aim was reached in it at any time."""

    episode: Episode
    success: bool

    @property
    def earned(self) -> float:
        """Sum of its rewards."""
        assert self.episode.rewards is not None
        return float(self.episode.rewards.sum())


def play(task: Task, act: Act, *, seed: int, stack: int) -> Played:
    """Play one episode; it depends on the seed and on what `act` answers alone."""
    frame, _ = task.env.reset(seed=seed)
    frames, actions, rewards = [_planes(frame)], [], []
    success = terminated = truncated = False
    while not (terminated or truncated):
        action = act(stacked(frames, stack)).numpy().astype(np.float32)
        frame, reward, terminated, truncated, info = task.env.step(action)
        frames.append(_planes(frame))
        actions.append(torch.from_numpy(action))
        rewards.append(float(reward))
        success = success or bool(info.get("success", False))
    episode = Episode(
        frames=torch.stack(frames),
        actions=torch.stack(actions),
        rewards=torch.tensor(rewards, dtype=torch.float32),
        terminal=bool(terminated),
        name=f"{task.name}-{seed}",
    )
    return Played(episode=episode, success=success)


def stacked(frames: list[UInt8[Tensor, "3 h w"]], stack: int) -> UInt8[Tensor, "c h w"]:
    """The latest frames along the channels, the oldest first; before the first one, that is repeated."""
    places = [max(len(frames) - 1 - back, 0) for back in range(stack - 1, -1, -1)]
    return torch.cat([frames[place] for place in places])


def _planes(frame: UInt8[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"]) -> UInt8[Tensor, "3 h w"]:
    return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).contiguous()
