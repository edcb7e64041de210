"""Rollouts in the world model: what the policy sees, where they begin, where they end, and what is kept of them."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_rollouts import build

import rl.imagination.starts as starts_module
from ivideo import Episode, Sampling, WorldModel
from ivideo.embedding import EmbeddingConfig
from rl.imagination import Adaptive, Fixed, Imagination, ImaginationConfig, returns
from rl.imagination.starts import Start
from rl.play import stacked
from rl.replay import Replay

EMBEDDING = EmbeddingConfig(action_dim=2, action_on="frame", guide=8)


def episode(length: int, seed: int = 0, *, terminal: bool = False) -> Episode:
    """Every frame is unlike any other; its first pixel says which it is."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(256, (length, 3, 32, 32), dtype=torch.uint8, generator=generator)
    frames[:, 0, 0, 0] = torch.arange(10 * seed, 10 * seed + length, dtype=torch.uint8)
    return Episode(
        frames=frames,
        actions=torch.rand(length - 1, 2, generator=generator) * 2 - 1,
        rewards=torch.arange(1.0, length) + 100 * seed,
        terminal=terminal,
        name=f"played-{seed}",
    )


@pytest.fixture(scope="module")
def replay() -> Replay:
    made = Replay(stack=3)
    made.preload([episode(7), episode(5, 1)])
    return made


@pytest.fixture
def make() -> Callable[..., WorldModel]:
    def made(ends: float = -100.0, embedding: EmbeddingConfig = EMBEDDING) -> WorldModel:
        model = build(embedding, heads=True, full=False)
        model.config = replace(model.config, sampling=Sampling(temperature=1.0))
        with torch.no_grad():
            model.heads.termination.bias.fill_(ends)
        return model

    return made


