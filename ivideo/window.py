"""Rollouts longer than a model remembers: the context stays, the oldest imagined frames are forgotten."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from ivideo.state import RolloutState
    from ivideo.world_model import WorldModel


def with_room(model: "WorldModel", state: "RolloutState") -> "RolloutState":
    """The state itself, or where a further frame would be too much, one that has read the latest frames alone.

    Half as many frames as are remembered are kept, behind the context and in the positions that directly follow it.
    They are read anew in one pass, since what was cached of them has seen the forgotten ones: the state is exactly
    that of a rollout which had these frames as its first.
    """
    layout, transformer, embedding = model.layout, model.transformer, model.embedding
    held = layout.predicted_frames(state.cache.length + (state.unread is not None))
    if held < model.remembered_frames:
        return state
    if not held:
        raise ValueError(
            f"the model reads {transformer.config.max_positions} positions, which leaves no room for a frame after "
            f"{layout.context_length} of context; build its transformer with larger max_positions"
        )
    cache = state.cache.trim(layout.context_length)
    kept = frames_kept(model)
    if kept:
        ids, book = state.ids[:, -kept - 1 :], model.tokenizer.dynamics_codebook
        cells = embedding.cells(layout.dynamics_index(ids[:, :-1], clamp=True), book)
        embedded = [
            embedding.frames(
                transformer,
                ids[:, index + 1 : index + 2],
                None if cells is None else cells[:, index : index + 1],
                state.actions[index - kept],
                book,
            )
            for index in range(kept)
        ]
        read = torch.cat(embedded, dim=1).flatten(1, 2)
        _, cache = transformer.extend(read if state.unread is None else read[:, :-1], cache)
        return replace(state, cache=cache)
    return replace(state, cache=cache, unread=None)


def frames_kept(model: "WorldModel") -> int:
    """Imagined frames that stay when others are forgotten."""
    return model.remembered_frames // 2
