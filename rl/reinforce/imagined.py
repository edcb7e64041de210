"""Episodes that a policy lives in the world model, a row for each actor."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ivideo import Episode, WorldModel, WorldModelEnv
from rl.reinforce.policy import Policy
from rl.reinforce.steps import WORTH, StepsToGo, rewards_of
from rl.sight import shrunken


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollouts:
    """What some actors saw, did and earned, `k` steps each."""

    observations: UInt8[Tensor, "b k c s s"]
    actions: Float[Tensor, "b k a"]
    """As they were drawn, before they were cut to [-1, 1]."""
    going: Bool[Tensor, "b k"]
    """False for what came after an episode was over, which counts for nothing."""
    left: Float[Tensor, "b k+1"]
    """Steps to go that were read off every frame."""
    rewards: Float[Tensor, "b k"]
    """0 where the episode was over."""
    log_likelihood: float
    """Mean nats that the model gave its own tokens, per token."""
    reached: float
    """Share of actors for whom the steps to go fell to where the aim counts as reached."""
    broken: float
    """Share of actors whose episode was ended by a jump."""

    @property
    def earned(self) -> float:
        """Mean sum of rewards of an actor, undiscounted."""
        return float(self.rewards.sum(dim=1).mean())


def world(model: WorldModel, starts: list[Episode], *, actors: int, horizon: int) -> WorldModelEnv:
    """The imagined environment, which earns nothing by itself: rewards are read off its frames."""

    def nothing(frames: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        return torch.zeros(len(frames))

    return WorldModelEnv(model, starts, num_envs=actors, horizon=horizon, reward=nothing)


@torch.no_grad()
def imagine(
    env: WorldModelEnv,
    policy: Policy,
    steps: StepsToGo,
    *,
    seed: int,
    spread: float | None,
    worth: float = WORTH,
    reached: float = 0.5,
    jump: float | None = None,
) -> Rollouts:
    """Let the policy act in all rows from their beginnings until the last one is over; `seed` decides everything.

    Args:
        env: the rows.
        policy: what acts.
        steps: what reads the steps to go, whose fall is the reward.
        seed: of the beginnings, the tokens and the actions.
        spread: of the actions; None: the policy's own, 0: its mean actions.
        worth: reward of a step nearer.
        reached: steps to go below which an episode is over, the aim being reached.
        jump: change of the steps to go, either way, that one action cannot bring about: an episode is over before it,
            for the model has lost an object there or moved it by itself. None ends none.
    """
    generator = torch.Generator().manual_seed(seed)
    shown, _ = env.reset(seed=seed)
    shrink = shown.shape[1] // policy.config.size
    frames = [_seen(shown, shrink)]
    left, over = [steps.read(frames[0])], torch.zeros(env.num_envs, dtype=torch.bool)
    broken = torch.zeros_like(over)
    observations, actions, going, sure = [], [], [], []
    for _ in range(env.horizon):
        observation = torch.cat(
            [frames[max(len(frames) - 1 - back, 0)] for back in range(policy.config.stack - 1, -1, -1)], dim=1
        )
        action = policy.draw(policy(observation), generator, spread)
        shown, _, terminated, _, infos = env.step(action.clamp(-1.0, 1.0).numpy())
        frames.append(_seen(shown, shrink))
        read = steps.read(frames[-1])
        leapt = torch.zeros_like(over) if jump is None else ~over & ((read - left[-1]).abs() > jump)
        broken |= leapt
        sure.append(float(infos["log_likelihood"][(~over).numpy()].mean()) / env.worlds.model.layout.dynamics_tokens)
        over = over | leapt
        going.append(~over)
        # What lies behind an episode's end is another episode's beginning, or nothing that counts.
        left.append(torch.where(over, left[-1], read))
        observations.append(observation)
        actions.append(action)
        over = over | torch.from_numpy(np.asarray(terminated)) | (left[-1] < reached)
        if bool(over.all()):
            break
    series = torch.stack(left, dim=1)
    return Rollouts(
        observations=torch.stack(observations, dim=1),
        actions=torch.stack(actions, dim=1),
        going=torch.stack(going, dim=1),
        left=series,
        rewards=rewards_of(series, worth),
        log_likelihood=float(np.mean(sure)),
        reached=float((series[:, 1:].min(dim=1).values < reached).float().mean()),
        broken=float(broken.float().mean()),
    )


def lived(episode: Episode, steps: StepsToGo, horizon: int, shrink: int) -> Float[Tensor, " k"]:
    """Steps to go along the first `horizon` steps of an episode."""
    return steps.read(shrunken(episode.frames[: horizon + 1], shrink))


def first_frames(episodes: list[Episode], frames: int) -> list[Episode]:
    """The beginnings of episodes, as long as a model's context, to begin nowhere else."""
    return [Episode(frames=each.frames[:frames], name=each.name, instruction=each.instruction) for each in episodes]


def _seen(shown: UInt8[np.ndarray, "b h w 3"], shrink: int) -> UInt8[Tensor, "b 3 s s"]:
    return shrunken(torch.from_numpy(shown).permute(0, 3, 1, 2).contiguous(), shrink)
