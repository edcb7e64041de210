"""Goals that several instructions lead to, and what a learner comes to on the true table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.evaluation.statistics import Interval, bootstrap
from ivideo.simulate import TableState, render
from ivideo.simulate.motion import advance
from ivideo.simulate.pushing_table import random_state
from ivideo.simulate.skills import SKILL_STEPS, SKILLS, Instructed
from rl.hindsight.chains import drawn
from rl.hindsight.distance import OBJECTS, Reductions, distance, moved
from rl.hindsight.learner import Planner, numbers_of
from rl.reinforce.policy import Policy
from rl.sight import shrunken

Act: TypeAlias = Callable[[UInt8[Tensor, "b c s s"], UInt8[Tensor, "b 3 s s"], int], Float[Tensor, "b a"]]
"""Answers what is seen and what is wanted, in the step of this number, with actions."""
LEAST_WAY = 6.0
"""Table units that disc and square are away from a goal together, at least."""
_SEEDS = 1 << 21
"""Kept apart from those of chains to learn from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Where to begin, and what is wanted."""

    start: TableState
    goal: TableState


def trials(count: int, *, least: int, most: int, seed: int = 0) -> list[Trial]:
    """Beginnings, and what the table looks like after some instructions; a longer list begins with a shorter one."""
    found: list[Trial] = []
    index = 0
    while len(found) < count:
        rng = np.random.default_rng([_SEEDS, seed, index])
        index += 1
        start = state = random_state(rng)
        policy = Instructed(drawn(rng, least, most))
        for _ in range(SKILL_STEPS * len(policy.sentences)):
            x, y = policy(None, {"state": state}, rng)
            state = advance(state, (float(x), float(y)))
        if moved(start, state) and distance(start, state, OBJECTS) >= LEAST_WAY:
            found.append(Trial(start=start, goal=state))
    return found


def attempt(given: Sequence[Trial], act: Act, *, steps: int, size: int, seen: int, stack: int) -> list[Reductions]:
    """Carry out `steps` actions towards every goal, side by side; by how much each way was shortened.

    Frames are drawn `size` pixels wide and shown `seen` wide.
    """
    states = [each.start for each in given]
    goals = _frames([each.goal for each in given], size, seen)
    frames = [_frames(states, size, seen)]
    for step in range(steps):
        observations = torch.cat([frames[max(len(frames) - 1 - back, 0)] for back in range(stack - 1, -1, -1)], dim=1)
        moves = act(observations, goals, step).clamp(-1.0, 1.0).tolist()
        states = [advance(state, (x, y)) for state, (x, y) in zip(states, moves, strict=True)]
        frames.append(_frames(states, size, seen))
    return [Reductions.of(each.start, state, each.goal) for each, state in zip(given, states, strict=True)]


def acting(policy: Policy) -> Act:
    """A policy that is shown goals, by its mean actions."""

    def act(seen: Tensor, goals: Tensor, step: int) -> Tensor:
        with torch.inference_mode():
            moves: Tensor = policy(seen, goals=goals)
        return moves

    return act


def instructing(planner: Planner, skills: Policy) -> Act:
    """A planner that says something every `SKILL_STEPS` steps, and the policy that does it."""
    said = torch.zeros(0, dtype=torch.int64)

    def act(seen: Tensor, goals: Tensor, step: int) -> Tensor:
        nonlocal said
        if step % SKILL_STEPS == 0:
            said = numbers_of(planner, seen, goals)
        with torch.inference_mode():
            moves: Tensor = skills(seen, said=said)
        return moves

    return act


def idling(seed: int) -> Act:
    """Instead of learning anything: another random way every step."""
    generator = torch.Generator().manual_seed(seed)

    def act(seen: Tensor, goals: Tensor, step: int) -> Tensor:
        return 2 * torch.rand(len(seen), 2, generator=generator) - 1

    return act


def guessing(skills: Policy, seed: int) -> Act:
    """Instead of a planner: instructions drawn at random, carried out as well as any."""
    generator, said = torch.Generator().manual_seed(seed), torch.zeros(0, dtype=torch.int64)

    def act(seen: Tensor, goals: Tensor, step: int) -> Tensor:
        nonlocal said
        if step % SKILL_STEPS == 0:
            said = torch.randint(len(SKILLS), (len(seen),), generator=generator)
        with torch.inference_mode():
            moves: Tensor = skills(seen, said=said)
        return moves

    return act


def summary(found: Sequence[Reductions]) -> dict[str, Interval]:
    """Means over goals, with 95% bootstrap intervals."""
    names = ("moved", "objects", "everything")
    return {name: bootstrap(torch.tensor([getattr(each, name) for each in found])) for name in names}


def _frames(states: Sequence[TableState], size: int, seen: int) -> UInt8[Tensor, "b 3 s s"]:
    drawn_now = torch.stack([torch.from_numpy(render(state, size)).permute(2, 0, 1) for state in states])
    return shrunken(drawn_now, size // seen)
