"""Stepping through the cache gives what one pass over the whole sequence gives, whatever the options."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import jaxtyping
import pytest
import torch
from tiny import TINY_TRANSFORMER
from tiny_rollouts import GREEDY, OPTIONS, actions_for, build, clip, run

from ivideo import drawing
from ivideo.data import SegmentSampler
from ivideo.embedding import EmbeddingConfig
from ivideo.episode import Batch, Episode
from ivideo.world_model import Precision, WorldModel
from ivideo.world_model_config import WorldModelConfig
from transformer import Sampling, Transformer


@pytest.mark.parametrize(("embedding", "heads"), list(product(OPTIONS, [False, True])))
def test_a_rollout_is_greedy_decoding_of_the_whole_sequence(embedding: EmbeddingConfig, heads: bool) -> None:
    model = build(embedding, heads=heads)
    context, actions = clip(2), actions_for(model, 3)
    state = model.start(context)
    rewards = []
    for index in range(3):
        state, seen = model.step(state, None if actions is None else actions[:, index], decode=False)
        rewards.append(seen.reward)
    codes = replace(
        model.tokenizer.encode(context.repeat(1, 2, 1, 1, 1)), dynamics=state.ids - model.layout.dynamics_ids[0]
    )
    hidden = model(codes, actions)
    frames = model.layout.split_frames(hidden)
    logits = model.logits(frames[:, :, :-1], "dynamics")
    assert torch.equal(logits.argmax(-1), codes.dynamics)
    if heads:
        torch.testing.assert_close(torch.stack(rewards, dim=1), model.heads.rewards(frames[:, :, -1]))


def test_likelihood_is_that_of_the_whole_sequence() -> None:
    model = build(OPTIONS[3])
    context, actions = clip(2), actions_for(model, 2)
    state = model.start(context, seed=5)
    likelihoods = []
    for index in range(2):
        state, seen = model.step(state, actions[:, index], decode=False, sampling=Sampling(top_k=0))
        likelihoods.append(seen.log_likelihood)
    dynamics = state.ids - model.layout.dynamics_ids[0]
    codes = replace(model.tokenizer.encode(context.repeat(1, 2, 1, 1, 1)), dynamics=dynamics)
    frames = model.layout.split_frames(model(codes, actions))[:, :, :-1]
    expected = model.logits(frames, "dynamics").log_softmax(-1).gather(-1, dynamics[..., None]).squeeze(-1).sum(-1)
    torch.testing.assert_close(torch.stack(likelihoods, dim=1), expected, rtol=1e-4, atol=1e-4)


def test_the_old_state_stays_valid() -> None:
    model = build(OPTIONS[3])
    left, right = actions_for(model, 1), -actions_for(model, 1)
    state = run(model, model.start(clip(2)), actions_for(model, 1), 1)
    first = run(model, state, left, 1)
    other = run(model, state, right, 1)
    again = run(model, state, left, 1)
    assert torch.equal(first.ids, again.ids)
    assert not torch.equal(first.ids, other.ids)


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(top_k=5)])
def test_a_fork_steps_as_single_states_do(sampling: Sampling) -> None:
    model = build(OPTIONS[3])
    state = run(model, model.start(clip(2), seed=3), actions_for(model, 1), 1)
    actions = torch.randn(6, 1, 2, generator=torch.Generator().manual_seed(4))
    forked = state.fork(3)
    together = run(model, forked, actions, 1, sampling=sampling)
    for row in range(6):
        single = run(model, forked.select(torch.tensor([row])), actions[row : row + 1], 1, sampling=sampling)
        assert torch.equal(single.ids[0], together.ids[row])
        assert torch.equal(single.seeds[0], together.seeds[row])


def test_a_row_is_the_same_alone_and_in_a_batch() -> None:
    model = build(OPTIONS[3], heads=True)
    context, actions = clip(2, batch=3), actions_for(model, 3, batch=3)
    how = {"sampling": Sampling(top_k=0)}
    together = run(model, model.start(context, seed=7), actions, 3, **how)
    alone = run(model, model.start(context[1], seed=8), actions[1:2], 3, **how)
    assert torch.equal(together.ids[1:2], alone.ids)
    assert torch.equal(model.frames(together)[1:2], model.frames(alone))


def test_seeds_decide_and_greedy_ignores_them() -> None:
    model = build(OPTIONS[1])
    context, actions = clip(2, batch=1)[0], actions_for(model, 4, batch=1)[0]
    warm = Sampling(temperature=2.0, top_k=0)
    one, same, other = (model.predict(context, actions, seed=seed, sampling=warm) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(model.predict(context, actions, seed=1), model.predict(context, actions, seed=2))


def test_decoding_later_gives_the_frames_of_each_step() -> None:
    model = build(OPTIONS[3])
    actions = actions_for(model, 3)
    state, seen = model.start(clip(2)), []
    for index in range(3):
        state, prediction = model.step(state, actions[:, index])
        seen.append(prediction.frame)
    assert torch.equal(model.frames(state), torch.stack(seen, dim=1))
    assert torch.equal(model.frames(state, slice(2, 3))[:, 0], seen[2])


def test_prefix_is_read_once() -> None:
    model = build(OPTIONS[1])
    read = []
    model.transformer.blocks[0].register_forward_pre_hook(lambda _, arguments: read.append(arguments[0].shape[1]))
    run(model, model.start(clip(2)), actions_for(model, 3), 3)
    assert read == [model.layout.context_length, *[1] * 4, *[2, 1, 1, 1] * 2]


@pytest.mark.parametrize("full", [False, True])
def test_loss_is_the_cross_entropy_of_labelled_positions(full: bool) -> None:
    model = build(OPTIONS[1], full=full)
    batch = Batch(frames=clip(5), actions=actions_for(model, 4))
    tokens = model.tokenize(batch)
    assert torch.equal(tokens.actions, batch.actions[:, 1:])
    ids = model.layout.pack(tokens.codes)
    logits = model.transformer.logits(model(tokens.codes, tokens.actions))
    if full:
        labels = model.layout.labels(ids)[:, 1:]
        expected = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels.flatten())
    else:
        start, stop = model.layout.dynamics_ids
        within = model.layout.split_frames(logits)[:, :, :-1, start:stop]
        expected = torch.nn.functional.cross_entropy(within.flatten(0, 2), tokens.codes.dynamics.flatten())
    torch.testing.assert_close(model.loss(batch)[0], expected)


@pytest.mark.parametrize("full", [False, True])
def test_padding_frames_carry_no_loss(full: bool) -> None:
    model = build(OPTIONS[2], heads=True, full=full)
    frames, actions = clip(6), actions_for(model, 5)
    rewards, terminals = torch.randn(2, 5), torch.zeros(2, 5)
    short = Batch(frames=frames[:, :5], actions=actions[:, :4], rewards=rewards[:, :4], terminals=terminals[:, :4])
    mask = torch.tensor([[True] * 5 + [False]] * 2)
    padded = Batch(frames=frames, actions=actions, rewards=rewards, terminals=terminals, mask=mask)
    torch.testing.assert_close(model.loss(padded)[0], model.loss(short)[0])


def test_a_goal_takes_the_place_of_the_first_context_frame() -> None:
    model = build(OPTIONS[1], goal=True)
    episode = Episode(frames=clip(5)[0], actions=actions_for(model, 4)[0])
    batch = SegmentSampler([episode], frames=5, order="goal_first").batch(0, 1)
    tokens = model.tokenize(batch)
    assert torch.equal(batch.frames[0, 0], episode.frames[4])
    assert torch.equal(tokens.actions[0], episode.actions[:3])
    state = model.start(episode.frames[:1], goal=episode.frames[4])
    assert torch.equal(state.context.codes, tokens.codes.context)
    futures = model.predict(episode.frames[:1], episode.actions[:3], goal=episode.frames[4], samples=2)
    assert futures.shape == (2, 4, 3, 32, 32)
    assert torch.equal(futures[0, 0], episode.frames[0])


def test_a_new_model_ignores_actions() -> None:
    torch.manual_seed(0)
    tokenizer = build(OPTIONS[1]).tokenizer
    model = WorldModel(tokenizer, WorldModelConfig(transformer=TINY_TRANSFORMER, embedding=OPTIONS[1])).eval()
    codes = tokenizer.encode(clip(4))
    assert torch.equal(model(codes, torch.randn(2, 2, 2)), model(codes))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frames": 2, "clip": clip(3, 1)[0]}, "3 context frames were given; this model starts from exactly 2"),
        ({"frames": 2, "clip": clip(2, 1)[0, :, :1]}, "expected RGB uint8"),
        ({"frames": 2, "clip": clip(2, 1)[0, ..., :16]}, "this model sees 32x32"),
        ({"actions": torch.zeros(3, 5)}, "an action has 5 values; this model takes 2"),
        ({"actions": torch.full((3, 2), float("nan"))}, "NaN or infinite"),
        ({"actions": torch.zeros(3, 2), "frames": 4}, "4 frames need 4 actions; 3 were given"),
        ({}, "say how many frames"),
        ({"frames": 2, "goal": clip(1, 1)[0, 0]}, "takes no goal"),
    ],
)
def test_bad_requests_are_named(arguments: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside of tests
    model = build(OPTIONS[1])
    with pytest.raises(ValueError, match=message):
        model.predict(**{"clip": clip(2, 1)[0], **arguments})


@pytest.mark.parametrize("foresight", [1, 2, 3, 6])
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=0.3)])
@pytest.mark.parametrize(("embedding", "heads"), list(product(OPTIONS, [False, True])))
def test_a_guess_changes_nothing_but_the_number_of_passes(
    embedding: EmbeddingConfig, heads: bool, sampling: Sampling, foresight: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "_FORESIGHT", foresight)
    model = build(embedding, heads=heads)
    actions, context = actions_for(model, 8, 1), clip(2, 1)
    passes, extend = 0, Transformer.extend

    def counted(self: Transformer, *arguments: torch.Tensor) -> object:
        nonlocal passes
        passes += 1
        return extend(self, *arguments)

    monkeypatch.setattr(Transformer, "extend", counted)
    counts = []
    states = [model.start(context), model.start(context)]
    for index in range(8):
        action = None if actions is None else actions[:, index]
        seen = []
        for which, guess in enumerate((False, True)):
            passes = 0
            states[which], prediction = model.step(states[which], action, sampling=sampling, guess=guess)
            counts.append(passes)
            seen.append(prediction)
        one, other = seen
        assert torch.equal(one.codes, other.codes)
        torch.testing.assert_close(one.log_likelihood, other.log_likelihood, atol=1e-4, rtol=0)
        if heads:
            torch.testing.assert_close(one.reward, other.reward, atol=1e-4, rtol=1e-4)
        assert states[0].cache.length == states[1].cache.length
        torch.testing.assert_close(states[0].cache.keys, states[1].cache.keys, atol=1e-4, rtol=0)
    tokens = model.layout.dynamics_tokens
    assert set(counts[0::2]) == {tokens + (1 if heads else 0)}
    assert max(counts[1::2]) <= tokens + 1
    assert counts[1] == counts[0]  # nothing foretells the first frame


def test_an_old_state_survives_a_guess() -> None:
    model = build(OPTIONS[1])
    actions = actions_for(model, 6, 1)
    assert actions is not None
    states = [model.start(clip(2, 1))]
    for index in range(6):
        states.append(model.step(states[-1], actions[:, index], decode=False, guess=True)[0])
    for index in range(6):  # every state once more, out of turn
        again, _ = model.step(states[5 - index], actions[:, 5 - index], decode=False, guess=True)
        assert torch.equal(again.ids, states[6 - index].ids)


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", torch.bfloat16), ("int8", torch.int8)])
def test_fewer_bits_imagine_nearly_the_same(precision: Precision, dtype: torch.dtype, tmp_path: Path) -> None:
    model = build(OPTIONS[3], heads=True)
    context, actions = clip(2), actions_for(model, 1)
    assert actions is not None
    _, exact = model.step(model.start(context), actions[:, 0])
    reduced = build(OPTIONS[3], heads=True).reduce(precision)
    state, rounded = reduced.step(reduced.start(context), actions[:, 0])
    assert reduced.transformer.head.weight.dtype == dtype
    assert state.cache.keys.dtype == torch.float32
    assert rounded.log_likelihood.dtype == torch.float32
    assert 0 < (rounded.log_likelihood - exact.log_likelihood).abs().max() < 0.5
    assert reduced.reduce("float32").transformer.head.weight.dtype == dtype  # nothing comes back
    if precision == "int8":
        with pytest.raises(ValueError, match="reduced to int8, which has no stored form"):
            reduced.save_pretrained(tmp_path / "model")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match="int4"):
        build(OPTIONS[0]).reduce("int4")  # type: ignore[arg-type]


@pytest.mark.parametrize("guess", [False, True])
@pytest.mark.parametrize("embedding", OPTIONS)
def test_a_reward_can_wait_for_the_next_step(embedding: EmbeddingConfig, guess: bool) -> None:
    model = build(embedding, heads=True)
    actions, context = actions_for(model, 5, 1), clip(2, 1)
    one = other = model.start(context)
    waits = [True, False, True, True, False]
    rewards = []
    for index, wait in enumerate(waits):
        action = None if actions is None else actions[:, index]
        one, at_once = model.step(one, action, guess=guess)
        other, later = model.step(other, action, guess=guess, reward=not wait)
        assert torch.equal(one.ids, other.ids)
        assert (later.reward is None) == (later.terminal is None) == wait
        assert (
            (later.earlier_reward is not None)
            == (later.earlier_terminal is not None)
            == (index > 0 and waits[index - 1])
        )
        rewards.append((at_once, later))
    for index, (at_once, later) in enumerate(rewards):
        given = rewards[index + 1][1].earlier_reward if waits[index] else later.reward
        torch.testing.assert_close(given, at_once.reward, atol=1e-5, rtol=1e-4)
        ends = rewards[index + 1][1].earlier_terminal if waits[index] else later.terminal
        torch.testing.assert_close(ends, at_once.terminal, atol=1e-5, rtol=1e-4)
