"""A LLaMA-style causal transformer over token embeddings (iVideoGPT paper, arXiv 2405.15223, section 3.1)."""

from collections.abc import Sequence
from typing import overload

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .attention import Attention, Rotation
from .cache import KVCache
from .config import TransformerConfig
from .layers import RMSNorm, RotaryTable, SwiGLU
from .linear import Linear
from .ragged import RaggedCache, Reserved


class Block(nn.Module):
    """Attention, then the feed-forward network, each on normalised states and added to what came in."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config)
        self.ffn_norm = RMSNorm(config.width, config.norm_eps)
        self.ffn = SwiGLU(config.width, config.ffn_width)

    def forward(
        self, x: Float[Tensor, "b s d"], rotation: Rotation, cache: KVCache | Reserved | None = None, layer: int = 0
    ) -> Float[Tensor, "b s d"]:
        x = x + self.attention(self.attention_norm(x), rotation, cache, layer)
        out: Tensor = x + self.ffn(self.ffn_norm(x))
        return out


class Transformer(nn.Module):
    """Turns a sequence of embeddings into states from which the next token is read.

    It takes embeddings and not ids so that a caller can add to them: `model(model.embed(ids))` is the plain use.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.rotary = RotaryTable(config.max_positions, config.head_dim, config.rope_theta)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.head = Linear(config.width, config.vocab_size)
        self.apply(self._initialise)

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.init_std)

    def embed(self, ids: Int[Tensor, "b s"]) -> Float[Tensor, "b s d"]:
        """The embeddings of token ids."""
        out: Tensor = self.embedding(ids)
        return out

    def forward(self, embeddings: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        """Final-norm states of a whole sequence; state i has seen embeddings 0 to i. For training: makes no cache."""
        length, limit = embeddings.shape[1], self.config.max_positions
        if length > limit:
            raise ValueError(
                f"a sequence of {length} positions is over the limit of {limit}; "
                "shorten it, or build the transformer with larger max_positions"
            )
        return self._run(embeddings, self.rotary(0, length), None)

    @overload
    def extend(self, embeddings: Tensor, cache: KVCache) -> tuple[Tensor, KVCache]: ...
    @overload
    def extend(
        self, embeddings: Tensor, cache: KVCache | RaggedCache, counts: Sequence[int] | None = None
    ) -> tuple[Tensor, KVCache | RaggedCache]: ...
    @torch.no_grad()
    def extend(
        self, embeddings: Float[Tensor, "b s d"], cache: KVCache | RaggedCache, counts: Sequence[int] | None = None
    ) -> tuple[Float[Tensor, "b s d"], KVCache | RaggedCache]:
        """Final-norm states of `s` tokens that follow what is cached, and the cache with them added.

        The given cache stays valid and may be extended again. Where rows differ in length, `counts` may say how many
        tokens each row takes: the last ones, while those before them are passed over and their states mean nothing.
        Without gradients and without dropout; ValueError beyond `max_positions`.
        """
        new = embeddings.shape[1]
        if len(embeddings) != cache.batch:
            raise ValueError(f"{len(embeddings)} sequences cannot extend a cache of {cache.batch}; fork or select it")
        if isinstance(cache, RaggedCache):
            reserved = cache.reserve(new, counts)
            hidden = self._run(reserved.sorted(embeddings), self.rotary.at(reserved.positions), reserved)
            return reserved.restored(hidden), reserved.whole
        assert counts is None
        longer = cache.reserve(new)
        return self._run(embeddings, self.rotary(cache.length, longer.length), longer), longer

    def _run(
        self, x: Float[Tensor, "b s d"], rotation: Rotation, cache: KVCache | Reserved | None
    ) -> Float[Tensor, "b s d"]:
        recompute = self.config.recompute and cache is None and torch.is_grad_enabled()
        for layer, block in enumerate(self.blocks):
            x = checkpoint(block, x, rotation, use_reentrant=False) if recompute else block(x, rotation, cache, layer)
        out: Tensor = self.norm(x)
        return out

    def logits(self, hidden: Float[Tensor, "*b d"], start: int = 0, stop: int | None = None) -> Float[Tensor, "*b v"]:
        """Scores of the next token, only of the ids `start` to `stop - 1` where these are given."""
        out: Tensor = self.head(hidden, start, stop)
        return out

    def reduce(self, dtype: torch.dtype) -> None:
        """Hold the weights of all linear layers in bfloat16 or int8; states, attention and cache keep their type."""
        for module in self.modules():
            if isinstance(module, Linear) and dtype == torch.int8:
                module.quantize()
            elif isinstance(module, Linear):
                module.to(dtype).requires_grad_(False)

    def empty_cache(self, batch: int, capacity: int | None = None) -> KVCache:
        """A cache of no positions for `batch` sequences, in the precision the model now computes in.

        Naming the `capacity` that will be needed saves the copies of growing step by step.
        """
        weight = self.norm.weight
        kind = weight.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        return KVCache.empty(
            layers=self.config.layers,
            batch=batch,
            heads=self.config.heads,
            head_dim=self.config.head_dim,
            max_positions=self.config.max_positions,
            capacity=capacity or 0,
            device=weight.device,
            dtype=dtype,
        )
