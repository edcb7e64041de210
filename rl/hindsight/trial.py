"""Goals that several instructions lead to, and what a learner comes to on the true table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ivideo.evaluation.statistics import Interval, bootstrap
from ivideo.simulate import TableState, render
from ivideo.simulate.motion import advance
from ivideo.simulate.pushing_table import random_state
from ivideo.simulate.skills import SKILL_STEPS, SKILLS, Instructed
from rl.hindsight.chains import drawn
from rl.hindsight.distance import OBJECTS, Reductions, distance, moved
from rl.hindsight.follower import Follower
from rl.hindsight.planner import Planner
from rl.sight import shrunken

Act: TypeAlias = Callable[[UInt8[Tensor, "b 3 s s"], UInt8[Tensor, "b 3 s s"], int], Float[Tensor, "b a"]]
"""Answers what is seen and what is wanted, in the step of this number, with actions."""
Say: TypeAlias = Callable[[UInt8[Tensor, "b 3 s s"], UInt8[Tensor, "b 3 s s"], int], Int[Tensor, " b"]]
"""Answers the same, when the instruction of this number is to be given, with the numbers of instructions.

The number behind the last one stands for nothing to be done.
"""
LEAST_WAY = 6.0
"""Table units that disc and square are away from a goal together, at least."""
_SEEDS = 1 << 21
"""Kept apart from those of chains to learn from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Where to begin, what is wanted, and the instructions that led there."""

    start: TableState
    goal: TableState
    sentences: tuple[str, ...]


def trials(count: int, *, least: int, most: int, seed: int = 0) -> list[Trial]:
    """Beginnings, and what the table looks like after some instructions; a longer list begins with a shorter one."""
    found: list[Trial] = []
    index = 0
    while len(found) < count:
        rng = np.random.default_rng([_SEEDS, seed, index])
        index += 1
        start = random_state(rng)
        sentences = drawn(rng, least, most)
        goal = _carried_out(start, sentences, rng)
        if moved(start, goal) and distance(start, goal, OBJECTS) >= LEAST_WAY:
            found.append(Trial(start=start, goal=goal, sentences=sentences))
    return found


def attempt(given: Sequence[Trial], act: Act, *, steps: int, size: int, seen: int) -> list[Reductions]:
    """Carry out `steps` actions towards every goal, side by side; by how much each way was shortened.

    Frames are drawn `size` pixels wide and shown `seen` wide.
    """
    states = [each.start for each in given]
    goals = _frames([each.goal for each in given], size, seen)
    for step in range(steps):
        moves = act(_frames(states, size, seen), goals, step).clamp(-1.0, 1.0).tolist()
        states = [advance(state, (x, y)) for state, (x, y) in zip(states, moves, strict=True)]
    return [Reductions.of(each.start, state, each.goal) for each, state in zip(given, states, strict=True)]


def demonstrated(given: Sequence[Trial], seed: int) -> list[Reductions]:
    """What the scripted demonstrator comes to, which sees states, when it is told what led to the goals."""
    rngs = [np.random.default_rng([_SEEDS, seed, index, 1]) for index in range(len(given))]
    ends = [_carried_out(each.start, each.sentences, rng) for each, rng in zip(given, rngs, strict=True)]
    return [Reductions.of(each.start, end, each.goal) for each, end in zip(given, ends, strict=True)]


def instructing(say: Say, skills: Follower) -> Act:
    """Somebody who says something every `SKILL_STEPS` steps, and the follower that does it."""
    said = asked = torch.zeros(0)

    def act(seen: Tensor, goals: Tensor, step: int) -> Tensor:
        nonlocal said, asked
        if step % SKILL_STEPS == 0:
            said, asked = say(seen, goals, step // SKILL_STEPS), seen
        nothing = said == len(SKILLS)
        with torch.inference_mode():
            moves: Tensor = skills(seen, asked, said.masked_fill(nothing, 0))
        return moves.masked_fill(nothing[:, None], 0.0)

    return act


def planning(planner: Planner) -> Say:
    """What a planner says."""
    return lambda seen, goals, number: planner.answer(seen, goals)


def telling(given: Sequence[Trial]) -> Say:
    """What led to the goals, and then nothing: as good as a planner can be that corrects nothing."""
    numbers = [[SKILLS.index(sentence) for sentence in each.sentences] for each in given]

    def say(seen: Tensor, goals: Tensor, number: int) -> Tensor:
        return torch.tensor([each[number] if number < len(each) else len(SKILLS) for each in numbers])

    return say


def guessing(seed: int) -> Say:
    """Instead of a planner: instructions drawn at random, carried out as well as any."""
    generator = torch.Generator().manual_seed(seed)
    return lambda seen, goals, number: torch.randint(len(SKILLS), (len(seen),), generator=generator)


def idling(seed: int) -> Act:
    """Instead of learning anything: another random way every step."""
    generator = torch.Generator().manual_seed(seed)

    def act(seen: Tensor, goals: Tensor, step: int) -> Tensor:
        return 2 * torch.rand(len(seen), 2, generator=generator) - 1

    return act


def summary(found: Sequence[Reductions], beside: Sequence[Reductions] | None = None) -> dict[str, Interval]:
    """Means over goals, with 95% bootstrap intervals; of the differences to others on the same goals, if given."""
    names = ("moved", "objects", "everything")
    rows = {name: torch.tensor([getattr(each, name) for each in found]) for name in names}
    if beside is not None:
        rows = {name: row - torch.tensor([getattr(each, name) for each in beside]) for name, row in rows.items()}
    return {name: bootstrap(row) for name, row in rows.items()}


def _carried_out(state: TableState, sentences: tuple[str, ...], rng: np.random.Generator) -> TableState:
    policy = Instructed(sentences)
    for _ in range(SKILL_STEPS * len(sentences)):
        x, y = policy(None, {"state": state}, rng)
        state = advance(state, (float(x), float(y)))
    return state


def _frames(states: Sequence[TableState], size: int, seen: int) -> UInt8[Tensor, "b 3 s s"]:
    drawn_now = torch.stack([torch.from_numpy(render(state, size)).permute(2, 0, 1) for state in states])
    return shrunken(drawn_now, size // seen)
