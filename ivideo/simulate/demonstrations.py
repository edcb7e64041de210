"""Episodes of a policy on the pushing table, with the true states that evaluation compares imagined frames with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ivideo.episode import Episode
from ivideo.simulate.motion import DEFAULT_GOAL, Point, TableState
from ivideo.simulate.policies import Policy
from ivideo.simulate.pushing_table import PushingTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """What was seen, and where everything truly was: `states[t]` is drawn in `episode.frames[t]`."""

    episode: Episode
    states: tuple[TableState, ...]


def demonstrate(
    policy: Policy,
    episodes: int,
    seed: int = 0,
    *,
    size: int = 64,
    horizon: int = 60,
    goal: Point | None = DEFAULT_GOAL,
) -> list[Demonstration]:
    """Play episodes of a policy on the pushing table.

    Episode i depends on `seed` and i alone, so that a longer recording begins with a shorter one, and recordings with
    different seeds have nothing in common.

    Args:
        policy: what to play.
        episodes: how many.
        seed: decides first states and the policy's randomness.
        size: side of the frames in pixels.
        horizon: steps after which an episode ends; it ends earlier when the disc gets into the goal.
        goal: centre of the goal in table units; None draws one for every episode.
    """
    return list(demonstrations(policy, episodes, seed, size=size, horizon=horizon, goal=goal))


def demonstrations(
    policy: Policy,
    episodes: int,
    seed: int = 0,
    *,
    size: int = 64,
    horizon: int = 60,
    goal: Point | None = DEFAULT_GOAL,
) -> Iterator[Demonstration]:
    """The same as `demonstrate`, one after the other."""
    table = PushingTable(size=size, horizon=horizon, goal=goal)
    for index in range(episodes):
        yield _play(table, policy, seed, index)


def _play(table: PushingTable, policy: Policy, seed: int, index: int) -> Demonstration:
    world, hand = np.random.SeedSequence([seed, index]).spawn(2)
    rng = np.random.default_rng(hand)
    frame, info = table.reset(seed=int(world.generate_state(1)[0]))
    frames, states, actions, rewards = [frame], [info["state"]], [], []
    terminated = truncated = False
    while not (terminated or truncated):
        action = policy(frame, info, rng)
        frame, reward, terminated, truncated, info = table.step(action)
        frames.append(frame)
        states.append(info["state"])
        actions.append(action)
        rewards.append(reward)
    episode = Episode(
        frames=torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous(),
        actions=torch.from_numpy(np.stack(actions)),
        rewards=torch.tensor(rewards, dtype=torch.float32),
        terminal=terminated,
        name=f"pushing-table-{seed}-{index}",
    )
    return Demonstration(episode=episode, states=tuple(states))


def pushed(states: Sequence[TableState], start: int, frames: int, *, threshold: float = 2.0) -> bool:
    """Say whether an object leaves its place: is over `threshold` units away in any of the `frames` after `start`.

    Windows in which nothing but the pusher moves are easy, and figures over them flatter; evaluation keeps to the
    windows for which this is true.
    """
    if start < 0 or frames < 1 or start + frames >= len(states):
        raise ValueError(
            f"start {start} and frames {frames} reach outside an episode of {len(states)} states; choose a window "
            "inside it"
        )
    first = states[start]
    return any(displacement(first, state) > threshold for state in states[start + 1 : start + frames + 1])


def displacement(before: TableState, after: TableState) -> float:
    """Return how far the object that moved most moved, in table units."""
    return max(
        float(np.hypot(*np.subtract(after.disc, before.disc))),
        float(np.hypot(*np.subtract(after.square, before.square))),
    )
