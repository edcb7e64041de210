"""Where rollouts begin: at a real frame, with what was seen before it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo import Episode, RolloutState, WorldModel
from ivideo.memory import available, rollout_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Real frames of an episode, the last of which a rollout goes on from.

    Before an episode's first frame, that is repeated, as observations are stacked; steps that stand still so have
    action and reward 0.
    """

    frames: UInt8[Tensor, "k 3 h w"]
    actions: Float[Tensor, "k-1 a"]
    rewards: Float[Tensor, "k-1"]
    seed: int
    """What its tokens are drawn from."""

    @staticmethod
    def at(episode: Episode, place: int, *, frames: int, seed: int) -> "Start":
        """So many frames that end with the one at `place`."""
        assert episode.actions is not None
        assert episode.rewards is not None
        places = torch.arange(place - frames + 1, place + 1).clamp(min=0)
        moved = places.diff().bool()
        return Start(
            frames=episode.frames[places],
            actions=episode.actions[places[:-1]] * moved[:, None],
            rewards=episode.rewards[places[:-1]] * moved,
            seed=seed,
        )


def draw(
    episodes: Sequence[Episode],
    generator: np.random.Generator,
    *,
    count: int,
    frames: int,
    first: int = 0,
    steps: int = 1,
) -> tuple[list[Start], list[tuple[Episode, int]]]:
    """Starts and where they are: an episode uniformly, then a frame of it.

    It is the frame `first` or a later one, and at least `steps` steps were taken after it. Episodes without such a
    frame are passed over; ValueError where none is left.
    """
    long_enough = [episode for episode in episodes if len(episode) > first + steps]
    if not long_enough:
        raise ValueError(
            f"none of the {len(episodes)} episodes has the {first + steps} steps that are needed; add longer ones"
        )
    chosen = [long_enough[int(place)] for place in generator.integers(len(long_enough), size=count)]
    places = [
        first + int(share * (len(episode) - first - steps))
        for episode, share in zip(chosen, generator.random(count), strict=True)
    ]
    seeds = generator.integers(_SEEDS, size=count)
    starts = [
        Start.at(episode, place, frames=frames, seed=int(seed))
        for episode, place, seed in zip(chosen, places, seeds, strict=True)
    ]
    return starts, list(zip(chosen, places, strict=True))


def begin(model: WorldModel, starts: Sequence[Start], *, room: int) -> RolloutState:
    """The state after what was seen last, as much of it as the model's context; row i draws from its start's seed."""
    state = model.start(torch.stack([start.frames[-model.context_frames :] for start in starts]), room=room)
    return replace(state, seeds=torch.tensor([start.seed for start in starts]))


def side_by_side(model: WorldModel, starts: Sequence[Start], frames: int, *, most: int) -> Iterator[Sequence[Start]]:
    """The starts in parts, the rollouts of each of which fit into half of the free memory beside each other."""
    free, rows = available(model.device), min(most, len(starts))
    while free is not None and rows > 1:
        if rollout_bytes(model, contexts=rows, branches=rows, frames=frames) <= free // 2:
            break
        rows //= 2
    for first in range(0, len(starts), rows):
        yield starts[first : first + rows]


@contextmanager
def evaluating(model: WorldModel) -> Iterator[None]:
    """The model in evaluation mode inside the block, as it was behind it."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def check_imagines(model: WorldModel) -> None:
    """ValueError for a model in which nothing can be done or earned."""
    if model.config.goal_conditioned:
        raise ValueError("this model starts from a goal, which played episodes have not; take one that needs none")
    if not model.action_dim:
        raise ValueError("this model takes no actions; give it some first, with ivideo.adapt")
    if not model.config.heads.reward:
        raise ValueError("this model has no reward head, without which nothing is earned; give it one first")


_SEEDS = 2**31
"""Seeds of tokens lie below this: what draws them reads 32 bits."""
