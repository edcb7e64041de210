"""Keys and values at addresses that stay, for work that was recorded once and is replayed on the same memory.

A cache is a value, and every rollout has buffers of its own; a recorded pass reads and writes those it was recorded on.
So a cache is seated first: its positions are copied into the seat, once, and go on being written there. Whoever sat
there before moves out to buffers of its own, so that every cache stays what it was.

    seat       |A A A B B . .|      its own buffers, for a shape of cache
    recorded   reads A, writes B    the same whoever sits
"""

import weakref
from dataclasses import replace

import torch
from torch import Tensor

from .cache import KVCache, Storage


class Seat:
    """Buffers for caches of one batch, one number of forks and one length of shared prefix."""

    def __init__(self, like: KVCache, capacity: int) -> None:
        """Buffers for `capacity` own positions of every sequence, and for a prefix as long as that of `like`."""
        shape = list(like.storage.keys.shape)
        shape[-2] = capacity
        self._keys, self._values = (like.storage.keys.new_empty(shape) for _ in range(2))
        self._max_positions, self._forks = like.max_positions, like.forks
        self._prefix: KVCache | None = None
        if like.prefix is not None:
            keys, values = like.prefix.keys.clone(), like.prefix.values.clone()
            self._prefix = replace(like.prefix, storage=Storage(keys, values, like.prefix.own))
        self._sitting: weakref.ref[Storage] | None = None
        self._read: weakref.ref[Storage] | None = None

    @property
    def capacity(self) -> int:
        """Own positions there is room for."""
        return self._keys.shape[-2]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The buffers."""
        own = (self._keys, self._values)
        return own if self._prefix is None else (*own, self._prefix.keys, self._prefix.values)

    def take(self, cache: KVCache) -> KVCache:
        """The same cache, seated; its newest value copies nothing."""
        self._take_prefix(cache.prefix)
        sitting = None if self._sitting is None else self._sitting()
        if sitting is cache.storage and sitting.used == cache.own:
            return cache
        if sitting is not None:
            sitting.keys, sitting.values = sitting.keys.clone(), sitting.values.clone()
        fresh = Storage(self._keys, self._values, cache.own)
        fresh.keys[..., : cache.own, :] = cache.keys
        fresh.values[..., : cache.own, :] = cache.values
        self._sitting = weakref.ref(fresh)
        return replace(cache, storage=fresh)

    def recorded(self, own: int) -> KVCache:
        """A cache of whoever sits here, to record work on: the first `own` positions, and the prefix."""
        storage = Storage(self._keys, self._values, own)
        return KVCache(
            storage=storage, own=own, max_positions=self._max_positions, prefix=self._prefix, forks=self._forks
        )

    def _take_prefix(self, prefix: KVCache | None) -> None:
        if prefix is None or self._prefix is None or (self._read is not None and self._read() is prefix.storage):
            return
        self._prefix.keys.copy_(prefix.keys)
        self._prefix.values.copy_(prefix.values)
        self._read = weakref.ref(prefix.storage)


def grown(cache: KVCache, count: int) -> KVCache:
    """A seated cache after a replay has written `count` positions more."""
    cache.storage.used = cache.own + count
    return replace(cache, own=cache.own + count)


def seating(cache: KVCache) -> tuple[torch.Size, int, int | None]:
    """What caches have in common that one seat can hold: everything but how many own positions they have."""
    shape = list(cache.storage.keys.shape)
    del shape[-2]
    return torch.Size(shape), cache.forks, None if cache.prefix is None else cache.prefix.own
