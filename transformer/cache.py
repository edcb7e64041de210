"""Keys and values of the positions a transformer has seen, as a value that never changes.

    storage   |0 1 2 3 4 5 . .|      one preallocated buffer, positions 0..5 written, capacity 8
    newest     ^---------^           length 6: appending writes into the buffer, nothing is copied
    older      ^---^                 length 4, after `trim(4)` or from before: appending copies its four first

So a rollout that always continues from its newest state costs no copies, and continuing twice from one state, as a
planner does, is right as well.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor


class _Storage:
    """A buffer that several cache values look into; `used` is how far the newest of them has written."""

    __slots__ = ("keys", "used", "values")

    def __init__(self, keys: Tensor, values: Tensor, used: int) -> None:
        self.keys, self.values, self.used = keys, values, used


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KVCache:
    """The attention keys and values of the first `length` positions of a batch of sequences.

    No method changes the value it is called on: each gives a new one, and the old stays valid. No gradients flow
    through a cache.
    """

    storage: _Storage
    length: int
    """Positions held."""
    max_positions: int
    """Positions at which the model that made this cache ends."""

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
        return KVCache(storage=_Storage(keys, values, 0), length=0, max_positions=max_positions)

    @property
    def keys(self) -> Float[Tensor, "layers b heads s e"]:
        """Rotated keys; a view, not to be written to."""
        return self.storage.keys[..., : self.length, :]

    @property
    def values(self) -> Float[Tensor, "layers b heads s e"]:
        """Values; a view, not to be written to."""
        return self.storage.values[..., : self.length, :]

    @property
    def batch(self) -> int:
        """Number of sequences."""
        return self.storage.keys.shape[1]

    @property
    def capacity(self) -> int:
        """Positions that the buffer behind this value has room for."""
        return self.storage.keys.shape[-2]

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
        """Every row `count` times: row i becomes rows `i * count` to `i * count + count - 1`."""
        if count < 1:
            raise ValueError(f"cannot fork a cache into {count}; the count must be at least 1")
        copy = self._allocate(self.batch * count, capacity)
        for new, old in ((copy.keys, self.keys), (copy.values, self.values)):
            rearrange(new, "l (b n) h s e -> l b n h s e", n=count).copy_(old.unsqueeze(2))
        return copy

    def select(self, rows: Int[Tensor, "n"], *, capacity: int | None = None) -> "KVCache":
        """The given rows in the given order; a row may be left out or repeated."""
        if len(rows) == 0:
            raise ValueError("cannot select no rows at all from a cache; give at least one")
        if (low := int(rows.min())) < 0 or (high := int(rows.max())) >= self.batch:
            bad = low if low < 0 else high
            raise ValueError(f"cannot select row {bad} from a cache of {self.batch}; give rows of 0..{self.batch - 1}")
        rows = rows.to(self.storage.keys.device)
        copy = self._allocate(len(rows), capacity)
        for new, old in ((copy.keys, self.keys), (copy.values, self.values)):
            for layer in range(len(new)):  # layer by layer: indexing all at once would double the memory
                new[layer].copy_(old[layer][rows])
        return copy

    def trim(self, length: int) -> "KVCache":
        """Only the first `length` positions; shares this value's buffer."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot trim a cache of {self.length} positions to {length}; give 0 to {self.length}")
        return KVCache(storage=self.storage, length=length, max_positions=self.max_positions)

    def reserve(self, count: int) -> "KVCache":
        """This cache with `count` positions more, which the caller still has to `write` in every layer."""
        length = self.length + count
        if length > self.max_positions:
            raise ValueError(
                f"{self.length} cached positions and {count} more are over the limit of {self.max_positions}; "
                "shorten the sequence, or build the transformer with larger max_positions"
            )
        longer = self
        frozen = self.storage.keys.is_inference() and not torch.is_inference_mode_enabled()
        if frozen or length > self.capacity or self.storage.used != self.length:
            room = self.capacity if length <= self.capacity else min(max(length, 2 * self.capacity), self.max_positions)
            longer = self.fork(1, capacity=room)
        longer.storage.used = length
        return KVCache(storage=longer.storage, length=length, max_positions=self.max_positions)

    def write(
        self, layer: int, keys: Float[Tensor, "b heads s e"], values: Float[Tensor, "b heads s e"]
    ) -> tuple[Float[Tensor, "b heads t e"], Float[Tensor, "b heads t e"]]:
        """Fills one layer's reserved positions, the last `s`; gives all keys and values of that layer."""
        all_keys, all_values, start = self.keys[layer], self.values[layer], self.length - keys.shape[-2]
        all_keys[..., start:, :] = keys
        all_values[..., start:, :] = values
        return all_keys, all_values

    def _allocate(self, batch: int, capacity: int | None) -> "KVCache":
        """A value of the same length with `batch` rows still to be filled."""
        layers, _, heads, room, head_dim = self.storage.keys.shape
        room = min(max(self.length, room if capacity is None else capacity), self.max_positions)
        keys, values = (self.storage.keys.new_empty(layers, batch, heads, room, head_dim) for _ in range(2))
        return KVCache(
            storage=_Storage(keys, values, self.length), length=self.length, max_positions=self.max_positions
        )
