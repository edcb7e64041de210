"""Causal multi-head self-attention with rotary positions, over new tokens alone or after a cache."""

import importlib.util
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from .cache import KVCache
from .config import TransformerConfig
from .layers import rotate
from .linear import Linear
from .ragged import Reserved, ReservedPart

Rotation: TypeAlias = tuple[Tensor, Tensor]
"""Cosines and sines of the new tokens' positions, each `[s, head_dim / 2]`, or `[b, 1, s, ...]` where rows differ."""
_FEWEST_NUMBERS = 2**14
"""Of one head's keys; where there are fewer, further calls cost more than reading them faster saves."""


class Attention(nn.Module):
    """Lets every token read itself and all tokens before it."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.attention_dropout
        self.qkv = Linear(config.width, 3 * config.width)
        self.out = Linear(config.width, config.width)
        self.attend = sdpa_attention if config.attention == "sdpa" else flash_attention()

    def forward(
        self, x: Float[Tensor, "b s d"], rotation: Rotation, cache: KVCache | Reserved | None = None, layer: int = 0
    ) -> Float[Tensor, "b s d"]:
        """Attends over `x`, or over what `cache` holds, with the last positions reserved for `x`."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key = rotate(qkv[:2], *rotation)
        value = qkv[2]
        if cache is None:
            read = self.attend(query, key, value, self.dropout if self.training else 0.0)
        elif isinstance(cache, KVCache):
            key, value = cache.write(layer, key, value)
            read = self._read(query, key, value, cache.prefix, layer)
        else:
            queries, keys, values = (each.split(cache.sizes) for each in (query, key, value))
            new = zip(cache.parts, queries, keys, values, strict=True)
            read = torch.cat([self._read_part(part, q, k, v, layer) for part, q, k, v in new])
        out: Tensor = self.out(read.transpose(1, 2).flatten(2))
        return out

    def _read_part(self, part: ReservedPart, query: Tensor, key: Tensor, value: Tensor, layer: int) -> Tensor:
        idle = query.shape[-2] - part.count
        if idle:
            query, key, value = (each[..., idle:, :] for each in (query, key, value))
        read = self._read(query, *part.write(layer, key, value), part.prefix, layer)
        return F.pad(read, (0, 0, idle, 0)) if idle else read

    def _read(self, query: Tensor, key: Tensor, value: Tensor, prefix: KVCache | None, layer: int) -> Tensor:
        if prefix is None or not prefix.own:
            return self.attend(query, key, value, 0.0)
        return branched_attention(query, key, value, prefix.keys[layer], prefix.values[layer])


def sdpa_attention(
    query: Float[Tensor, "b h s e"], key: Float[Tensor, "b h t e"], value: Float[Tensor, "b h t e"], dropout: float
) -> Float[Tensor, "b h s e"]:
    """Causal attention of the last `s` of `t` positions, by PyTorch."""
    new, total = query.shape[-2], key.shape[-2]
    if new == total and not dropout and torch.is_autocast_enabled(query.device.type) and query.device.type == "cpu":
        return _written_out_attention(query, key, value)
    if new == 1 and not dropout and _reads_faster(query, key, value):
        return single_query_attention(query, key, value)
    mask = None
    if 1 < new < total:  # `is_causal` would align the first query with the first key, not the last with the last
        mask = torch.ones(new, total, dtype=torch.bool, device=query.device).tril(total - new)
    return F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=new == total and new > 1)


