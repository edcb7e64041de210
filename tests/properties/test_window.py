"""A rollout past the position limit goes on from the context and its latest frames, in memory that stays the same."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tiny_rollouts import OPTIONS, actions_for, build, clip, run

from ivideo.controls import Controls
from ivideo.embedding import EmbeddingConfig
from ivideo.world_model import WorldModel
from tokenizer import FrameCodes

FITS = 6
"""Imagined frames that fit; half of them are kept."""


def short(embedding: EmbeddingConfig, *, heads: bool = False, fits: int = FITS) -> WorldModel:
    """A model whose positions end after the context and a few frames."""
    model = build(embedding, heads=heads)
    config = replace(model.transformer.config, max_positions=model.layout.sequence_length(fits) + 2)
    model.transformer.config, model.config = config, replace(model.config, transformer=config)
    assert model.max_frames == fits
    return model


def test_a_model_remembers_no_more_than_it_is_told() -> None:
    model = build(OPTIONS[1])
    actions = actions_for(model, 16)
    assert actions is not None
    assert model.max_frames > FITS
    model.config = replace(model.config, remember=FITS)
    told, limited = run(model, model.start(clip(2)), actions, 16), short(OPTIONS[1])
    assert torch.equal(told.ids, run(limited, limited.start(clip(2)), actions, 16).ids)
    model.config = replace(model.config, remember=1000)
    assert model.remembered_frames == model.max_frames
    with pytest.raises(ValueError, match="remember is 0; expected at least 1 frame"):
        WorldModel(model.tokenizer, replace(model.config, remember=0))


def held(frame: int) -> int:
    """Imagined frames that are read when this one is predicted."""
    return frame if frame < FITS else FITS // 2 + (frame - FITS) % (FITS - FITS // 2)


@pytest.mark.parametrize("heads", [False, True])
@pytest.mark.parametrize("embedding", OPTIONS)
def test_every_frame_follows_from_the_context_and_the_latest_frames(embedding: EmbeddingConfig, heads: bool) -> None:
    model, frames = short(embedding, heads=heads), 16
    actions = actions_for(model, frames)
    start = model.start(clip(2))
    ids = run(model, start, actions, frames).ids.clone()
    codes = FrameCodes(context=start.context.codes.clone(), dynamics=model.layout.dynamics_index(ids))
    books = model.tokenizer.context_codebook, model.tokenizer.dynamics_codebook
    context = model.embedding.context(model.transformer, codes.context, books[0])
    first, later = model.embedding.last_cells(codes.context, books[0]), model.embedding.cells(codes.dynamics, books[1])
    cells = None if first is None or later is None else torch.cat([first[:, None], later[:, :-1]], dim=1)
    for frame in range(frames):
        seen = slice(frame - held(frame), frame + 1)
        read = model.embedding.frames(
            model.transformer,
            ids[:, seen],
            None if cells is None else cells[:, seen],
            Controls(actions=None if actions is None else actions[:, seen]),
            books[1],
        )
        with torch.no_grad():
            hidden = model.transformer(torch.cat([context, read.flatten(1, 2)], dim=1))
            logits = model.logits(model.layout.split_frames(hidden)[:, -1, :-1], "dynamics")
        assert torch.equal(logits.argmax(-1), codes.dynamics[:, frame]), f"frame {frame}"


def test_branches_share_the_context_still() -> None:
    model = short(EmbeddingConfig(action_dim=2))
    actions = actions_for(model, 16)
    assert actions is not None
    alone = run(model, model.start(clip(2)), actions, 16)
    state = model.start(clip(2)).fork(2)
    state = run(model, state, actions.repeat_interleave(2, dim=0), 16)
    assert torch.equal(state.ids, alone.ids.repeat_interleave(2, dim=0))
    assert state.cache.prefix is not None
    assert state.cache.prefix.own == model.layout.context_length


def test_rows_are_selected_with_their_actions() -> None:
    model = short(EmbeddingConfig(action_dim=2))
    actions = actions_for(model, 16)
    assert actions is not None
    whole = run(model, model.start(clip(2)), actions, 16)
    state = run(model, model.start(clip(2)), actions, 4).select(torch.tensor([1]))
    assert torch.equal(run(model, state, actions[1:, 4:], 12).ids, whole.ids[1:])


def test_memory_stays_flat() -> None:
    model = short(EmbeddingConfig(guide=8))
    state = run(model, model.start(clip(2)), None, 2 * FITS)
    capacity, remembered = state.cache.nbytes, len(state.actions)
    state = run(model, state, None, 500 - 2 * FITS)
    assert state.frames == 500
    assert state.cache.nbytes == capacity
    assert len(state.actions) == remembered == FITS // 2


@pytest.mark.parametrize("heads", [False, True])
def test_where_a_single_frame_fits_none_is_kept(heads: bool) -> None:
    model = short(EmbeddingConfig(action_dim=2), heads=heads, fits=1)
    actions = actions_for(model, 5)
    assert actions is not None
    ids = run(model, model.start(clip(2)), actions, 5).ids
    for frame in range(5):
        assert torch.equal(run(model, model.start(clip(2)), actions[:, frame:], 1).ids[:, 0], ids[:, frame])


def test_a_reward_that_waits_is_not_forgotten_with_its_frame() -> None:
    model = short(EmbeddingConfig(action_dim=2), heads=True, fits=1)
    actions = actions_for(model, 5)
    assert actions is not None
    one = other = model.start(clip(2))
    told = []
    for frame in range(5):
        one, at_once = model.step(one, actions[:, frame])
        other, later = model.step(other, actions[:, frame], reward=False)
        told.append((at_once, later))
    for (at_once, _), (_, later) in pairwise(told):
        torch.testing.assert_close(later.earlier_reward, at_once.reward)
        torch.testing.assert_close(later.earlier_terminal, at_once.terminal)


def test_where_no_frame_fits_a_clear_error() -> None:
    model = short(EmbeddingConfig(), fits=0)
    with pytest.raises(ValueError, match=r"leaves no room for a frame after 33 of context"):
        model.step(model.start(clip(2)))
