"""Guidance: what is drawn from two branches, and that a guided rollout is as well-behaved as any other."""

from dataclasses import replace

import pytest
import torch
from tiny_rollouts import GREEDY, OPTIONS, actions_for, build, clip, run

from ivideo.embedding import EmbeddingConfig
from ivideo.state import RolloutState
from ivideo.world_model import WorldModel
from tokenizer import FrameCodes
from transformer import Sampling, Transformer

ETA = 1.5
WITH_ACTIONS = [option for option in OPTIONS if option.action_dim]


def expected_tokens(model: WorldModel, state: RolloutState, actions: torch.Tensor) -> torch.Tensor:
    """The likeliest tokens of (1 + eta) l(action) - eta l(none), from two passes over the whole sequence."""
    codes = FrameCodes(context=state.context.codes.clone(), dynamics=model.layout.dynamics_index(state.ids.clone()))
    told, untold = (
        model.logits(model.layout.split_frames(model(codes, each))[:, :, :-1], "dynamics") for each in (actions, None)
    )
    return ((1 + ETA) * told - ETA * untold).argmax(-1) + model.layout.dynamics_ids[0]


@pytest.mark.parametrize("heads", [False, True])
@pytest.mark.parametrize("embedding", WITH_ACTIONS)
def test_guided_tokens_are_those_of_both_whole_sequences(embedding: EmbeddingConfig, heads: bool) -> None:
    model = build(embedding, heads=heads)
    actions = actions_for(model, 4)
    assert actions is not None
    state = run(model, model.start(clip(2)), actions, 4, guidance=ETA)
    with torch.no_grad():
        assert torch.equal(state.ids, expected_tokens(model, state, actions))
    assert not torch.equal(state.ids, run(model, model.start(clip(2)), actions, 4).ids)


@pytest.mark.parametrize("embedding", WITH_ACTIONS)
def test_no_guidance_is_the_conditional_model_at_its_cost(
    embedding: EmbeddingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, passes, extend = build(embedding), [0], Transformer.extend
    actions = actions_for(model, 3)

    def counted(self: Transformer, *arguments: torch.Tensor) -> object:
        passes[0] += 1
        return extend(self, *arguments)

    monkeypatch.setattr(Transformer, "extend", counted)
    plain, costs = run(model, model.start(clip(2)), actions, 3), []
    costs.append(passes[0])
    none = run(model, model.start(clip(2)), actions, 3, guidance=0.0)
    costs.append(passes[0] - costs[0])
    run(model, model.start(clip(2)), actions, 3, guidance=ETA)
    costs.append(passes[0] - sum(costs))
    assert torch.equal(plain.ids, none.ids)
    assert none.untold is None
    assert costs[1] == costs[0]
    assert costs[2] == 2 * costs[0] - 1  # the prefix is read once


def test_where_the_action_changes_nothing_guidance_does_not_either() -> None:
    model = build(WITH_ACTIONS[0])
    with torch.no_grad():
        for parameter in model.embedding.action.parameters():
            parameter.zero_()
    actions = actions_for(model, 3)
    guided = run(model, model.start(clip(2)), actions, 3, guidance=5.0)
    assert torch.equal(guided.ids, run(model, model.start(clip(2)), actions, 3).ids)


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(top_k=5)])
@pytest.mark.parametrize("embedding", WITH_ACTIONS)
def test_a_guided_row_is_the_same_alone_forked_and_in_a_batch(embedding: EmbeddingConfig, sampling: Sampling) -> None:
    model = build(embedding, heads=True)
    context, actions = clip(2, batch=3), actions_for(model, 3, batch=3)
    how = {"sampling": sampling, "guidance": ETA}
    together = run(model, model.start(context, seed=7), actions, 3, **how)
    alone = run(model, model.start(context[1], seed=8), actions[1:2], 3, **how)
    assert torch.equal(together.ids[1:2], alone.ids)

    started = run(model, model.start(context, seed=7), actions, 1, **how)
    forked, further = started.fork(2), actions[:, 1:].repeat_interleave(2, dim=0)
    branches = run(model, forked, further, 2, **how)
    picked = run(model, forked.select(torch.tensor([3])), further[3:4], 2, **how)
    assert torch.equal(branches.ids[3:4], picked.ids)
    assert torch.equal(branches.ids[::2], run(model, started, actions[:, 1:], 2, **how).ids)


