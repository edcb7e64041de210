"""Instructions carried out one after the other, whose last frame is what they were for, as hindsight has it.

::

    frames   o_0 ---- push the disc left ---- o_14 ---- push the square up ---- o_28 ... o_T
    goal     o_T                              o_T                              o_T
    said     0 0 0 ...                        6 6 6 ...

UniSim (arXiv 2310.06114, section 4.2) makes so many of them, of three to five instructions, in the model, and trains
what is to plan on (o, g) -> instructions.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from ivideo import Episode, WorldModelEnv
from ivideo.progress import Progress
from ivideo.simulate import PushingTable, TableState
from ivideo.simulate.pushing_table import random_state
from ivideo.simulate.skills import SKILL_STEPS, SKILLS, Instructed
from rl.reinforce.policy import Policy
from rl.sight import shrunken


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """An episode of some instructions; its goal is its last frame."""

    episode: Episode
    said: Int64[Tensor, " k"]
    """The number of the instruction that is carried out in every step."""

    def __post_init__(self) -> None:
        if len(self.said) != len(self.episode) - 1:
            raise ValueError(
                f"{len(self.said)} steps are said and the episode has {len(self.episode) - 1}; expected as many"
            )

    @property
    def goal(self) -> Tensor:
        """What it came to, `[3 h w]`."""
        return self.episode.frames[-1]


def drawn(rng: np.random.Generator, least: int, most: int) -> tuple[str, ...]:
    """From `least` to `most` instructions, any of which may follow any other."""
    return tuple(SKILLS[int(number)] for number in rng.integers(len(SKILLS), size=int(rng.integers(least, most + 1))))


def recorded(count: int, *, least: int, most: int, seed: int, size: int = 64, noise: float = 0.1) -> list[Chain]:
    """Chains that the scripted demonstrator carries out on the true table; a longer list begins with a shorter one.

    Half of them begin after another instruction that is not shown, so that the pusher is not always somewhere else.
    """
    table = PushingTable(size=size, horizon=10**6, goal=_goal())
    return [_record(table, np.random.default_rng([seed, index]), least, most, noise) for index in range(count)]


def imagined(
    env: WorldModelEnv, skills: Policy, count: int, *, least: int, most: int, seed: int, spread: float | None = None
) -> list[Chain]:
    """Chains that a policy which was taught single instructions carries out in the world model, as it sees it there."""
    found: list[Chain] = []
    began = time.monotonic()
    with Progress(steps=count, headline=(), unit="chain") as progress:
        while len(found) < count:
            found += _imagine(env, skills, least, most, (seed, len(found)), spread)
            progress.update(min(len(found), count), time.monotonic() - began, last=len(found) >= count)
    return found[:count]


def _record(table: PushingTable, rng: np.random.Generator, least: int, most: int, noise: float) -> Chain:
    sentences = drawn(rng, least, most)
    hidden = drawn(rng, 1, 1) if rng.random() < 0.5 else ()
    policy = Instructed((*hidden, *sentences), noise)
    frame, info = table.reset(options={"state": random_state(rng, _goal())})
    frames, actions = [frame], []
    for _ in range(SKILL_STEPS * (len(hidden) + len(sentences))):
        action = policy(frame, info, rng)
        frame, _, _, _, info = table.step(action)
        frames.append(frame)
        actions.append(action)
    video = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()
    return _chain(video, torch.from_numpy(np.stack(actions)), sentences, skip=SKILL_STEPS * len(hidden))


def _imagine(
    env: WorldModelEnv, skills: Policy, least: int, most: int, seed: tuple[int, int], spread: float | None
) -> list[Chain]:
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    asked = [drawn(rng, least, most) for _ in range(env.num_envs)]
    shown, _ = env.reset(seed=int(rng.integers(2**31)))
    shrink, stack = shown.shape[1] // skills.config.size, skills.config.stack
    frames, actions = [_planes(shown)], []
    for step in range(SKILL_STEPS * max(len(each) for each in asked)):
        told = [each[min(step // SKILL_STEPS, len(each) - 1)] for each in asked]
        seen = [shrunken(frames[max(len(frames) - 1 - back, 0)], shrink) for back in range(stack - 1, -1, -1)]
        with torch.inference_mode():
            means = skills(torch.cat(seen, dim=1), said=torch.tensor([SKILLS.index(each) for each in told]))
        action = skills.draw(means, generator, spread).clamp(-1.0, 1.0)
        shown, _, _, _, _ = env.step(action.numpy())
        frames.append(_planes(shown))
        actions.append(action)
    videos, moves = torch.stack(frames, dim=1), torch.stack(actions, dim=1)
    return [_chain(video, move, each) for video, move, each in zip(videos, moves, asked, strict=True)]


def _chain(video: Tensor, actions: Tensor, sentences: Sequence[str], skip: int = 0) -> Chain:
    steps = SKILL_STEPS * len(sentences)
    numbers = torch.tensor([SKILLS.index(each) for each in sentences])
    episode = Episode(
        frames=video[skip : skip + steps + 1].clone(),
        actions=actions[skip : skip + steps].clone(),
        instruction=", then ".join(sentences),
    )
    return Chain(episode=episode, said=numbers.repeat_interleave(SKILL_STEPS))


def _planes(shown: UInt8[np.ndarray, "b h w 3"]) -> UInt8[Tensor, "b 3 h w"]:
    return torch.from_numpy(shown.copy()).permute(0, 3, 1, 2).contiguous()


def _goal() -> tuple[float, float]:
    """Where the painted goal is that the packaged world model knows."""
    return TableState(pusher=(0.0, 0.0), disc=(0.0, 0.0), square=(0.0, 0.0)).goal
