"""Teacher forcing: a rollout that reads a true frame in place of one that it would have imagined."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ivideo.controls import Controls
from ivideo.inputs import row_actions
from ivideo.state import Branch, RolloutState
from ivideo.window import frames_kept, with_room
from ivideo.world_model import WorldModel
from transformer import KVCache


@torch.inference_mode()
def read(
    model: WorldModel, state: RolloutState, codes: Int[Tensor, "n m"], action: Float[Tensor, "n a"] | None
) -> tuple[RolloutState, Float[Tensor, "n l d"]]:
    """The state after a frame of these codes, as if a step had drawn them, and the hidden states of reading it.

    The hidden states end with the m that predict the codes; where there is one more, it predicts the frame's marker.
    All is one pass. What a rollout would have forgotten by now is forgotten.
    """
    state, actions = with_room(model, state), row_actions(model, state, action)
    told = state.told(actions)
    assert isinstance(state.cache, KVCache)
    hidden, cache, last = _extended(model, state, codes, told, state.cache, state.unread)
    untold = state.untold
    if untold is not None:
        _, beside, unread = _extended(model, state, codes, told.ignored(), untold.cache, untold.unread)
        untold = Branch(cache=beside, unread=unread)
    cells = model.embedding.cells(codes[:, None], model.tokenizer.dynamics_codebook)
    after = replace(
        state,
        cache=cache,
        ids=torch.cat([state.ids, codes[:, None] + model.layout.dynamics_ids[0]], dim=1),
        cells=None if cells is None else cells[:, 0],
        unread=last,
        actions=(*state.actions, actions)[-max(1, frames_kept(model)) :],
        untold=untold,
    )
    return after, hidden


def _extended(
    model: WorldModel,
    state: RolloutState,
    codes: Int[Tensor, "n m"],
    told: Controls,
    cache: KVCache,
    unread: Float[Tensor, "n 1 d"] | None,
) -> tuple[Float[Tensor, "n l d"], KVCache, Float[Tensor, "n 1 d"]]:
    """States and cache after the unread token, the marker and all codes but the last, whose embedding comes along."""
    ids = codes[:, None] + model.layout.dynamics_ids[0]
    cells = None if state.cells is None else state.cells[:, None]
    frame = model.embedding.frames(model.transformer, ids, cells, told, model.tokenizer.dynamics_codebook)[:, 0]
    entered = frame[:, :-1] if unread is None else torch.cat([unread, frame[:, :-1]], dim=1)
    hidden, longer = model.transformer.extend(entered, cache)
    return hidden, longer, frame[:, -1:]
