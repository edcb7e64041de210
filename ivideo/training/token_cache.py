"""Windows that are tokenized once and trained on many times."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from ivideo.data.draws import Order, Stream
from ivideo.data.sampler import Sampler, numbered
from ivideo.tokens import TokenBatch
from ivideo.training.dataset import model_inputs
from ivideo.training.token_store import TokenStore
from ivideo.world_model import WorldModel
from tokenizer import FrameCodes

CHUNK = 16
"""Windows that are tokenized at once."""


class TokenCache:
    """Batches of codes drawn from `size` windows that are tokenized together, in the order that a seed decides.

    Batch i is a function of i alone. With `refresh`, every so many batches the next `size` windows take the place of
    those before.
    """

    def __init__(
        self, model: WorldModel, windows: Sampler, *, size: int, seed: int, refresh: int | None = None
    ) -> None:
        self._model, self._windows, self._size, self._refresh = model, windows, size, refresh
        self._deal = Order(size, seed, Stream.TOKENS)
        self._generation = -1
        self._tokens: TokenBatch | None = None

    def batch(self, index: int, batch_size: int) -> TokenBatch:
        """Return batch number `index`, tokenizing what it needs first."""
        generation = index // self._refresh if self._refresh else 0
        if generation != self._generation or self._tokens is None:
            self._tokens = self._tokenize(generation)
            self._generation = generation
        rows = self._tokens.rows(torch.from_numpy(self._deal(numbered(index, batch_size))))
        return replace(rows, codes=_mapped(rows.codes, Tensor.long))

    def _tokenize(self, generation: int) -> TokenBatch:
        chunks = -(-self._size // CHUNK)
        whole: TokenBatch | None = None
        for chunk in range(chunks):
            batch = model_inputs(self._windows.batch(generation * chunks + chunk, CHUNK), self._model)
            tokens = self._model.tokenize(batch.to(self._model.device))
            tokens = replace(tokens, codes=_mapped(tokens.codes, Tensor.int)).to("cpu")
            if whole is None:
                # One block for all: many small results among the large ones in between would keep the allocator from
                # ever giving those back, which takes a hundred times the memory.
                whole = _mapped(tokens, lambda value: value.new_empty(chunks * CHUNK, *value.shape[1:]))
            _write(tokens, whole, chunk * CHUNK)
        assert whole is not None
        return _mapped(whole, lambda value: value[: self._size])


class StoredTokens:
    """Batches of codes out of a stored folder, as a model reads them, in the order that a seed decides."""

    def __init__(self, model: WorldModel, store: TokenStore, seed: int) -> None:
        self._model, self._store = model, store
        self._deal = Order(len(store), seed, Stream.TOKENS)

    def batch(self, index: int, batch_size: int) -> TokenBatch:
        """Return batch number `index`: a function of the seed and its arguments."""
        model, rows = self._model, self._deal(numbered(index, batch_size))
        tokens = self._store.rows(rows)
        return replace(
            tokens,
            actions=tokens.actions if model.action_dim else None,
            domains=model.embodiments.known(tokens.domains),
            text=model.text_of(self._store.instructions(rows)) if model.config.embedding.text else None,
        )


T = TypeVar("T", TokenBatch, FrameCodes)


def _mapped(tokens: T, change: Callable[[Tensor], Tensor]) -> T:
    """The same with every tensor changed."""
    changed: dict[str, Any] = {}
    for field in fields(tokens):
        value = getattr(tokens, field.name)
        changed[field.name] = _mapped(value, change) if isinstance(value, FrameCodes) else value
        if isinstance(value, Tensor):
            changed[field.name] = change(value)
    return replace(tokens, **changed)


def _write(tokens: TokenBatch | FrameCodes, whole: TokenBatch | FrameCodes, first: int) -> None:
    """Copy some rows into the whole, from row `first` on."""
    for field in fields(tokens):
        part, target = getattr(tokens, field.name), getattr(whole, field.name)
        if isinstance(part, FrameCodes):
            _write(part, target, first)
        elif isinstance(part, Tensor):
            target[first : first + len(part)] = part
