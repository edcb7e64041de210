"""Free-running futures of many clips at once: what the figures and pictures of an evaluation are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.world_model import WorldModel
from transformer import Sampling

GREEDY = Sampling(temperature=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imagined:
    """Clips continued by a model: the true context frames, then nothing but its own."""

    frames: UInt8[Tensor, "n t 3 h w"]
    rewards: Float[Tensor, "n t-1"] | None
    """Rewards that arrive with each frame, zero for context frames; None without a reward head."""


def imagine(
    model: WorldModel,
    frames: UInt8[Tensor, "n t 3 h w"],
    actions: Float[Tensor, "n t-1 a"] | None,
    *,
    domains: Sequence[str | int] | None = None,
    instructions: Sequence[str] | None = None,
    guidance: float = 0.0,
    sampling: Sampling = GREEDY,
    seed: int = 0,
    batch: int = 64,
) -> Imagined:
    """Continue every clip from its first context frames to its full length under `actions`; on the CPU's memory.

    A model without actions, or `actions` None, imagines without them; likewise for the domain and the instruction of
    each clip.
    """
    parts = [
        _continue(
            model,
            frames[first : first + batch],
            None if actions is None or not model.action_dim else actions[first : first + batch],
            {
                "domain": None if domains is None else domains[first : first + batch],
                "instruction": None if instructions is None else instructions[first : first + batch],
                "seed": seed + first,
            },
            {"sampling": sampling, "guidance": guidance},
        )
        for first in range(0, len(frames), batch)
    ]
    rewards = [part.rewards for part in parts if part.rewards is not None]
    return Imagined(frames=torch.cat([part.frames for part in parts]), rewards=torch.cat(rewards) if rewards else None)


def _continue(
    model: WorldModel, frames: Tensor, actions: Tensor | None, start: dict[str, Any], step: dict[str, Any]
) -> Imagined:
    context = model.context_frames
    state, rewards = model.start(frames[:, :context], **start), []
    for place in range(context - 1, frames.shape[1] - 1):
        action = None if actions is None else actions[:, place]
        state, seen = model.step(state, action, decode=False, **step)
        if seen.reward is not None:
            rewards.append(seen.reward.float().cpu())
    future = model.frames(state).cpu()
    silent = torch.zeros(len(frames), context - 1)
    return Imagined(
        frames=torch.cat([frames[:, :context], future], dim=1),
        rewards=torch.cat([silent, torch.stack(rewards, dim=1)], dim=1) if rewards else None,
    )
