"""Orders are permutations, whatever their size, and draws are a function of their key alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ivideo.data.draws import Order, Stream, hashed, uniform


@given(size=st.integers(1, 3000), seed=st.integers(-(2**70), 2**70), epoch=st.integers(0, 2**40 // 3000))
def test_every_epoch_is_a_permutation(size: int, seed: int, epoch: int) -> None:
    dealt = Order(size, seed)(np.arange(epoch * size, (epoch + 1) * size))
    assert sorted(dealt.tolist()) == list(range(size))


def test_places_are_dealt_one_at_a_time_as_together() -> None:
    order = Order(1000, 5)
    together = order(np.arange(900, 1100))
    assert [int(order(np.array([place]))[0]) for place in range(900, 1100)] == together.tolist()


def test_a_hundred_million_numbers_need_no_memory_and_do_not_repeat() -> None:
    order = Order(10**8, 1)
    dealt = order(np.arange(10**8 - 200_000, 10**8))
    assert len(np.unique(dealt)) == 200_000
    assert 0 <= dealt.min() < 10**4
    assert 10**8 - 10**4 < dealt.max() < 10**8
    assert abs(dealt.mean() / 10**8 - 0.5) < 0.01
    # Neighbours land anywhere: the distance between two of them is that of independent numbers, a third of the range.
    assert abs(np.abs(np.diff(dealt)).mean() / 10**8 - 1 / 3) < 0.01


def test_small_orders_come_in_all_arrangements() -> None:
    order = Order(4, 0)
    seen = [tuple(order(np.arange(4 * epoch, 4 * epoch + 4)).tolist()) for epoch in range(2400)]
    counts = [seen.count(arrangement) for arrangement in set(seen)]
    assert len(counts) == 24
    assert min(counts) > 50, "a hundred each"


def test_seeds_epochs_and_purposes_have_orders_of_their_own() -> None:
    orders = [
        tuple(Order(50, seed, stream)(np.arange(50 * epoch, 50 * epoch + 50)).tolist())
        for seed in (0, 1, 2**63)
        for stream in Stream
        for epoch in (0, 1)
    ]
    assert len(set(orders)) == len(orders)


def test_uniform_numbers_are_uniform_and_independent() -> None:
    draws = uniform(np.arange(20_000), 6, 3, Stream.FRAMES)
    assert draws.dtype == torch.float32
    assert 0 <= draws.min() < 0.001
    assert 0.999 < draws.max() < 1
    assert torch.allclose(draws.mean(0), torch.tensor(0.5), atol=0.01)
    assert (torch.corrcoef(draws.T) - torch.eye(6)).abs().max() < 0.03
    assert torch.equal(uniform(np.array([7, 5]), 6, 3, Stream.FRAMES), draws[[7, 5]])


def test_hashes_do_not_collide_on_neighbouring_numbers() -> None:
    first, second = np.meshgrid(np.arange(300), np.arange(300))
    assert len(np.unique(hashed(1, first, second))) == 300 * 300


def test_an_order_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="size is 0"):
        Order(0)
