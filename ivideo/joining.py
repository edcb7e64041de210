"""Rollouts that began at different times, brought together to go on in the same passes, and parted again.

    rollout A, 7 frames     | a . . . . . . |
    rollout B, 2 frames     | b . |             together: rows a, b, c of one state, each with its own frames,
    rollout C, 0 frames     | c |               positions, random numbers, and its own moment to forget

A row goes on as it would have alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ivideo.state import RolloutState
from ivideo.window import waits
from tokenizer import ContextFeatures
from transformer import RaggedCache

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel

_MERGED = 2**24
"""Bytes of keys and values from which on copying them costs more than reading them apart from others."""


def together(model: "WorldModel", states: Sequence[RolloutState]) -> RolloutState:
    """The rows of all states, in that order; their keys and values are not copied.

    ValueError for states that are guided, whose rewards still wait, or of which only some are told actions or domains.
    """
    if not states:
        raise ValueError("no rollouts are given to bring together; give at least one")
    for state in states:
        _check(model, state)
    held = max(state.ids.shape[1] for state in states)
    depth = max(len(state.actions) for state in states)
    first = states[0]
    return RolloutState(
        cache=RaggedCache.together([state.cache for state in states]),
        context=ContextFeatures.together([state.context for state in states]),
        ids=torch.cat([F.pad(state.ids, (0, 0, held - state.ids.shape[1], 0), value=-1) for state in states]),
        cells=None if first.cells is None else torch.cat([_given(state.cells) for state in states]),
        unread=None if model.heads.read_last_token else torch.cat([_unread(model, state) for state in states]),
        actions=tuple(_actions(states, age) for age in range(depth, 0, -1)),
        seeds=torch.cat([state.seeds for state in states]),
        domains=_domains(states),
        text=_text(states),
        ages=torch.cat([_ages(state) for state in states]),
        gone=max(state.frames for state in states) - held,
    )


def uniform(model: "WorldModel", state: RolloutState) -> RolloutState:
    """The same state without what rows of different lengths need, where all rows have come to be alike."""
    if state.ages is None or not isinstance(state.cache, RaggedCache):
        return state
    cache = state.cache.merged().uniform()
    if cache is None or int(state.ages.min()) < state.frames:
        return state
    unread = state.unread if waits(model, cache.length) else None
    alike = replace(state, cache=cache, unread=unread, ages=None)
    # Of rows that have imagined equally many frames, some may hold fewer.
    return alike.latest(int((alike.ids >= 0).all(dim=2).all(dim=0).sum()))


def settled(state: RolloutState) -> RolloutState:
    """The same state, its rows of equal length read together; worth it where they stay together for some frames."""
    if not isinstance(state.cache, RaggedCache):
        return state
    cache = state.cache.merged(largest=_MERGED)
    return state if cache is state.cache else replace(state, cache=cache)


def _check(model: "WorldModel", state: RolloutState) -> None:
    if state.untold is not None:
        raise ValueError("a guided rollout cannot go on together with others; step it apart, or without guidance")
    if model.heads.read_last_token and state.unread is not None:
        raise ValueError(
            "the reward of a rollout's latest frame still waits, so it cannot go on together with others; step it with "
            "reward=True"
        )


def _given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


def _unread(model: "WorldModel", state: RolloutState) -> Tensor:
    if state.unread is not None:
        return state.unread
    weight = model.transformer.norm.weight
    return weight.new_zeros(state.batch, 1, len(weight))


def _ages(state: RolloutState) -> Tensor:
    return torch.full((state.batch,), state.frames) if state.ages is None else state.ages


def _actions(states: Sequence[RolloutState], age: int) -> Tensor | None:
    """What led to every row's latest frame but `age - 1`; zero in rows that have not so many frames."""
    given = [state.actions[-age] if len(state.actions) >= age else None for state in states]
    told = [action for action in given if action is not None]
    if not told:
        return None
    if any(action is None and len(state.actions) >= age for action, state in zip(given, states, strict=True)):
        raise ValueError("some of the rollouts were told actions and others were not; step those apart")
    return torch.cat(
        [
            told[0].new_zeros(state.batch, *told[0].shape[1:]) if action is None else action
            for action, state in zip(given, states, strict=True)
        ]
    )


def _domains(states: Sequence[RolloutState]) -> Tensor | None:
    known = [state.domains for state in states if state.domains is not None]
    if len(known) not in (0, len(states)):
        raise ValueError("some of the rollouts say whose actions they take and others do not; give all a domain")
    return torch.cat(known) if known else None


def _text(states: Sequence[RolloutState]) -> Tensor | None:
    """No instruction is one of zeros."""
    known = [state.text for state in states if state.text is not None]
    if not known:
        return None
    return torch.cat(
        [known[0].new_zeros(state.batch, known[0].shape[1]) if state.text is None else state.text for state in states]
    )
