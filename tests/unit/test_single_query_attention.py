"""One position a row reads its keys and values as the fused kernel does, only faster."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from transformer import KVCache, attention
from transformer.attention import sdpa_attention, single_query_attention

HEADS, WIDTH = 3, 32


def cached(rows: int, held: int, capacity: int) -> tuple[Tensor, Tensor]:
    """Keys and values as a cache gives them: views of a larger buffer."""
    torch.manual_seed(held)
    empty = KVCache.empty(layers=2, batch=rows, heads=HEADS, head_dim=WIDTH, max_positions=capacity, capacity=capacity)
    cache = empty.append(*torch.randn(2, 2, rows, HEADS, held, WIDTH))
    return cache.keys[1], cache.values[1]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many positions were read the fast way, call by call."""
    found: list[int] = []

    def recorded(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        found.append(key.shape[-2])
        return single_query_attention(query, key, value)

    monkeypatch.setattr(attention, "single_query_attention", recorded)
    return found


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize(("held", "capacity"), [(512, 512), (600, 1000), (700, 701)])
def test_it_equals_the_fused_kernel(rows: int, held: int, capacity: int, calls: list[int]) -> None:
    key, value = cached(rows, held, capacity)
    query = 3 * torch.randn(rows, HEADS, 1, WIDTH)
    with torch.no_grad():
        read = sdpa_attention(query, key, value, 0.0)
        exact = F.scaled_dot_product_attention(query.double(), key.double(), value.double())
        torch.testing.assert_close(read.double(), exact, rtol=0, atol=1e-5)
        for row in range(rows):  # no row notices another
            alone = sdpa_attention(query[row : row + 1], key[row : row + 1], value[row : row + 1], 0.0)
            assert torch.equal(alone[0], read[row])
    assert calls == [held] * (1 + rows)


def test_it_is_left_alone_where_it_does_not_pay_or_cannot_be(calls: list[int]) -> None:
    key, value = cached(2, 600, 600)
    query = torch.randn(2, HEADS, 1, WIDTH)
    sdpa_attention(query, key, value, 0.0)  # with gradients
    with torch.no_grad():
        sdpa_attention(query, key[..., :100, :], value[..., :100, :], 0.0)  # soon read
        sdpa_attention(query.expand(-1, -1, 2, -1), key, value, 0.0)  # two positions
        sdpa_attention(*(each.bfloat16() for each in (query, key, value)), 0.0)
        sdpa_attention(query, key, value.transpose(-1, -2).contiguous().transpose(-1, -2), 0.0)  # in another order
    assert calls == []
