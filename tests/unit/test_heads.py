"""Heads: what they are trained on, and what they refuse to be trained without."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ivideo.heads import Heads, HeadsConfig, symexp, symlog
from ivideo.losses import masked_mean

EVERY_HEAD = HeadsConfig(reward=True, reward_weight=2.0, termination=True, action_reconstruction=0.5)


@given(st.floats(-1e6, 1e6))
def test_symexp_inverts_symlog(value: float) -> None:
    number = torch.tensor(value, dtype=torch.float64)
    torch.testing.assert_close(symexp(symlog(number)), number)


def test_symlog_is_the_logarithm_on_both_sides() -> None:
    assert symlog(torch.tensor([0.0, torch.e - 1, 1 - torch.e])).tolist() == pytest.approx([0.0, 1.0, -1.0])


def test_losses_are_those_of_the_last_token_and_weighted() -> None:
    torch.manual_seed(0)
    heads = Heads(EVERY_HEAD, width=4, action_dim=2)
    hidden, actions = torch.randn(3, 2, 5, 4), torch.randn(3, 2, 2)
    rewards, terminals = torch.randn(3, 2), torch.tensor([[0.0, 1.0]] * 3)
    losses = heads.losses(hidden, actions=actions, rewards=rewards, terminals=terminals, mask=None)
    last = hidden[:, :, -1]
    torch.testing.assert_close(losses["reward"], 2 * (symlog(heads.rewards(last)) - symlog(rewards)).square().mean())
    likelihood = torch.where(terminals == 1, heads.terminals(last), 1 - heads.terminals(last))
    torch.testing.assert_close(losses["termination"], -likelihood.log().mean())
    taken = actions[:, :, None].expand(-1, -1, 5, -1)
    torch.testing.assert_close(losses["action"], 0.5 * (heads.action(hidden) - taken).square().mean())


def test_masked_frames_do_not_count() -> None:
    mask = torch.tensor([[True, False]])
    assert masked_mean(torch.tensor([[1.0, 100.0]]), mask) == 1.0
    assert masked_mean(torch.tensor([[[1.0, 3.0], [100.0, 100.0]]]), mask) == 2.0


@pytest.mark.parametrize("missing", ["rewards", "terminals", "actions"])
def test_a_head_without_targets_says_what_is_missing(missing: str) -> None:
    heads = Heads(EVERY_HEAD, width=4, action_dim=2)
    given = {"actions": torch.zeros(1, 1, 2), "rewards": torch.zeros(1, 1), "terminals": torch.zeros(1, 1)}
    with pytest.raises(ValueError, match=f"the batch holds no {missing}"):
        heads.losses(torch.zeros(1, 1, 2, 4), **{**given, missing: None}, mask=None)


def test_no_heads_give_nothing() -> None:
    heads = Heads(HeadsConfig(), width=4, action_dim=0)
    assert not heads.read_last_token
    assert heads.rewards(torch.zeros(1, 4)) is None
    with pytest.raises(ValueError, match="needs an action-conditioned model"):
        Heads(HeadsConfig(action_reconstruction=1.0), width=4, action_dim=0)
