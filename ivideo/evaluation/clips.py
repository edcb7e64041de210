"""Held-out clips of the pushing table in which objects are pushed, and the same clips with others' actions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.simulate.demonstrations import Demonstration, pushed
from ivideo.simulate.pushing_table import TableState


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """Windows of equal length: `context` frames to show a model, then the frames that it has to imagine."""

    context: int
    frames: UInt8[Tensor, "n t 3 h w"]
    actions: Float[Tensor, "n t-1 a"]
    rewards: Float[Tensor, "n t-1"]
    states: tuple[tuple[TableState, ...], ...]
    """The true state in every frame of every clip."""

    def __len__(self) -> int:
        return len(self.frames)


def pushed_clips(
    demonstrations: Sequence[Demonstration], *, context: int = 2, frames: int = 10, limit: int | None = None
) -> Clips:
    """Return the windows in which an object moves by more than 2 units while the model imagines.

    Windows of one episode do not share frames. They come in the order of the episodes, up to `limit`.
    """
    length = context + frames
    places = [
        (demonstration, start)
        for demonstration in demonstrations
        for start in range(0, len(demonstration.states) - length + 1, length)
        if pushed(demonstration.states, start + context - 1, frames)
    ][:limit]
    if not places:
        raise ValueError(
            f"in none of the {len(demonstrations)} episodes is an object pushed within a window of {length} frames; give "
            "more or longer episodes, or another policy"
        )
    cuts = [(d.episode, slice(start, start + length), slice(start, start + length - 1)) for d, start in places]
    return Clips(
        context=context,
        frames=torch.stack([episode.frames[shown] for episode, shown, _ in cuts]),
        actions=torch.stack([episode.actions[between] for episode, _, between in cuts if episode.actions is not None]),
        rewards=torch.stack([episode.rewards[between] for episode, _, between in cuts if episode.rewards is not None]),
        states=tuple(tuple(d.states[start : start + length]) for d, start in places),
    )


def shuffle_actions(clips: Clips, seed: int = 0) -> Clips:
    """Return the clips with the actions that lead to imagined frames taken from another clip.

    No clip keeps its own actions. A model that ignores actions is as good on these as on the true ones.
    """
    if len(clips) < 2:
        raise ValueError(f"there is {len(clips)} clip; actions can be exchanged between two or more: give more clips")
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(seed))
    actions = clips.actions.clone()
    actions[order, clips.context - 1 :] = clips.actions[order.roll(1), clips.context - 1 :]
    return replace(clips, actions=actions)
