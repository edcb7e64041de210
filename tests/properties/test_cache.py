"""A cache is a value: whatever is done with it, it equals computing everything anew."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from transformer import KVCache, Transformer, TransformerConfig

LENGTH, BATCH = 14, 3


@cache
def model() -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(
        vocab_size=11, width=16, layers=2, heads=2, ffn_width=24, max_positions=2 * LENGTH, init_std=0.3
    )
    return Transformer(config).eval()


def embeddings(batch: int = BATCH, length: int = LENGTH, seed: int = 0) -> Tensor:
    return torch.randn(batch, length, 16, generator=torch.Generator().manual_seed(seed))


def prefilled(length: int, capacity: int | None = None) -> KVCache:
    return model().extend(embeddings()[:, :length], model().empty_cache(BATCH, capacity))[1]


@torch.no_grad()
def anew(prefix: Tensor, new: Tensor) -> Tensor:
    """States of `new` after `prefix`, without a cache."""
    states: Tensor = model()(torch.cat([prefix, new], dim=1))[:, prefix.shape[1] :]
    return states


def check(cached: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(cached, expected, atol=2e-5, rtol=1e-4)


cuts = st.lists(st.integers(1, LENGTH - 1), unique=True).map(sorted)
capacities = st.none() | st.integers(1, 3 * LENGTH)
lengths = st.integers(1, LENGTH)


@settings(deadline=None, max_examples=40)
@given(cuts=cuts, capacity=capacities)
def test_cached_states_equal_uncached_for_any_split(cuts: list[int], capacity: int | None) -> None:
    inputs, value = embeddings(), model().empty_cache(BATCH, capacity)
    states = []
    for start, stop in zip([0, *cuts], [*cuts, LENGTH], strict=True):
        hidden, value = model().extend(inputs[:, start:stop], value)
        states.append(hidden)
    check(torch.cat(states, dim=1), anew(inputs[:, :0], inputs))
    assert value.length == LENGTH


@settings(deadline=None, max_examples=25)
@given(held=lengths, new=st.lists(st.integers(1, 4), min_size=2, max_size=4), capacity=capacities)
def test_extending_one_value_several_times_gives_independent_futures(
    held: int, new: list[int], capacity: int | None
) -> None:
    value, inputs = prefilled(held, capacity), embeddings()[:, :held]
    keys, futures = value.keys.clone(), []
    for seed, length in enumerate(new, start=1):
        tokens = embeddings(length=length, seed=seed)
        hidden, longer = model().extend(tokens, value)
        check(hidden, anew(inputs, tokens))
        futures.append((tokens, longer))
    assert torch.equal(value.keys, keys)
    for tokens, longer in futures:  # each is still what it was, now that the others exist
        final = embeddings(length=2, seed=9)
        check(model().extend(final, longer)[0], anew(torch.cat([inputs, tokens], dim=1), final))


@settings(deadline=None, max_examples=25)
@given(held=lengths, count=st.integers(1, 4), new=st.integers(1, 4), capacity=capacities)
def test_a_fork_extends_like_single_rows(held: int, count: int, new: int, capacity: int | None) -> None:
    value = prefilled(held).fork(count, capacity=capacity)
    tokens = embeddings(BATCH * count, new, seed=1)
    hidden, longer = model().extend(tokens, value)
    for row in range(BATCH * count):
        source = slice(row // count, row // count + 1)
        check(hidden[row : row + 1], anew(embeddings()[source, :held], tokens[row : row + 1]))
    assert (value.batch, value.length, longer.length) == (BATCH * count, held, held + new)


@settings(deadline=None, max_examples=25)
@given(held=lengths, rows=st.lists(st.integers(0, BATCH - 1), min_size=1, max_size=6), capacity=capacities)
def test_selected_rows_extend_like_their_sources(held: int, rows: list[int], capacity: int | None) -> None:
    tokens = embeddings(len(rows), 3, seed=1)
    value = prefilled(held).select(torch.tensor(rows), capacity=capacity)
    check(model().extend(tokens, value)[0], anew(embeddings()[rows, :held], tokens))


@settings(deadline=None, max_examples=25)
@given(held=lengths, kept=st.integers(0, LENGTH), new=st.integers(1, 4), capacity=capacities)
def test_a_trimmed_cache_extends_from_where_it_ends(held: int, kept: int, new: int, capacity: int | None) -> None:
    kept = min(kept, held)
    value, tokens = prefilled(held, capacity), embeddings(length=new, seed=1)
    check(model().extend(tokens, value.trim(kept))[0], anew(embeddings()[:, :kept], tokens))
    later = embeddings(length=1, seed=2)
    check(model().extend(later, value)[0], anew(embeddings()[:, :held], later))  # the untrimmed value is unharmed


@settings(deadline=None, max_examples=25)
@given(
    held=lengths,
    counts=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kept=st.integers(0, LENGTH + 3),
    data=st.data(),
)
def test_branches_of_branches_are_forked_selected_and_trimmed_like_single_rows(
    held: int, counts: tuple[int, int], kept: int, data: st.DataObject
) -> None:
    value, inputs = prefilled(held), embeddings()[:, :held]
    for seed, count in enumerate(counts, start=1):
        value, inputs = value.fork(count), inputs.repeat_interleave(count, dim=0)
        tokens = embeddings(len(inputs), 2, seed=seed)
        hidden, value = model().extend(tokens, value)
        check(hidden, anew(inputs, tokens))
        inputs = torch.cat([inputs, tokens], dim=1)
    rows = torch.tensor(data.draw(st.lists(st.integers(0, len(inputs) - 1), min_size=1, max_size=6)))
    kept = min(kept, value.length)
    value, inputs = value.select(rows).trim(kept), inputs[rows, :kept]
    tokens = embeddings(len(rows), 3, seed=9)
    check(model().extend(tokens, value)[0], anew(inputs, tokens))


def test_branches_share_what_was_there_when_they_forked() -> None:
    value = prefilled(10)
    branches = value.fork(5, capacity=3)
    assert (branches.length, branches.own, branches.batch) == (10, 0, 5 * BATCH)
    assert branches.nbytes == value.nbytes + 5 * value.nbytes * 3 // 10
    assert branches.fork(2).prefix is branches.prefix
    one = value.select(torch.tensor([1])).fork(4)
    assert one.select(torch.tensor([2, 2, 0])).prefix is one.prefix
    assert value.fork(1) is value


def test_a_fork_has_the_room_that_is_asked_for() -> None:
    value = prefilled(4)
    assert value.capacity == 4
    for count in (1, 2):
        for branches in (value.fork(count, capacity=6), value.fork(2).fork(count, capacity=6)):
            tokens = embeddings(branches.batch, 3, seed=1)
            _, longer = model().extend(tokens, branches)
            _, longer = model().extend(tokens, longer)
            assert longer.storage is branches.storage  # it did not grow
            assert branches.fork(1, capacity=6) is branches
            assert branches.fork(1, capacity=1000).capacity <= value.max_positions


def test_appending_to_the_newest_value_copies_nothing() -> None:
    value = prefilled(4, capacity=10)
    assert value.capacity == 10
    longer = model().extend(embeddings(length=6, seed=1), value)[1]
    assert longer.keys.data_ptr() == value.keys.data_ptr()
    assert model().extend(embeddings(length=1), longer)[1].keys.data_ptr() != value.keys.data_ptr()
    assert model().extend(embeddings(length=1), value)[1].keys.data_ptr() != value.keys.data_ptr()


def test_growth_doubles_up_to_the_limit() -> None:
    value = prefilled(5)
    capacities = []
    while value.length < 2 * LENGTH:
        value = model().extend(embeddings(length=1), value)[1]
        capacities.append(value.capacity)
    assert sorted(set(capacities)) == [10, 20, 28]


def test_append_takes_the_keys_and_values_of_all_layers() -> None:
    source, empty = prefilled(6), model().empty_cache(BATCH)
    copy = empty.append(source.keys[..., :4, :], source.values[..., :4, :])
    copy = copy.append(source.keys[..., 4:, :], source.values[..., 4:, :])
    assert torch.equal(copy.keys, source.keys)
    assert torch.equal(copy.values, source.values)
    assert empty.length == 0


def test_a_cache_from_inference_mode_can_be_extended_outside_of_it() -> None:
    with torch.inference_mode():
        value = prefilled(4, capacity=10)
    tokens = embeddings(length=2, seed=1)
    check(model().extend(tokens, value)[0], anew(embeddings()[:, :4], tokens))


def test_a_cache_holds_no_graph() -> None:
    inputs = embeddings().requires_grad_()
    hidden, value = model().extend(inputs, model().empty_cache(BATCH))
    assert not any(tensor.requires_grad for tensor in (hidden, value.keys, value.values))


def test_extending_by_nothing_changes_nothing() -> None:
    value = prefilled(4)
    hidden, same = model().extend(embeddings()[:, :0], value)
    assert hidden.shape == (BATCH, 0, 16)
    assert torch.equal(same.keys, value.keys)


def test_impossible_requests_are_named() -> None:
    value = prefilled(4)
    with pytest.raises(ValueError, match="4 positions to 5"):
        value.trim(5)
    with pytest.raises(ValueError, match="fork a cache into 0"):
        value.fork(0)
    for rows, message in (([0, 3], "row 3 from a cache of 3"), ([0, -1], "row -1 from"), ([], "no rows at all")):
        with pytest.raises(ValueError, match=message):
            value.select(torch.tensor(rows, dtype=torch.long))
    with pytest.raises(ValueError, match="4 cached positions and 25 more are over the limit of 28"):
        value.reserve(25)