class Hand:
    """A policy that remembers what it saw; its actions depend on that alone."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []
        self.done: list[torch.Tensor] = []

    def __call__(self, observations: torch.Tensor) -> torch.Tensor:
        self.seen.append(observations)
        self.done.append(torch.stack([each.float().mean() / 255 - 0.5 for each in observations])[:, None].expand(-1, 2))
        return self.done[-1]


def imagination(model: WorldModel, *, stack: int = 3, seed: int = 0, **how: Any) -> Imagination:
    return Imagination(model, ImaginationConfig(**how), stack=stack, seed=seed)


@pytest.mark.parametrize("stack", [1, 3])
def test_the_policy_sees_of_real_frames_what_it_sees_when_it_acts(make, replay: Replay, stack: int) -> None:
    hand = Hand()
    made = imagination(make(), stack=stack).rollouts(replay, hand, 20)
    by_number = {
        int(each.frames[place, 0, 0, 0]): (each, place) for each in replay.episodes for place in range(len(each))
    }
    assert hand.seen[0].dtype == torch.uint8
    for row, observation in enumerate(hand.seen[0]):
        real, place = by_number[int(observation[-3, 0, 0])]
        assert torch.equal(observation, stacked(list(real.frames[: place + 1]), stack))
        lead, own = made[row].lead, made[row].episode
        # Later ones are stacked alike, of real and then imagined frames, neither of them scaled.
        for step, later in enumerate(hand.seen):
            assert torch.equal(later[row], own.frames[lead + step - stack + 1 : lead + step + 1].flatten(0, 1))
        assert own.frames[lead + 1 :].float().mean() > 2.0


def test_an_episode_holds_what_was_given_done_and_earned(make, replay: Replay) -> None:
    hand, model = Hand(), make()
    made = imagination(model, stack=3).rollouts(replay, hand, 12)
    for row, each in enumerate(made):
        own, lead = each.episode, each.lead
        assert lead == 2
        assert len(own) == lead + 1 + 10
        assert not own.terminal
        assert each.log_likelihood.shape == (10,)
        assert bool((each.log_likelihood < 0).all())
        assert torch.equal(own.actions[lead:], torch.stack([step[row] for step in hand.done]))
    starts = [int(each.episode.frames[each.lead, 0, 0, 0]) for each in made]
    assert len(set(starts)) > 3
    assert not {6, 14} & set(starts)  # nothing was done in the last frames


def test_rewards_are_those_that_arrive_with_the_frames(make, replay: Replay) -> None:
    model, hand = make(), Hand()
    (made,) = imagination(model, sampling=Sampling(temperature=0)).rollouts(replay, hand, 1)
    state = model.start(made.episode.frames[1:3][None])
    for step in range(10):
        state, seen = model.step(state, made.episode.actions[2 + step], sampling=Sampling(temperature=0))
        assert float(made.episode.rewards[2 + step]) == pytest.approx(float(seen.reward[0]), abs=1e-4)
        assert (made.episode.frames[3 + step].int() - seen.frame[0].int()).abs().max() <= 1


def test_before_an_episode_its_first_frame_is_repeated_and_nothing_is_done() -> None:
    real = episode(6)
    start = Start.at(real, 1, frames=4, seed=0)
    assert start.frames[:, 0, 0, 0].tolist() == [0, 0, 0, 1]
    assert torch.equal(start.actions, torch.stack([torch.zeros(2), torch.zeros(2), real.actions[0]]))
    assert start.rewards.tolist() == [0.0, 0.0, 1.0]
    later = Start.at(real, 4, frames=3, seed=0)
    assert torch.equal(later.frames, real.frames[2:5])
    assert torch.equal(later.actions, real.actions[2:4])


def test_a_context_longer_than_the_stack_is_given_as_well(make, replay: Replay) -> None:
    (made,) = imagination(make(), stack=1).rollouts(replay, Hand(), 1)  # the model starts from two frames
    assert made.lead == 1


@pytest.mark.parametrize("ends", [-100.0, 100.0, 0.0])
def test_a_rollout_ends_where_the_model_says_that_it_does(make, replay: Replay, ends: float) -> None:
    made = imagination(make(ends)).rollouts(replay, Hand(), 16)
    lengths = {len(each.episode) - 1 - each.lead for each in made}
    if ends < 0:
        assert lengths == {10}
    elif ends > 0:
        assert lengths == {1}
    else:
        assert len(lengths) > 1
    for each in made:
        steps = len(each.log_likelihood)
        assert each.episode.terminal if ends > 0 or steps < 10 else ends == 0 or not each.episode.terminal
        assert len(each.log_likelihood) == len(each.episode) - 1 - each.lead


def test_rows_that_end_leave_the_others_as_they_were(make, replay: Replay) -> None:
    """Rows that go on beside others that end are those of a model in which none does."""
    mixed = imagination(make(0.0)).rollouts(replay, Hand(), 12)
    whole = imagination(make(-100.0)).rollouts(replay, Hand(), 12)
    for short, long in zip(mixed, whole, strict=True):
        count = len(short.episode)
        assert (short.episode.frames.int() - long.episode.frames[:count].int()).abs().max() <= 1
        assert torch.allclose(short.log_likelihood, long.log_likelihood[: count - 3], atol=1e-4)


def test_an_adaptive_rollout_ends_before_the_first_frame_below_the_bar(make, replay: Replay) -> None:
    horizon = Adaptive(max_steps=8, quantile=0.3)
    cut = imagination(make(), horizon=horizon).rollouts(replay, Hand(), 24)
    whole = imagination(make(), horizon=Fixed(steps=8)).rollouts(replay, Hand(), 24)
    bar = horizon.bar([float(each.log_likelihood[0]) for each in whole])
    lengths = []
    for short, long in zip(cut, whole, strict=True):
        below = [step for step, value in enumerate(long.log_likelihood.tolist()) if value < bar]
        expected = 8 if not below else max(below[0], 1)
        assert len(short.log_likelihood) == expected
        assert len(short.episode) == short.lead + 1 + expected
        lengths.append(expected)
    assert min(lengths) == 1
    assert len(set(lengths)) > 2
    kept = imagination(make(), horizon=replace(horizon, min_steps=8)).rollouts(replay, Hand(), 4)
    assert {len(each.log_likelihood) for each in kept} == {8}


def test_the_bar_is_a_quantile_of_recent_first_frames() -> None:
    assert Adaptive(quantile=0.5, recent=3).bar([-50.0, -3.0, -1.0, -2.0]) == -2.0
    assert Adaptive(quantile=0.0).bar([-3.0, -1.0]) == -3.0
    assert Fixed().bar([]) == -float("inf")


def test_memory_decides_how_many_go_side_by_side_and_nothing_else(
    make, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = imagination(make()).rollouts(replay, Hand(), 10)
    few = imagination(make(), parallel=4).rollouts(replay, Hand(), 10)
    need = starts_module.rollout_bytes(make(), contexts=3, branches=3, frames=10)
    monkeypatch.setattr(starts_module, "available", lambda device: 2 * need)
    hand = Hand()
    tight = imagination(make()).rollouts(replay, hand, 10)
    assert {len(each) for each in hand.seen} == {2}
    for one, two, three in zip(together, few, tight, strict=True):
        assert (one.episode.frames.int() - two.episode.frames.int()).abs().max() <= 1
        assert (one.episode.frames.int() - three.episode.frames.int()).abs().max() <= 1


def test_imagining_goes_on_alike_where_it_was_saved(make, replay: Replay) -> None:
    first = imagination(make(), horizon=Adaptive(max_steps=4))
    first.rollouts(replay, Hand(), 6)
    assert first.frames >= 6
    assert first.seconds > 0
    second = imagination(make(), horizon=Adaptive(max_steps=4), seed=9)
    second.load(json.loads(json.dumps(first.document())))
    for one, two in zip(first.rollouts(replay, Hand(), 6), second.rollouts(replay, Hand(), 6), strict=True):
        assert torch.equal(one.episode.frames, two.episode.frames)
        assert torch.equal(one.episode.rewards, two.episode.rewards)
    assert first.frames == second.frames


def test_a_reward_that_is_no_number_ends_its_rollout(make, replay: Replay) -> None:
    model = make()
    with torch.no_grad():
        model.heads.reward.bias.fill_(1e4)  # symexp of that is infinite
    made = imagination(model)
    assert made.rollouts(replay, Hand(), 5) == []
    assert made.spoilt == 5


def test_a_model_in_training_is_left_in_training(make, replay: Replay) -> None:
    model = make().train()
    model.tokenizer.eval()
    imagination(model).rollouts(replay, Hand(), 1)
    assert model.training
    assert not model.tokenizer.training


def test_what_cannot_be_imagined_is_refused(make, replay: Replay) -> None:
    with pytest.raises(ValueError, match="takes no actions"):
        imagination(make(embedding=EmbeddingConfig()))
    with pytest.raises(ValueError, match="no reward head"):
        imagination(build(EMBEDDING))
    with pytest.raises(ValueError, match="stack is 0"):
        imagination(make(), stack=0)
    with pytest.raises(ValueError, match="none of the 0 episodes"):
        imagination(make()).rollouts(Replay(), Hand(), 1)
    with pytest.raises(ValueError, match="quantile is 1"):
        Adaptive(quantile=1.0)
    with pytest.raises(ValueError, match="max_steps is 2"):
        Adaptive(max_steps=2, min_steps=3)


def test_returns_compare_the_same_actions(make) -> None:
    """A model's own rollout, taken for real, is earned again."""
    model = make()
    greedy = Sampling(temperature=0)
    source = Replay()
    source.preload([episode(7), episode(9, 1)])
    made = imagination(model, sampling=greedy).rollouts(source, Hand(), 8)
    starts = [
        Episode(frames=e.frames[1:], actions=e.actions[1:], rewards=e.rewards[1:])
        for e in (each.episode for each in made)
    ]
    found = returns(model, starts, horizon=10, windows=24, seed=0, sampling=greedy)
    assert torch.allclose(found.real, found.imagined, atol=1e-2)
    assert found.correlation().value == pytest.approx(1.0)
    rewards = {round(float(each.rewards[0]) * 10, 3) for each in starts}
    assert {round(float(value), 3) for value in found.unchanged} <= rewards


def test_returns_that_have_nothing_to_do_with_each_other_do_not_correlate(make) -> None:
    found = returns(make(), [episode(30, 3), episode(40, 5)], horizon=5, windows=40, seed=1, parallel=7)
    assert found.real.shape == found.imagined.shape == (40,)
    interval = found.correlation(resamples=200)
    assert interval.low < 0.5
    assert interval.low <= interval.value <= interval.high
    assert found.baseline(resamples=200).value > 0.95  # these rewards count up
    again = returns(make(), [episode(30, 3), episode(40, 5)], horizon=5, windows=40, seed=1)
    assert torch.equal(found.real, again.real)
    assert torch.allclose(found.imagined, again.imagined, atol=1e-3)
    with pytest.raises(ValueError, match="none of the 1 episodes has the 31 steps"):
        returns(make(), [episode(30)], horizon=30, windows=4, seed=0)