def single_query_attention(
    query: Float[Tensor, "b h 1 e"], key: Float[Tensor, "b h t e"], value: Float[Tensor, "b h t e"]
) -> Float[Tensor, "b h 1 e"]:
    """The same of one position a row, on a CPU and for inference alone.

    PyTorch's fused kernel reads keys and values at little more than a third of what memory gives. Here scores are
    products of a matrix and a vector, and values are summed by the kernel of embedding bags, which is made for that.
    """
    batch, heads, total, width = value.shape
    weights = ((key @ query.transpose(-1, -2)) * width**-0.5).softmax(-2)
    rows = batch * heads
    table = value.as_strided(((rows - 1) * value.stride(1) // width + total, width), (width, 1))
    indices, offsets = _bags(rows, value.stride(1) // width, total)
    out: Tensor = torch.embedding_bag(table, indices, offsets, mode=0, per_sample_weights=weights.flatten())[0]
    return out.view(batch, heads, 1, width)


def _reads_faster(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether to read with `single_query_attention`; the number of rows has no say, so that no row notices another."""
    _, heads, total, width = value.shape
    return (
        query.device.type == "cpu"
        and query.dtype == key.dtype == value.dtype == torch.float32
        and total * width >= _FEWEST_NUMBERS
        and not torch.is_grad_enabled()
        and value.stride() == (heads * value.stride(1), value.stride(1), width, 1)
        and value.stride(1) % width == 0
    )


@lru_cache(maxsize=4)
def _bags(rows: int, stride: int, total: int) -> tuple[Int[Tensor, " n"], Int[Tensor, " rows"]]:
    """Where the values of each row begin and end, in a table of all: the first `total` of every `stride`."""
    firsts = torch.arange(rows)[:, None] * stride
    return (firsts + torch.arange(total)).flatten(), torch.arange(0, rows * total, total)


def branched_attention(
    query: Float[Tensor, "b h s e"],
    key: Float[Tensor, "b h t e"],
    value: Float[Tensor, "b h t e"],
    prefix_key: Float[Tensor, "r h p e"],
    prefix_value: Float[Tensor, "r h p e"],
) -> Float[Tensor, "b h s e"]:
    """Causal attention of branches to a prefix that `b / r` of them share, and to what each holds of its own.

    Queries of all branches of a row meet the prefix in one product, so that it is read once for all of them. Scores
    of prefix and own positions are normalised together without being brought together; for inference alone.
    """
    rows, new, total = prefix_key.shape[0], query.shape[-2], key.shape[-2]

    def fold(per_branch: Tensor) -> Tensor:
        return rearrange(per_branch, "(r n) h s e -> r h (n s) e", r=rows)

    def unfold(per_row: Tensor) -> Tensor:
        return rearrange(per_row, "r h (n s) e -> (r n) h s e", s=new)

    query = query * query.shape[-1] ** -0.5
    shared = (fold(query) @ prefix_key.transpose(-1, -2)).float()
    own = (query @ key.transpose(-1, -2)).float()
    if new > 1:
        own += torch.full((new, total), -torch.inf, device=own.device).triu(total - new + 1)
    best = torch.maximum(unfold(shared.amax(-1, keepdim=True)), own.amax(-1, keepdim=True))
    shared, own = shared.sub_(fold(best)).exp_(), own.sub_(best).exp_()
    weight = unfold(shared.sum(-1, keepdim=True)) + own.sum(-1, keepdim=True)
    read = unfold(shared.to(value.dtype) @ prefix_value) + own.to(value.dtype) @ value
    out: Tensor = (read / weight).to(value.dtype)
    return out


def _written_out_attention(
    query: Float[Tensor, "b h s e"], key: Float[Tensor, "b h s e"], value: Float[Tensor, "b h s e"]
) -> Float[Tensor, "b h s e"]:
    """The same by matrix products: on a CPU, PyTorch's fused kernel is slow in bfloat16 gradients."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    future = torch.full(scores.shape[-2:], -torch.inf, dtype=scores.dtype, device=scores.device).triu(1)
    out: Tensor = (scores + future).softmax(-1) @ value
    return out


def flash_attention() -> Callable[[Tensor, Tensor, Tensor, float], Tensor]:
    """The same by the flash-attn package, or a ValueError where that is not installed."""
    if importlib.util.find_spec("flash_attn") is None:
        raise ValueError(
            "attention='flash' needs the flash-attn package, which is not installed; "
            "install flash-attn on a CUDA machine, or use attention='sdpa'"
        )
    from flash_attn import flash_attn_func

    def attend(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
        inputs = (tensor.transpose(1, 2) for tensor in (query, key, value))
        read: Tensor = flash_attn_func(*inputs, dropout_p=dropout, causal=True)  # aligns the last query and key
        return read.transpose(1, 2)

    return attend
