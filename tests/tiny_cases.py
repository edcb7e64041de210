"""Cases for tiny models: clips of noise with actions, rewards and terminals."""

import torch
from tiny_rollouts import clip, run

from ivideo.evaluation.case import Case
from ivideo.evaluation.measures.truth import Truth, steps
from ivideo.state import RolloutState
from ivideo.world_model import WorldModel

FRAMES = 4
"""Imagined frames of each clip."""


def case_for(model: WorldModel, *, clips: int = 2, frames: int = FRAMES, seed: int = 1, **known: object) -> Case:
    """A case that a model can imagine; of a goal-conditioned one the last frame is the goal."""
    length = model.context_frames - model.config.goal_conditioned + frames
    generator = torch.Generator().manual_seed(seed)
    return Case(
        names=tuple(f"noise {index}" for index in range(clips)),
        frames=clip(length, batch=clips, seed=seed),
        actions=torch.randn(clips, length - 1, model.action_dim or 2, generator=generator),
        rewards=torch.randn(clips, length - 1, generator=generator),
        **known,
    )


def part(case: Case, rows: slice) -> Case:
    """Some clips of a case."""
    return Case(
        names=case.names[rows],
        frames=case.frames[rows],
        actions=None if case.actions is None else case.actions[rows],
        rewards=None if case.rewards is None else case.rewards[rows],
        domain=case.domain,
    )


def free(
    model: WorldModel, case: Case, truth: Truth, actions: torch.Tensor | None = None, **how: object
) -> RolloutState:
    """Where a free-running rollout of a case ends."""
    told = steps(model, case, case.actions if actions is None else actions)
    stacked = None if told[0] is None else torch.stack(told, dim=1)
    return run(model, truth.start, stacked, truth.frames, **how)


def codes_of(model: WorldModel, state: RolloutState) -> torch.Tensor:
    """The codes of what a rollout has imagined."""
    return model.layout.dynamics_index(state.ids).clone()
