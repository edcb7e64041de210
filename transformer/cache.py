"""Keys and values of the positions a transformer has seen, as a value that never changes.

    storage   |0 1 2 3 4 5 . .|      one preallocated buffer, positions 0..5 written, capacity 8
    newest     ^---------^           length 6: appending writes into the buffer, nothing is copied
    older      ^---^                 length 4, after `trim(4)` or from before: appending copies its four first

So a rollout that always continues from its newest state costs no copies, and continuing twice from one state, as a
planner does, is right as well. Branches share what they have in common:

    prefix    |A A A A A A|B B B B B B|      stored once, and read once for all branches of a row
    storage   |a .|a .|a .|b .|b .|b .|      each branch's own positions, which follow

Source of the shared prefix: Hydragen (Juravsky et al., arXiv 2402.05099), section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor


class Storage:
    """A buffer that several cache values look into; `used` is how far the newest of them has written."""

    __slots__ = ("__weakref__", "keys", "used", "values")

    def __init__(self, keys: Tensor, values: Tensor, used: int) -> None:
        self.keys, self.values, self.used = keys, values, used


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KVCache:
    """The attention keys and values of the first `length` positions of a batch of sequences.

    No method changes the value it is called on: each gives a new one, and the old stays valid. No gradients flow
    through a cache.
    """

    storage: Storage
    own: int
    """Positions held for each sequence alone."""
    max_positions: int
    """Positions at which the model that made this cache ends."""
    prefix: "KVCache | None" = None
    """The positions before those, where sequences were forked: row i of it belongs to the sequences `i * forks` to
    `i * forks + forks - 1`. A prefix has no prefix itself."""
    forks: int = 1
    """Sequences for each row of the prefix."""

    @classmethod
    def empty(
        cls,
        *,
        layers: int,
        batch: int,
        heads: int,
        head_dim: int,
        max_positions: int,
        capacity: int = 0,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> "KVCache":
        """A cache of no positions; `capacity` positions are allocated at once, more as they are needed."""
        shape = (layers, batch, heads, min(capacity, max_positions), head_dim)
        keys, values = (torch.empty(shape, device=device, dtype=dtype) for _ in range(2))
        return KVCache(storage=Storage(keys, values, 0), own=0, max_positions=max_positions)

    @staticmethod
    def together(caches: "Sequence[KVCache]") -> "KVCache":
        """The rows of several caches that hold equally many positions, one after the other, in a buffer of their own.

        None may share a prefix.
        """
        first = caches[0]
        assert all(each.own == first.own and each.prefix is None for each in caches)
        largest = max(each.capacity for each in caches)
        joined = first._allocate(sum(each.batch for each in caches), first.own, largest)
        torch.cat([each.keys for each in caches], dim=1, out=joined.keys)
        torch.cat([each.values for each in caches], dim=1, out=joined.values)
        return joined

    @property
    def length(self) -> int:
        """Positions held."""
        return self.own + (0 if self.prefix is None else self.prefix.own)

    @property
    def keys(self) -> Float[Tensor, "layers b heads s e"]:
        """Rotated keys of the own positions; a view, not to be written to."""
        return self.storage.keys[..., : self.own, :]

    @property
    def values(self) -> Float[Tensor, "layers b heads s e"]:
        """Values of the own positions; a view, not to be written to."""
        return self.storage.values[..., : self.own, :]

    @property
    def batch(self) -> int:
        """Number of sequences."""
        return self.storage.keys.shape[1]

    @property
    def capacity(self) -> int:
        """Own positions that the buffer behind this value has room for."""
        return self.storage.keys.shape[-2]

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers behind this value."""
        own = self.storage.keys.nbytes + self.storage.values.nbytes
        return own + (0 if self.prefix is None else self.prefix.nbytes)

    def append(
        self, keys: Float[Tensor, "layers b heads s e"], values: Float[Tensor, "layers b heads s e"]
    ) -> "KVCache":
        """This cache continued by `s` positions; copies nothing where this is the newest value on its buffer.

        ValueError where that is more than `max_positions`.
        """
        longer = self.reserve(keys.shape[-2])
        for layer, (layer_keys, layer_values) in enumerate(zip(keys, values, strict=True)):
            longer.write(layer, layer_keys, layer_values)
        return longer

    def fork(self, count: int, *, capacity: int | None = None) -> "KVCache":
        """Every row `count` times: row i becomes rows `i * count` to `i * count + count - 1`.

        What the rows hold becomes their branches' common prefix and is not copied; what branches hold of their own
        is, when they are forked again. Room for `capacity` positions more is allocated at once; a single branch that
        has it already is the value itself.
        """
        if count < 1:
            raise ValueError(f"cannot fork a cache into {count}; the count must be at least 1")
        wanted = self.capacity if capacity is None else self.own + capacity
        if count == 1:
            enough = min(wanted, self.max_positions - (self.length - self.own)) <= self.capacity
            return self if enough else self._repeat(1, wanted)
        if self.prefix is None:
            fresh = self._allocate(self.batch * count, 0, capacity or 0)
            return replace(fresh, prefix=self, forks=count)
        return self._repeat(count, wanted)

    def select(self, rows: Int[Tensor, "n"], *, capacity: int | None = None) -> "KVCache":
        """The given rows in the given order; a row may be left out or repeated. A prefix of one row is not copied."""
        if len(rows) == 0:
            raise ValueError("cannot select no rows at all from a cache; give at least one")
        if (low := int(rows.min())) < 0 or (high := int(rows.max())) >= self.batch:
            bad = low if low < 0 else high
            raise ValueError(f"cannot select row {bad} from a cache of {self.batch}; give rows of 0..{self.batch - 1}")
        rows = rows.to(self.storage.keys.device)
        copy = self._allocate(len(rows), self.own, self.capacity if capacity is None else capacity)
        for new, old in ((copy.keys, self.keys), (copy.values, self.values)):
            for layer in range(len(new)):  # layer by layer: indexing all at once would double the memory
                new[layer].copy_(old[layer][rows])
        if self.prefix is None:
            return copy
        if self.prefix.batch == 1:
            return replace(copy, prefix=self.prefix, forks=len(rows))
        return replace(copy, prefix=self.prefix.select(rows // self.forks, capacity=self.prefix.own), forks=1)

    def trim(self, length: int) -> "KVCache":
        """Only the first `length` positions; shares this value's buffer."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot trim a cache of {self.length} positions to {length}; give 0 to {self.length}")
        if self.prefix is None:
            return replace(self, own=length)
        shared = min(length, self.prefix.own)
        return replace(self, prefix=self.prefix.trim(shared), own=length - shared)

    def rewind(self, length: int) -> "KVCache":
        """As `trim`, for the one who holds this value alone: the positions beyond `length` are given up for good.

        Appending then writes over them instead of copying. Values that held them must not be read any more, and
        positions of a shared prefix cannot be given up.
        """
        if length < self.length - self.own:
            raise ValueError(f"cannot rewind to {length} positions, into the {self.length - self.own} that are shared")
        shorter = self.trim(length)
        shorter.storage.used = min(shorter.storage.used, shorter.own)
        return shorter

    def reserve(self, count: int) -> "KVCache":
        """This cache with `count` positions more, which the caller still has to `write` in every layer."""
        if self.length + count > self.max_positions:
            raise ValueError(
                f"{self.length} cached positions and {count} more are over the limit of {self.max_positions}; "
                "shorten the sequence, or build the transformer with larger max_positions"
            )
        own, longer = self.own + count, self
        frozen = self.storage.keys.is_inference() and not torch.is_inference_mode_enabled()
        if frozen or own > self.capacity or self.storage.used != self.own:
            longer = self._repeat(1, self.capacity if own <= self.capacity else max(own, 2 * self.capacity))
        longer.storage.used = own
        return replace(longer, own=own)

    def write(
        self, layer: int, keys: Float[Tensor, "b heads s e"], values: Float[Tensor, "b heads s e"]
    ) -> tuple[Float[Tensor, "b heads t e"], Float[Tensor, "b heads t e"]]:
        """Fills one layer's reserved positions, the last `s`; gives all own keys and values of that layer."""
        all_keys, all_values, start = self.keys[layer], self.values[layer], self.own - keys.shape[-2]
        all_keys[..., start:, :] = keys
        all_values[..., start:, :] = values
        return all_keys, all_values

    def _repeat(self, count: int, capacity: int) -> "KVCache":
        """Every row's own positions `count` times in a buffer of their own, behind the same prefix."""
        copy = self._allocate(self.batch * count, self.own, capacity)
        for new, old in ((copy.keys, self.keys), (copy.values, self.values)):
            rearrange(new, "l (b n) h s e -> l b n h s e", n=count).copy_(old.unsqueeze(2))
        return replace(copy, prefix=self.prefix, forks=self.forks * count)

    def _allocate(self, batch: int, own: int, capacity: int) -> "KVCache":
        """A value of `batch` rows without a prefix, whose `own` positions are still to be filled."""
        layers, _, heads, _, head_dim = self.storage.keys.shape
        room = max(own, min(capacity, self.max_positions - (self.length - self.own)))
        keys, values = (self.storage.keys.new_empty(layers, batch, heads, room, head_dim) for _ in range(2))
        return KVCache(storage=Storage(keys, values, own), own=own, max_positions=self.max_positions)
