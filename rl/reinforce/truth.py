"""What a policy comes to in the task itself."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.evaluation.statistics import Interval, bootstrap
from rl.play import Played, play
from rl.reinforce.policy import Policy
from rl.sight import shrunken
from rl.tasks import Task

_EVALUATION = 3
"""Kept apart from the seeds of training and of other learners' evaluations."""


def played(policy: Policy, task: Task, count: int, *, spread: float = 0.0) -> list[Played]:
    """Episodes of a policy in the task, the same beginnings in every call; without a spread of its mean actions."""
    shrink, stack = task.size // policy.config.size, policy.config.stack
    generator = torch.Generator().manual_seed(_EVALUATION)

    def act(observation: UInt8[Tensor, "c h w"]) -> Float[Tensor, " a"]:
        with torch.inference_mode():
            means = policy(shrunken(observation[None], shrink))
        return policy.draw(means, generator, spread)[0].clamp(-1.0, 1.0)

    seeds = [int(np.random.SeedSequence([_EVALUATION, number]).generate_state(1)[0]) for number in range(count)]
    return [play(task, act, seed=seed, stack=stack) for seed in seeds]


def success_of(policy: Policy, task: Task, count: int) -> dict[str, float]:
    """Share of such episodes that reach the aim, with its 95% interval, and their mean return."""
    found = played(policy, task, count)
    share = share_of(found)
    return {
        "eval/success": share.value,
        "eval/success_low": share.low,
        "eval/success_high": share.high,
        "eval/return": float(np.mean([each.earned for each in found])),
        "eval/episodes": float(count),
    }


def share_of(found: Sequence[Played]) -> Interval:
    """Share that reached the aim, with its 95% bootstrap interval over episodes."""
    return bootstrap(torch.tensor([float(each.success) for each in found]))
