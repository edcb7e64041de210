"""Rows that have imagined different numbers of frames go on together as each would alone."""

from itertools import product

import pytest
import torch
from tiny_rollouts import OPTIONS, build, clip
from torch import Tensor

from ivideo.embedding import EmbeddingConfig
from ivideo.joining import together
from ivideo.state import Prediction
from ivideo.world_model import WorldModel
from transformer import Sampling

SAMPLING = Sampling(temperature=1.0, top_k=8)
REMEMBERED = 4
"""Frames that the tiny models read at most, so that rows forget within a few steps."""


def made(embedding: EmbeddingConfig, *, heads: bool) -> WorldModel:
    model = build(embedding, heads=heads, remember=REMEMBERED)
    with torch.no_grad():
        for parameter in model.transformer.parameters():
            parameter.mul_(0.5)  # flatter, so that tokens are drawn and not merely found
    return model


class Alone:
    """A rollout that is stepped by itself, and what it imagined."""

    def __init__(self, model: WorldModel, seed: int) -> None:
        self.model, self.seed = model, seed
        self.state = model.start(clip(2, 1, seed=seed)[0], seed=100 * seed)
        self.seen: list[Prediction] = []

    def step(self, action: Tensor | None) -> None:
        self.state, seen = self.model.step(self.state, action, sampling=SAMPLING, guess=False)
        self.seen.append(seen)


def action_of(model: WorldModel, row: int, step: int) -> Tensor | None:
    if not model.action_dim:
        return None
    return torch.randn(model.action_dim, generator=torch.Generator().manual_seed(1000 * row + step))


def stacked(actions: list[Tensor | None]) -> Tensor | None:
    return None if actions[0] is None else torch.stack([action for action in actions if action is not None])


def check(model: WorldModel, joint: Prediction, row: int, alone: Prediction) -> None:
    assert torch.equal(joint.codes[row], alone.codes[0])
    torch.testing.assert_close(joint.log_likelihood[row], alone.log_likelihood[0], atol=1e-4, rtol=0)
    assert (joint.frame[row].int() - alone.frame[0].int()).abs().max() <= 1
    assert joint.earlier_reward is None
    if model.heads.read_last_token:
        torch.testing.assert_close(joint.reward[row], alone.reward[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(joint.terminal[row], alone.terminal[0], atol=1e-4, rtol=1e-4)
    else:
        assert joint.reward is None


@pytest.mark.parametrize(("embedding", "heads"), list(product(OPTIONS, [False, True])))
def test_rows_of_any_ages_are_stepped_as_each_alone(embedding: EmbeddingConfig, heads: bool) -> None:
    model = made(embedding, heads=heads)
    ages = [0, 3, 1, 5, 3]
    alone = [Alone(model, seed=row + 1) for row in range(len(ages))]
    for row, age in enumerate(ages):
        for step in range(age):
            alone[row].step(action_of(model, row, step))
    state = together(model, [each.state for each in alone])
    assert state.ages.tolist() == ages
    for step in range(7):  # every row forgets at a moment of its own
        actions = [action_of(model, row, age + step) for row, age in enumerate(ages)]
        state, seen = model.step(state, stacked(actions), sampling=SAMPLING)
        for row, action in enumerate(actions):
            alone[row].step(action)
            check(model, seen, row, alone[row].seen[-1])
            assert torch.equal(state.ids[row, -1], alone[row].state.ids[0, -1])
            assert state.cache.lengths[row] == alone[row].state.cache.length
    assert torch.equal(state.ids[3], alone[3].state.ids[0])
    assert torch.equal(state.ids[0, -7:], alone[0].state.ids[0])
    assert (state.ids[0, :-7] == -1).all()
