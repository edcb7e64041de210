"""Successful episodes to begin with: played by scripted demonstrators, or read from files."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ivideo import Episode, open_episodes
from ivideo.simulate import metaworld
from ivideo.simulate.policies import GoalPusher, Policy, Pusher
from rl.tasks.opening import PUSHING_TABLE, TOUCHING, open_task
from rl.tasks.options import TaskOptions
from rl.tasks.task import Task

_TRIES = 10
"""Episodes played for each that is wanted, before it is given up."""


def demonstrations(
    task_name: str,
    count: int,
    seed: int = 0,
    options: TaskOptions | None = None,
    *,
    size: int = 64,
    astray: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Episode]:
    """Return successful episodes of a task's scripted demonstrator, with the rewards that an agent would get there.

    Meta-World's tasks have one, which acts without noise, and the pushing table has `GoalPusher`. Episodes in which the
    aim is never reached are left out. A longer list begins with a shorter one; different seeds share nothing.

    Args:
        task_name: as `open_task` takes it.
        count: how many.
        seed: decides where episodes begin.
        options: of the task.
        size: side of the frames in pixels.
        astray: before the demonstrator takes over, another policy pushes things about for up to so many steps, which
            are not shown: episodes then begin where no demonstrator would have come (the pushing table alone).
        progress: called with the number of episodes found so far.

    Raises:
        ValueError: when the task has no demonstrator, or one that hardly ever succeeds.
    """
    if count < 1:
        raise ValueError(f"count is {count}; expected at least 1 demonstration")
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected 0 or more")
    if astray and task_name not in (PUSHING_TABLE, TOUCHING):
        raise ValueError(f"astray is {astray}, and nothing scripted leads {task_name} astray; leave it at 0")
    task = open_task(task_name, size=size, options=options)
    try:
        policy = _demonstrator(task)
        found: list[Episode] = []
        for number in range(_TRIES * count):
            episode, success = _play(task, policy, seed, number, astray)
            if not success:
                continue
            found.append(episode)
            if progress is not None:
                progress(len(found))
            if len(found) == count:
                return found
        raise ValueError(
            f"the demonstrator of {task.name} reached the aim in {len(found)} of {_TRIES * count} episodes; ask for "
            "fewer demonstrations, or allow longer episodes with a larger horizon"
        )
    finally:
        task.env.close()


def read_demonstrations(folder: str | os.PathLike[str], task: Task) -> list[Episode]:
    """Return the episodes in a folder, of any layout that `ivideo.open_episodes` reads, checked to be of a task's kind.

    Raises:
        FileNotFoundError, ValueError: as `open_episodes` does; and ValueError for frames of another size, another
            number of controls, controls outside -1..1, or episodes without actions or rewards.
    """
    store = open_episodes(folder, size=None)
    height, width = store.frame_size
    if (height, width) != (task.size, task.size):
        raise ValueError(
            f"{folder}: frames are {width}x{height} and {task.name} shows {task.size}x{task.size}; convert them with "
            f"ivideo data convert --size {task.size}, or open the task at their size"
        )
    if store.action_dim != task.action_dim:
        raise ValueError(
            f"{folder}: episodes have {'no actions' if store.action_dim is None else f'{store.action_dim} controls'} "
            f"and {task.name} takes {task.action_dim}; expected demonstrations of the same task"
        )
    if not store.has_rewards:
        raise ValueError(f"{folder}: episodes have no rewards, which an agent learns from; record them with rewards")
    episodes = list(store)
    for episode in episodes:
        assert episode.actions is not None
        largest = float(episode.actions.abs().max())
        if largest > 1.0 + 1e-5:
            raise ValueError(f"{folder}: {episode.name} has an action of {largest:g}; expected controls in -1..1")
    return episodes


def _demonstrator(task: Task) -> Policy:
    if task.name in (PUSHING_TABLE, TOUCHING):
        return GoalPusher()
    if task.name.startswith(metaworld.PREFIX):
        return metaworld.Demonstrator(task.name.removeprefix(metaworld.PREFIX))
    raise ValueError(
        f"{task.name} has no scripted demonstrator; expected pushing_table or a Meta-World task: record episodes "
        "yourself and read them with read_demonstrations"
    )


def _play(task: Task, policy: Policy, seed: int, number: int, astray: int) -> tuple[Episode, bool]:
    world, hand = np.random.SeedSequence([seed, number]).spawn(2)
    rng = np.random.default_rng(hand)
    frame, info = task.env.reset(seed=int(world.generate_state(1)[0]))
    success = terminated = truncated = False
    if astray:
        leader = Pusher()
        for _ in range(int(rng.integers(astray + 1))):
            if terminated or truncated:
                break
            frame, _, terminated, truncated, info = task.env.step(leader(frame, info, rng))
    frames: list[Any] = [frame]
    actions, rewards = [], []
    while not (terminated or truncated):
        action = policy(frame, info, rng)
        frame, reward, terminated, truncated, info = task.env.step(action)
        frames.append(frame)
        actions.append(action)
        rewards.append(float(reward))
        success = success or bool(info["success"])
    if not actions:  # it was over before
        actions, rewards, frames, success = [np.zeros(task.action_dim, np.float32)], [0.0], [frame, frame], False
    episode = Episode(
        frames=torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous(),
        actions=torch.from_numpy(np.stack(actions)),
        rewards=torch.tensor(rewards, dtype=torch.float32),
        terminal=terminated,
        name=f"{task.name}-demonstration-{seed}-{number}",
    )
    return episode, success
