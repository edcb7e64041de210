"""Rollouts longer than a model remembers: the context stays, the oldest imagined frames are forgotten."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from ivideo.controls import Controls
from ivideo.state import Branch
from transformer import KVCache, RaggedCache

if TYPE_CHECKING:
    from ivideo.state import RolloutState
    from ivideo.world_model import WorldModel


def with_room(model: "WorldModel", state: "RolloutState") -> "RolloutState":
    """The state itself, or where a further frame would be too much, one that has read the latest frames alone.

    Half as many frames as are remembered are kept, behind the context and in the positions that directly follow it.
    They are read anew in one pass, since what was cached of them has seen the forgotten ones: the state is exactly
    that of a rollout which had these frames as its first.
    """
    if isinstance(state.cache, RaggedCache):
        return _parts_with_room(model, state, state.cache)
    layout, transformer = model.layout, model.transformer
    held = layout.predicted_frames(state.cache.length + (state.unread is not None))
    if held < model.remembered_frames:
        return state
    if not held:
        raise ValueError(
            f"the model reads {transformer.config.max_positions} positions, which leaves no room for a frame after "
            f"{layout.context_length} of context; build its transformer with larger max_positions"
        )
    kept = frames_kept(model)
    assert state.untold is None or isinstance(state.untold.cache, KVCache)
    untold = None if state.untold is None else state.untold.cache.trim(layout.context_length)
    cache = state.cache.trim(layout.context_length)
    if not kept:
        fresh = None if untold is None else Branch(cache=untold, unread=None)
        return replace(state, cache=cache, unread=None, untold=fresh)
    read = _latest(model, state, [state.told(action) for action in state.actions[-kept:]])
    _, cache = transformer.extend(read if state.unread is None else read[:, :-1], cache)
    if untold is not None:
        read = _latest(model, state, [state.told(None).ignored()] * kept)
        _, untold = transformer.extend(read[:, :-1], untold)
    return replace(
        state,
        cache=cache,
        untold=None if untold is None else Branch(cache=untold, unread=read[:, -1:]),
    )


def waits(model: "WorldModel", length: int) -> bool:
    """Whether the last token of a row that has read so many positions is still unread."""
    return (length + 1 - model.layout.context_length) % model.layout.frame_length == 0


def _parts_with_room(model: "WorldModel", state: "RolloutState", cache: RaggedCache) -> "RolloutState":
    """The same of rows of different lengths: those that are equally long are full together, and others stay."""
    parts, unread = [], state.unread
    for part in cache.parts:
        length = part.cache.length
        waiting = waits(model, length)
        if model.layout.predicted_frames(length + waiting) < model.remembered_frames:
            parts.append(part)
            continue
        rows = torch.tensor(part.rows, device=state.ids.device)
        alike = state.rows(rows, part.cache, state.context)
        fresh = with_room(model, alike if waiting else replace(alike, unread=None))
        assert isinstance(fresh.cache, KVCache)
        parts.append(replace(part, cache=fresh.cache))
        if unread is not None and fresh.unread is not None:
            unread = unread.index_copy(0, rows, fresh.unread)
    if all(new is old for new, old in zip(parts, cache.parts, strict=True)):
        return state
    return replace(state, cache=RaggedCache(parts=tuple(parts)), unread=unread)


def _latest(model: "WorldModel", state: "RolloutState", told: list[Controls]) -> Float[Tensor, "b s d"]:
    """Embeddings of the latest imagined frames, as many as there are in `told`."""
    ids, book = state.ids[:, -len(told) - 1 :], model.tokenizer.dynamics_codebook
    cells = model.embedding.cells(model.layout.dynamics_index(ids[:, :-1], clamp=True), book)
    embedded = [
        model.embedding.frames(
            model.transformer,
            ids[:, index + 1 : index + 2],
            None if cells is None else cells[:, index : index + 1],
            each,
            book,
        )
        for index, each in enumerate(told)
    ]
    return torch.cat(embedded, dim=1).flatten(1, 2)


def frames_kept(model: "WorldModel") -> int:
    """Imagined frames that stay when others are forgotten."""
    return model.remembered_frames // 2
