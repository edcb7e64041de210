"""Clips of the pushing table in which objects are pushed: the ones that are hard to imagine."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.simulate.demonstrations import Demonstration, pushed
from ivideo.simulate.motion import TableState


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
            f"none of the {len(demonstrations)} episodes has a window of {length} frames in which an object is pushed; "
            "give more or longer episodes, or another policy"
        )
    cuts = [(d.episode, slice(start, start + length), slice(start, start + length - 1)) for d, start in places]
    return Clips(
        context=context,
        frames=torch.stack([episode.frames[shown] for episode, shown, _ in cuts]),
        actions=torch.stack([episode.actions[between] for episode, _, between in cuts if episode.actions is not None]),
        rewards=torch.stack([episode.rewards[between] for episode, _, between in cuts if episode.rewards is not None]),
        states=tuple(tuple(d.states[start : start + length]) for d, start in places),
    )
