"""A cache of sequences that differ in length, so that they can be continued together.

    rows       0  1  2  3  4  5
    lengths    9  9  4  9  7  7
    parts     [A  A][B][A][C  C]      a KVCache for each length, of the rows that have it

Linear layers, which cost most, read the new tokens of all rows at once. Attention goes part by part, so that nothing is
padded, nothing masked, and branches of a part share their prefix as ever. Rows of one part stay equally long: what is
done to a part is done to a KVCache, whose rules hold, and bringing caches together copies nothing.

Source: selective batching, Orca (Yu et al., OSDI 2022), section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from .cache import KVCache


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Rows of a batch that are equally long; row i of the cache is the batch's row `rows[i]`."""

    rows: tuple[int, ...]
    cache: KVCache


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RaggedCache:
    """The keys and values of a batch of sequences of any lengths. As a KVCache it is a value that never changes."""

    parts: tuple[Part, ...]
    """Every row is in one of them."""

    @classmethod
    def together(cls, caches: "Sequence[KVCache | RaggedCache]") -> "RaggedCache":
        """The rows of several caches, one after the other; copies nothing."""
        parts: list[Part] = []
        before = 0
        for cache in caches:
            own = cache.parts if isinstance(cache, RaggedCache) else (Part(rows=(*range(cache.batch),), cache=cache),)
            parts += [replace(part, rows=tuple(before + row for row in part.rows)) for part in own]
            before += cache.batch
        return cls(parts=tuple(parts))

    @property
    def batch(self) -> int:
        """Number of sequences."""
        return sum(len(part.rows) for part in self.parts)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Positions held of each row."""
        found = {row: part.cache.length for part in self.parts for row in part.rows}
        return tuple(found[row] for row in range(len(found)))

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers behind this value."""
        return sum(part.cache.nbytes for part in self.parts)

    def merged(self, *, largest: float = float("inf")) -> "RaggedCache":
        """The same with as few parts as there are lengths: equally long ones are copied into one.

        Parts of more than `largest` bytes, and those whose rows share a prefix, stay as they are.
        """
        equal: dict[object, list[Part]] = {}
        for part in self.parts:
            apart = part.cache.prefix is not None or part.cache.nbytes > largest
            key = part if apart else part.cache.length
            equal.setdefault(key, []).append(part)
        if len(equal) == len(self.parts):
            return self
        return RaggedCache(
            parts=tuple(
                parts[0]
                if len(parts) == 1
                else Part(
                    rows=tuple(row for part in parts for row in part.rows),
                    cache=KVCache.together([part.cache for part in parts]),
                )
                for parts in equal.values()
            )
        )

    def uniform(self) -> KVCache | None:
        """The only part, its rows in order; None where there are several."""
        only, *more = self.parts
        if more:
            return None
        order = sorted(range(len(only.rows)), key=only.rows.__getitem__)
        return only.cache if order == [*range(len(order))] else only.cache.select(torch.tensor(order))

    def fork(self, count: int, *, capacity: int | None = None) -> "RaggedCache":
        """Every row `count` times; see `KVCache.fork`."""
        return RaggedCache(
            parts=tuple(
                Part(
                    rows=tuple(row * count + branch for row in part.rows for branch in range(count)),
                    cache=part.cache.fork(count, capacity=capacity),
                )
                for part in self.parts
            )
        )

    def select(self, rows: Int[Tensor, "n"]) -> "RaggedCache":
        """The given rows in that order; a row may be left out or repeated. Parts that stay whole are not copied."""
        wanted = rows.tolist()
        if not wanted:
            raise ValueError("cannot select no rows at all from a cache; give at least one")
        if not 0 <= min(wanted) <= max(wanted) < self.batch:
            bad = min(wanted) if min(wanted) < 0 else max(wanted)
            raise ValueError(f"cannot select row {bad} from a cache of {self.batch}; give rows of 0..{self.batch - 1}")
        parts = []
        for part in self.parts:
            place = {row: index for index, row in enumerate(part.rows)}
            taken = [(new, place[old]) for new, old in enumerate(wanted) if old in place]
            if not taken:
                continue
            places = [old for _, old in taken]
            whole = places == [*range(part.cache.batch)]
            cache = part.cache if whole else part.cache.select(torch.tensor(places))
            parts.append(Part(rows=tuple(new for new, _ in taken), cache=cache))
        return RaggedCache(parts=tuple(parts))

    def reserve(self, count: int, counts: Sequence[int] | None = None) -> "Reserved":
        """This cache with positions more for `count` tokens a row, or for the last `counts[i]` of them in row i.

        Rows of a part must take equally many.
        """
        reserved: list[ReservedPart] = []
        longer: list[Part] = []
        starts: list[int] = []
        for part in self.parts:
            own = count if counts is None else counts[part.rows[0]]
            assert counts is None or all(counts[row] == own for row in part.rows)
            starts += [part.cache.length + own - count] * len(part.rows)
            longer.append(Part(rows=part.rows, cache=part.cache.reserve(own)))
            reserved.append(ReservedPart(longer[-1].cache, own))
        order = [row for part in self.parts for row in part.rows]
        positions = torch.tensor(starts)[:, None] + torch.arange(count)
        return Reserved(
            parts=tuple(reserved),
            sizes=[len(part.rows) for part in self.parts],
            positions=positions.clamp_(min=0),
            order=None if order == [*range(len(order))] else torch.tensor(order, device=self.device),
            whole=RaggedCache(parts=tuple(longer)),
        )

    @property
    def device(self) -> torch.device:
        return self.parts[0].cache.storage.keys.device


class ReservedPart:
    """What a pass does with one part: it writes and reads each layer's keys and values through views made once."""

    __slots__ = ("_keys", "_new_keys", "_new_values", "_values", "count", "prefix")

    def __init__(self, cache: KVCache, count: int) -> None:
        self.prefix, self.count = cache.prefix, count
        self._keys, self._values = cache.keys.unbind(), cache.values.unbind()
        self._new_keys, self._new_values = (
            held.narrow(-2, cache.own - count, count).unbind() for held in (cache.keys, cache.values)
        )

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Fills one layer's reserved positions; gives all own keys and values of that layer."""
        self._new_keys[layer].copy_(keys)
        self._new_values[layer].copy_(values)
        return self._keys[layer], self._values[layer]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reserved:
    """A ragged cache with room for the tokens of one pass, in which the rows of a part lie side by side."""

    parts: tuple[ReservedPart, ...]
    sizes: list[int]
    """Rows of each part."""
    positions: Int[Tensor, "b s"]
    """Where each new token stands in its sequence, in the pass's order; 0 where it is passed over before the first."""
    order: Int[Tensor, " b"] | None
    """Which row of the batch each row of the pass is; None where that is the same."""
    whole: RaggedCache
    """The value that the pass makes."""

    def sorted(self, rows: Tensor) -> Tensor:
        """What belongs to the rows of the batch, in the pass's order."""
        return rows if self.order is None else rows[self.order]

    def restored(self, rows: Tensor) -> Tensor:
        """What belongs to the rows of the pass, in the batch's order."""
        return rows if self.order is None else torch.empty_like(rows).index_copy_(0, self.order, rows)
