"""Rollouts kept as codes are drawn like rollouts kept as frames."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tiny_rollouts import build

from ivideo import Episode, Sampling, WorldModel
from ivideo.embedding import EmbeddingConfig
from rl.imagination import Imagination, ImaginationConfig, Imagined, TokenReplay
from rl.replay import Replay

HOW = {"stack": 3, "nstep": 3, "gamma": 0.9}


@pytest.fixture
def model() -> WorldModel:
    made = build(EmbeddingConfig(action_dim=2, action_on="frame", guide=8), heads=True, full=False)
    with torch.no_grad():
        made.heads.termination.bias.fill_(-100.0)  # none ends by itself
    return made


@pytest.fixture
def rollouts(model: WorldModel) -> list[Imagined]:
    generator = torch.Generator().manual_seed(0)
    real = Replay()
    real.preload(
        [
            Episode(
                frames=torch.randint(256, (length, 3, 32, 32), dtype=torch.uint8, generator=generator),
                actions=torch.rand(length - 1, 2, generator=generator),
                rewards=torch.rand(length - 1, generator=generator),
            )
            for length in (6, 12)
        ]
    )
    config = ImaginationConfig(sampling=Sampling(temperature=1.0))
    act = lambda seen: torch.rand(len(seen), 2, generator=generator)  # noqa: E731
    made = Imagination(model, config, stack=3, seed=0).rollouts(real, act, 20)
    return [shortened(each, 1 + index % 7) if index % 3 == 0 else each for index, each in enumerate(made)]


def shortened(imagined: Imagined, steps: int) -> Imagined:
    """The same, had it ended for good after so many steps."""
    whole, end = imagined.episode, imagined.lead + steps
    return Imagined(
        episode=Episode(
            frames=whole.frames[: end + 1], actions=whole.actions[:end], rewards=whole.rewards[:end], terminal=True
        ),
        lead=imagined.lead,
        log_likelihood=imagined.log_likelihood[:steps],
        codes=imagined.codes[:steps],
    )


def both(model: WorldModel, rollouts: Sequence[Imagined]) -> tuple[TokenReplay, Replay]:
    tokens, frames = TokenReplay(model, max_steps=10, **HOW), Replay(**HOW)
    for each in rollouts:
        tokens.keep(each)
        frames.add(each.episode, lead=each.lead)
    return tokens, frames


def test_a_batch_is_that_of_the_frames(model: WorldModel, rollouts: list[Imagined]) -> None:
    assert {each.episode.terminal for each in rollouts} == {True, False}
    tokens, frames = both(model, rollouts)
    assert len(tokens) == len(frames)
    one, other = (each.sample(200, np.random.default_rng(3)) for each in (tokens, frames))
    assert torch.equal(one.actions, other.actions)
    assert torch.allclose(one.rewards, other.rewards, rtol=1e-5)
    assert torch.allclose(one.discounts, other.discounts)
    assert 0.0 in one.discounts
    for name in ("observations", "next_observations"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert mine.shape == theirs.shape == (200, 9, 32, 32)
        assert (mine.int() - theirs.int()).abs().max() <= 1, name
    assert not one.observations.is_inference()


def test_frames_follow_the_tokenizer_and_given_ones_do_not(model: WorldModel, rollouts: list[Imagined]) -> None:
    tokens, _ = both(model, rollouts)
    before = tokens.sample(60, np.random.default_rng(0))
    with torch.no_grad():
        model.tokenizer.cond_decoder.conv_out.bias.add_(0.1)
    after = tokens.sample(60, np.random.default_rng(0))
    assert not torch.equal(before.next_observations, after.next_observations)
    lead = {each.episode.frames[: each.lead + 1].flatten(0, 1).numpy().tobytes() for each in rollouts}
    first = [row for row, seen in enumerate(before.observations) if seen.numpy().tobytes() in lead]
    assert first
    assert torch.equal(before.observations[first], after.observations[first])


def test_the_oldest_rollouts_go(model: WorldModel, rollouts: list[Imagined]) -> None:
    tokens = TokenReplay(model, max_steps=10, capacity=79, **HOW)  # seven of ten
    for each in rollouts:
        tokens.keep(each)
    assert tokens.written == 20
    assert len(tokens) == sum(len(each.codes) for each in rollouts[-7:])
    actions = {tuple(row) for each in rollouts[-7:] for row in each.episode.actions.tolist()}
    assert {tuple(row) for row in tokens.sample(300, np.random.default_rng(0)).actions.tolist()} <= actions


def test_codes_take_a_fraction_of_the_memory(model: WorldModel, rollouts: list[Imagined]) -> None:
    tokens, frames = both(model, rollouts)
    shown = sum(each.frames.nbytes for each in frames.episodes)
    given = sum(each.episode.frames[: each.lead + 1].nbytes for each in rollouts)
    assert given < tokens.nbytes < given + 0.1 * shown


def test_a_buffer_that_is_saved_goes_on_alike(model: WorldModel, rollouts: list[Imagined]) -> None:
    first = TokenReplay(model, max_steps=10, capacity=150, **HOW)
    for each in rollouts[:12]:
        first.keep(each)
    second = TokenReplay(model, max_steps=10, capacity=150, **HOW)
    second.load({name: value.clone() for name, value in first.tensors().items()}, first.written)
    for each in rollouts[12:]:
        first.keep(each)
        second.keep(each)
    one, other = (each.sample(50, np.random.default_rng(1)) for each in (first, second))
    for name in ("observations", "actions", "rewards", "discounts", "next_observations"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    with pytest.raises(ValueError, match="do not fit"):
        TokenReplay(model, max_steps=5, **HOW).load(first.tensors(), first.written)


def test_what_does_not_fit_is_refused(model: WorldModel, rollouts: list[Imagined]) -> None:
    with pytest.raises(ValueError, match="nothing to draw from"):
        TokenReplay(model, max_steps=10).sample(1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="behind 5 frames"):
        TokenReplay(model, max_steps=10, stack=5).keep(rollouts[0])
    with pytest.raises(ValueError, match="capacity 9"):
        TokenReplay(model, max_steps=10, capacity=9)
