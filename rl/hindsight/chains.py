"""Instructions carried out one after the other, and what they came to, which in hindsight was the goal.

::

    frames   o_0 ---- push the disc left ---- o_14 ---- push the square up ---- o_28 ... o_T
    said     0 0 0 ...                        6 6 6 ...

UniSim (arXiv 2310.06114, section 4.2) makes so many of them, of three to five instructions, in the model, and trains
what is to plan on (o, g) -> instructions.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from ivideo import Episode, WorldModelEnv
from ivideo.progress import Progress
from ivideo.simulate import TableState, render
from ivideo.simulate.motion import advance
from ivideo.simulate.pushing_table import random_state
from ivideo.simulate.skills import SKILL_STEPS, SKILLS, Instructed
from rl.hindsight.follower import Follower
from rl.sight import shrunken

HIDDEN = 4
"""Instructions that come before a recorded chain and are not shown, at most."""
_MEMORY = 0.7
"""Correlation of the hand's unsteadiness with that of the step before: what is steady undoes itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """An episode of some instructions, each of `SKILL_STEPS` steps; its goal is its last frame."""

    episode: Episode
    """What was seen and done."""
    said: Int64[Tensor, " k"]
    """The number of the instruction that is carried out in every step."""
    meant: Float[Tensor, "k a"]
    """What would have been done with a steady hand, which is what there is to learn."""

    def __post_init__(self) -> None:
        steps = len(self.episode) - 1
        if not len(self.said) == len(self.meant) == steps or steps % SKILL_STEPS:
            raise ValueError(
                f"{len(self.said)} steps are said, {len(self.meant)} meant, and the episode has {steps}; expected as "
                f"many, and {SKILL_STEPS} for each instruction"
            )

    @property
    def goal(self) -> Tensor:
        """What it came to, `[3 h w]`."""
        return self.episode.frames[-1]


def drawn(rng: np.random.Generator, least: int, most: int) -> tuple[str, ...]:
    """From `least` to `most` instructions, any of which may follow any other."""
    return tuple(SKILLS[int(number)] for number in rng.integers(len(SKILLS), size=int(rng.integers(least, most + 1))))


def recorded(count: int, *, least: int, most: int, seed: int, size: int = 64, noise: float = 0.6) -> list[Chain]:
    """Chains that the scripted demonstrator carries out on the true table; a longer list begins with a shorter one.

    They begin after up to `HIDDEN` instructions that are not shown, so that objects lie as they do in the midst of
    chains. The hand of every chain is unsteady by a standard deviation between 0 and `noise`, so that there is
    something to make up for, and what was meant is kept (DART, Laskey et al. 2017, arXiv 1703.09327).
    """
    return [_record(np.random.default_rng([seed, index]), least, most, size, noise) for index in range(count)]


def imagined(
    env: WorldModelEnv, skills: Follower, count: int, *, least: int, most: int, seed: int, noise: float = 0.3
) -> list[Chain]:
    """Chains that a policy which was taught single instructions carries out in the world model, as it sees it there.

    Chains that are imagined side by side are as long as each other; how long goes round from `least` to `most`. The
    hand is unsteady as in `recorded`.
    """
    found: list[Chain] = []
    began, rounds = time.monotonic(), 0
    with Progress(steps=count, headline=(), unit="chain") as progress:
        while len(found) < count:
            found += _imagine(env, skills, least + rounds % (most + 1 - least), (seed, rounds), noise)
            rounds += 1
            progress.update(min(len(found), count), time.monotonic() - began, last=len(found) >= count)
    return found[:count]


def _record(rng: np.random.Generator, least: int, most: int, size: int, noise: float) -> Chain:
    hidden, sentences = drawn(rng, 0, HIDDEN), drawn(rng, least, most)
    hand = _Hand(rng, rows=1, noise=noise)
    policy, skip = Instructed((*hidden, *sentences), noise=0.0), SKILL_STEPS * len(hidden)
    state = random_state(rng, _goal())
    frames, actions, meant = [], [], []
    for step in range(skip + SKILL_STEPS * len(sentences)):
        action = policy(None, {"state": state}, rng)
        done = hand(action[None])[0]
        if step >= skip:
            frames.append(render(state, size))
            actions.append(done)
            meant.append(action)
        state = advance(state, (float(done[0]), float(done[1])))
    frames.append(render(state, size))
    video = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()
    return _chain(video, torch.from_numpy(np.stack(actions)), torch.from_numpy(np.stack(meant)), sentences)


def _imagine(env: WorldModelEnv, skills: Follower, length: int, seed: tuple[int, int], noise: float) -> list[Chain]:
    rng = np.random.default_rng(seed)
    asked = [drawn(rng, length, length) for _ in range(env.num_envs)]
    hand = _Hand(rng, rows=env.num_envs, noise=noise)
    shown, _ = env.reset(seed=int(rng.integers(2**31)))
    shrink = shown.shape[1] // skills.config.size
    frames, actions, meant = [_planes(shown)], [], []
    for step in range(SKILL_STEPS * length):
        told = torch.tensor([SKILLS.index(each[step // SKILL_STEPS]) for each in asked])
        then = frames[step - step % SKILL_STEPS]
        with torch.inference_mode():
            action = skills(shrunken(frames[-1], shrink), shrunken(then, shrink), told)
        done = hand(action.numpy())
        shown, _, _, _, _ = env.step(done)
        frames.append(_planes(shown))
        actions.append(torch.from_numpy(done))
        meant.append(action.clone())
    made = (torch.stack(frames, dim=1), torch.stack(actions, dim=1), torch.stack(meant, dim=1))
    return [_chain(video, move, wish, each) for video, move, wish, each in zip(*made, asked, strict=True)]


class _Hand:
    """Adds to actions what drifts from step to step, in every row by a strength of its own."""

    def __init__(self, rng: np.random.Generator, *, rows: int, noise: float) -> None:
        self._rng, self._strength = rng, rng.uniform(0.0, noise, size=(rows, 1))
        self._drift = np.zeros((rows, 1))

    def __call__(self, actions: Float[np.ndarray, "b a"]) -> Float[np.ndarray, "b a"]:
        fresh = self._rng.standard_normal(actions.shape)
        self._drift = _MEMORY * self._drift + math.sqrt(1 - _MEMORY**2) * fresh
        return np.clip(actions + self._strength * self._drift, -1.0, 1.0).astype(np.float32)


def _chain(video: Tensor, actions: Tensor, meant: Tensor, sentences: Sequence[str]) -> Chain:
    numbers = torch.tensor([SKILLS.index(each) for each in sentences])
    episode = Episode(frames=video.clone(), actions=actions.clone(), instruction=", then ".join(sentences))
    return Chain(episode=episode, said=numbers.repeat_interleave(SKILL_STEPS), meant=meant.clone())


def _planes(shown: UInt8[np.ndarray, "b h w 3"]) -> UInt8[Tensor, "b 3 h w"]:
    return torch.from_numpy(shown.copy()).permute(0, 3, 1, 2).contiguous()


def _goal() -> tuple[float, float]:
    """Where the painted goal is that the packaged world model knows."""
    return TableState(pusher=(0.0, 0.0), disc=(0.0, 0.0), square=(0.0, 0.0)).goal