def test_the_old_state_stays_valid() -> None:
    model = build(WITH_ACTIONS[-1], heads=True)
    actions = actions_for(model, 3)
    state = run(model, model.start(clip(2)), actions, 1, guidance=ETA)
    first = run(model, state, actions[:, 1:], 1, guidance=ETA)
    run(model, state, -actions[:, 1:], 1, guidance=ETA)
    assert torch.equal(run(model, state, actions[:, 1:], 1, guidance=ETA).ids, first.ids)


@pytest.mark.parametrize("embedding", WITH_ACTIONS)
def test_guidance_goes_on_where_frames_are_forgotten(embedding: EmbeddingConfig) -> None:
    model = build(embedding, heads=True)
    model.config = replace(model.config, remember=4)
    actions = actions_for(model, 9)
    assert actions is not None
    state = run(model, model.start(clip(2)), actions, 9, guidance=ETA)
    # After frames 4, 6 and 8 the latest two are read anew, as if a rollout had begun with them.
    whole = FrameCodes(context=state.context.codes.clone(), dynamics=model.layout.dynamics_index(state.ids.clone()))
    books = model.tokenizer.context_codebook, model.tokenizer.dynamics_codebook
    with torch.no_grad():
        scores = [last_frame_scores(model, whole, books, told, slice(6, 9)) for told in (actions, None)]
    guided = (1 + ETA) * scores[0] - ETA * scores[1]
    assert torch.equal(guided.argmax(-1), whole.dynamics[:, 8])


def last_frame_scores(
    model: WorldModel,
    codes: FrameCodes,
    books: tuple[torch.Tensor, torch.Tensor],
    actions: torch.Tensor | None,
    seen: slice,
) -> torch.Tensor:
    """Logits of the last frame in `seen`, where nothing before these frames but the context is read."""
    from ivideo.controls import Controls

    embedding = model.embedding
    later = embedding.cells(codes.dynamics, books[1])
    cells = None if later is None else later[:, seen.start - 1 : seen.stop - 1]
    told = Controls(actions=None if actions is None else actions[:, seen])
    ids = codes.dynamics[:, seen] + model.layout.dynamics_ids[0]
    read = embedding.frames(model.transformer, ids, cells, told, books[1])
    context = embedding.context(model.transformer, codes.context, books[0])
    hidden = model.transformer(torch.cat([context, read.flatten(1, 2)], dim=1))
    return model.logits(model.layout.split_frames(hidden)[:, -1, :-1], "dynamics")


def test_likelihood_is_that_before_guidance() -> None:
    model = build(WITH_ACTIONS[0])
    actions = actions_for(model, 1)
    state, seen = model.step(model.start(clip(2)), actions[:, 0], guidance=ETA)
    dynamics = model.layout.dynamics_index(state.ids.clone())
    codes = FrameCodes(context=state.context.codes.clone(), dynamics=dynamics)
    logits = model.logits(model.layout.split_frames(model(codes, actions))[:, :, :-1], "dynamics")
    expected = logits.log_softmax(-1).gather(-1, dynamics[..., None]).sum(dim=(1, 2, 3))
    torch.testing.assert_close(seen.log_likelihood, expected, atol=1e-4, rtol=1e-4)


def test_predict_takes_guidance() -> None:
    model = build(WITH_ACTIONS[0])
    actions, context = actions_for(model, 3, 1)[0], clip(2, 1)[0]
    futures = model.predict(context, actions, samples=2, guidance=ETA)
    state = run(model, model.start(context), actions[None], 3, guidance=ETA)
    assert torch.equal(futures[:1, 2:], model.frames(state))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"guidance": -1.0}, "guidance is -1.0; expected 0"),
        ({"guidance": float("inf")}, "guidance is inf"),
        ({"guidance": 1.0, "guess": True}, "leave one of them out"),
    ],
)
def test_what_guidance_cannot_do_is_said(how: dict[str, object], message: str) -> None:
    model = build(WITH_ACTIONS[0])
    with pytest.raises(ValueError, match=message):
        model.step(model.start(clip(2, 1)), torch.ones(2), **how)  # type: ignore[arg-type]


def test_guidance_has_something_to_strengthen_from_the_first_frame_on() -> None:
    model = build(WITH_ACTIONS[0])
    with pytest.raises(ValueError, match="neither is given"):
        model.step(model.start(clip(2)), guidance=1.0)
    late = run(model, model.start(clip(2)), actions_for(model, 1), 1)
    with pytest.raises(ValueError, match="begins after 1 frames that were imagined without it"):
        model.step(late, torch.ones(2), guidance=1.0)
