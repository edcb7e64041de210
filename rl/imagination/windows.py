"""Windows of what was really seen: what the world model learns from."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ivideo import Batch
from ivideo.data import SegmentSampler
from ivideo.data.segments import stacked
from rl.replay import Replay


def windows(replay: Replay, generator: np.random.Generator, *, count: int, frames: int, delay: int = 0) -> Batch:
    """Windows of consecutive frames: of an episode drawn uniformly, from where it is drawn uniformly.

    An episode that is too short is padded with its last frame, where the mask is False. With a `delay`, every frame has
    the reward that arrives so many frames later; frames without one, an episode's last, are masked.
    """
    episodes = replay.episodes
    if not episodes:
        raise ValueError("there is nothing to learn from yet; add an episode first")
    segments = []
    for place, share in zip(generator.integers(len(episodes), size=count), generator.random(count), strict=True):
        sampler = SegmentSampler([episodes[int(place)]], frames + delay)
        segments.append(sampler.segment(int(share * sampler.windows)))
    batch = stacked(segments)
    if not delay:
        return batch
    assert batch.rewards is not None
    assert batch.mask is not None
    return replace(
        batch,
        frames=batch.frames[:, :frames],
        actions=None if batch.actions is None else batch.actions[:, : frames - 1],
        rewards=batch.rewards[:, delay:],
        terminals=None if batch.terminals is None else batch.terminals[:, : frames - 1],
        mask=batch.mask[:, delay:],
    )


def clips(
    replay: Replay, generator: np.random.Generator, *, count: int, frames: int, context: int, targets: int
) -> UInt8[Tensor, "b k 3 h w"]:
    """The `context` first frames of such windows and `targets` random others of them, in their order."""
    drawn = windows(replay, generator, count=count, frames=frames).frames
    order = generator.permuted(np.tile(np.arange(context, frames), (count, 1)), axis=1)[:, :targets]
    shown = np.concatenate([np.tile(np.arange(context), (count, 1)), np.sort(order, axis=1)], axis=1)
    return drawn[torch.arange(count)[:, None], torch.from_numpy(shown)]
