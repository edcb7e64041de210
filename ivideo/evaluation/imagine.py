"""Free-running futures of many clips at once: what the figures and pictures of an evaluation are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ivideo.evaluation.measures.truth import shown_frames
from ivideo.world_model import WorldModel
from transformer import Sampling

GREEDY = Sampling(temperature=0)
ROWS = 64
"""Futures that are imagined side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imagined:
    """Clips continued by a model: the true context frames, then nothing but its own. On the CPU's memory."""

    frames: UInt8[Tensor, "n t 3 h w"]
    codes: Int[Tensor, "n f m"]
    """Of the imagined frames, as indices within the dynamics codebook."""
    log_likelihood: Float[Tensor, "n f"]
    """What the model gave the tokens of each imagined frame, in nats."""
    finite: Bool[Tensor, " n"]
    """Whether all the model said of a clip are numbers; where not, nothing else of that clip means anything."""
    rewards: Float[Tensor, "n t-1"] | None
    """Rewards that arrive with each frame, zero for context frames; None without a reward head."""
    terminals: Float[Tensor, "n t-1"] | None
    """Probability that each frame ends the episode, zero for context frames; None without a termination head."""

    def firsts(self, samples: int) -> "Imagined":
        """The first of every `samples` futures; finite where all of them are."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(Imagined)}
        firsts: dict[str, Any] = {name: None if value is None else value[::samples] for name, value in values.items()}
        return Imagined(**firsts | {"finite": self.finite.unflatten(0, (-1, samples)).all(dim=1)})

    @staticmethod
    def stack(parts: "Sequence[Imagined]") -> "Imagined":
        """All clips of several."""
        joined: dict[str, Any] = {}
        for field in fields(Imagined):
            values = [getattr(part, field.name) for part in parts]
            joined[field.name] = None if values[0] is None else torch.cat(values)
        return Imagined(**joined)


def imagine(
    model: WorldModel,
    frames: UInt8[Tensor, "n t 3 h w"],
    actions: Float[Tensor, "n t-1 a"] | None,
    *,
    samples: int = 1,
    domains: Sequence[str | int] | None = None,
    instructions: Sequence[str] | None = None,
    guidance: float = 0.0,
    sampling: Sampling = GREEDY,
    seed: int = 0,
    batch: int = ROWS,
) -> Imagined:
    """Continue every clip from its first context frames to its full length under `actions`.

    A model without actions, or `actions` None, imagines without them; likewise for the domain and the instruction of
    each clip. A goal-conditioned model is given the clip's last frame as the goal. Clip i draws from seed `seed + i`,
    whatever is computed beside it; its `samples` futures, from row i * samples on, share the computed context. About
    `batch` futures are computed at once.
    """
    told = actions if model.action_dim else None
    step = max(1, batch // samples)
    parts = []
    for first in range(0, len(frames), step):
        these = slice(first, first + step)
        start = {
            "domain": None if domains is None else domains[these],
            "instruction": None if instructions is None else instructions[these],
            "seed": seed + first,
        }
        how = {"sampling": sampling, "guidance": guidance}
        parts.append(_continue(model, frames[these], None if told is None else told[these], samples, start, how))
    return Imagined.stack(parts)


def _continue(
    model: WorldModel, frames: Tensor, actions: Tensor | None, samples: int, start: dict[str, Any], step: dict[str, Any]
) -> Imagined:
    context, length = shown_frames(model), frames.shape[1]
    state = model.start(
        frames[:, :context],
        goal=frames[:, -1] if model.config.goal_conditioned else None,
        **start,
    )
    if samples > 1:
        state = state.fork(samples, frames=length - context)
        actions = None if actions is None else actions.repeat_interleave(samples, dim=0)
    seen = []
    for place in range(context - 1, length - 1):
        state, prediction = model.step(state, None if actions is None else actions[:, place], decode=False, **step)
        seen.append(prediction)
    shown = frames[:, :context].repeat_interleave(samples, dim=0)
    future = model.frames(state).cpu()
    likelihood = torch.stack([each.log_likelihood for each in seen], dim=1).float().cpu()
    rewards = _arriving([each.reward for each in seen], context)
    terminals = _arriving([each.terminal for each in seen], context)
    said = [likelihood, *(values for values in (rewards, terminals) if values is not None)]
    return Imagined(
        frames=torch.cat([shown, future], dim=1),
        codes=torch.stack([each.codes for each in seen], dim=1).cpu(),
        log_likelihood=likelihood,
        finite=torch.stack([values.isfinite().all(dim=1) for values in said]).all(dim=0),
        rewards=rewards,
        terminals=terminals,
    )


def _arriving(values: list[Tensor | None], context: int) -> Tensor | None:
    """One row per clip, as wide as its transitions; None where the model has no head for it."""
    present = [value.float().cpu() for value in values if value is not None]
    if not present:
        return None
    silent = torch.zeros(len(present[0]), context - 1)
    return torch.cat([silent, torch.stack(present, dim=1)], dim=1)
