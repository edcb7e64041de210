"""A ragged cache is a value too: rows of any lengths, continued together, are what each is anew."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from transformer import KVCache, RaggedCache, Transformer, TransformerConfig

LONGEST = 9
lengths = st.lists(st.integers(1, LONGEST), min_size=2, max_size=5)


@cache
def model() -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(
        vocab_size=11, width=16, layers=2, heads=2, ffn_width=24, max_positions=4 * LONGEST, init_std=0.3
    )
    return Transformer(config).eval()


def tokens(row: int, count: int, at: int = 0) -> Tensor:
    return torch.randn(1, 40, 16, generator=torch.Generator().manual_seed(row))[:, at : at + count]


def alone(row: int, length: int) -> KVCache:
    return model().extend(tokens(row, length), model().empty_cache(1))[1]


def ragged(given: list[int]) -> RaggedCache:
    return RaggedCache.together([alone(row, length) for row, length in enumerate(given)])


def check(value: RaggedCache, rows: list[int], held: list[int], counts: list[int] | None = None) -> RaggedCache:
    """Extend by the next tokens and compare with one pass over everything."""
    new = 2 if counts is None else max(counts)
    each = [new] * len(rows) if counts is None else counts
    read = torch.stack(
        [
            torch.cat([torch.full((new - count, 16), 7.0), tokens(row, count, length)[0]])
            for row, length, count in zip(rows, held, each, strict=True)
        ]
    )
    hidden, longer = model().extend(read, value, counts)
    for place, (row, length, count) in enumerate(zip(rows, held, each, strict=True)):
        with torch.no_grad():
            whole = model()(tokens(row, length + count))
        torch.testing.assert_close(hidden[place, new - count :], whole[0, length:], atol=2e-5, rtol=1e-4)
    assert longer.lengths == tuple(length + count for length, count in zip(held, each, strict=True))
    assert value.lengths == tuple(held)
    return longer


@settings(deadline=None, max_examples=15)
@given(held=lengths, data=st.data())
def test_rows_take_as_many_tokens_as_they_are_told(held: list[int], data: st.DataObject) -> None:
    rows, value = [*range(len(held))], ragged(held)
    counts = [data.draw(st.integers(0, 3)) for _ in held]
    counts[0] = max(1, counts[0])
    longer = check(value, rows, held, counts)
    check(longer, rows, [length + count for length, count in zip(held, counts, strict=True)])
    check(value, rows, held)  # the old value is still what it was


@settings(deadline=None, max_examples=15)
@given(held=lengths, data=st.data())
def test_selected_forked_and_merged_rows_extend_like_their_sources(held: list[int], data: st.DataObject) -> None:
    value = ragged(held)
    rows = data.draw(st.lists(st.integers(0, len(held) - 1), min_size=1, max_size=6))
    chosen = value.select(torch.tensor(rows))
    merged = chosen.merged()
    assert len(merged.parts) == len({held[row] for row in rows})
    for each in (chosen, merged):
        longer = check(each, rows, [held[row] for row in rows])
        doubled = [row for row in rows for _ in range(2)]
        check(longer.fork(2), doubled, [held[row] + 2 for row in doubled])
    joined = RaggedCache.together([chosen, value])
    check(joined, [*rows, *range(len(held))], [*(held[row] for row in rows), *held])


def test_together_copies_nothing_and_one_length_is_a_plain_cache_again() -> None:
    one, other = alone(0, 4), alone(1, 6)
    both = RaggedCache.together([one, other])
    assert both.nbytes == one.nbytes + other.nbytes
    assert both.uniform() is None
    assert both.select(torch.tensor([1])).uniform() is other
    swapped = RaggedCache.together([alone(0, 4), both]).select(torch.tensor([2, 0, 1])).select(torch.tensor([1, 2]))
    assert swapped.merged().uniform() is not None
    large = RaggedCache.together([alone(0, 4), alone(1, 4)])
    assert large.merged(largest=1) is large
    assert len(large.merged().parts) == 1


def test_branches_share_their_prefix_still() -> None:
    value = ragged([3, 5]).fork(4)
    assert value.nbytes == ragged([3, 5]).nbytes
    assert value.merged() is value
    check(value, [0] * 4 + [1] * 4, [3] * 4 + [5] * 4)


def test_impossible_requests_are_named() -> None:
    value = ragged([3, 5])
    for rows, message in (([0, 2], "row 2 from a cache of 2"), ([-1], "row -1 from"), ([], "no rows at all")):
        with pytest.raises(ValueError, match=message):
            value.select(torch.tensor(rows, dtype=torch.long))
    with pytest.raises(ValueError, match="cannot extend a cache of 2"):
        model().extend(tokens(0, 2), value)
    with pytest.raises(ValueError, match="5 cached positions and 32 more are over the limit of 36"):
        value.reserve(32)
