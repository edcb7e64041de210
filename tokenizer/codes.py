"""The values that pass between the two halves of the tokenizer and to its callers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCodes:
    """Codebook indices of a clip; each index counts from 0 within its own codebook."""

    context: Int[Tensor, "b c n"]
    dynamics: Int[Tensor, "b f m"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysValues:
    """What one cross-attention reads of the context: all context frames side by side on the `l` axis."""

    keys: Float[Tensor, "r heads l e"]
    values: Float[Tensor, "r heads l e"]

    def map(self, function: Callable[[Tensor], Tensor]) -> "KeysValues":
        return KeysValues(keys=function(self.keys), values=function(self.values))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextFeatures:
    """The context half's work, done once and read for every later frame.

    Stands for `batch` rows but stores only `batch / forks` of them: each stored row serves `forks` consecutive rows,
    and the cross-attention folds those into its query axis. Forking therefore costs no memory.

        stored   [ A          B          ]     forks = 3
        rows     [ A  A  A    B  B  B    ]
    """

    stored_codes: Int[Tensor, "r c n"]
    """Context codes of the stored rows."""
    encoder: tuple[KeysValues, ...] | None
    """For the dynamics encoder; absent when the context was built from codes, which suffice to decode."""
    decoder: tuple[KeysValues, ...]
    """For the dynamics decoder."""
    background: Float[Tensor, "r 3 h w"] | None = None
    """Last context frame, present when the tokenizer blends over it."""
    forks: int = 1
    """Rows that each stored row stands for."""

    @property
    def batch(self) -> int:
        """Number of rows this value stands for."""
        return self.stored_codes.shape[0] * self.forks

    @property
    def codes(self) -> Int[Tensor, "b c n"]:
        """Context codes, one row per batch element."""
        return self.stored_codes.repeat_interleave(self.forks, dim=0)

    def fork(self, n: int) -> "ContextFeatures":
        """Each row n times in a row, without copying anything."""
        if n < 1:
            raise ValueError(f"cannot fork a context {n} times; expected at least 1")
        return replace(self, forks=self.forks * n)

    def select(self, rows: Int[Tensor, " k"]) -> "ContextFeatures":
        """The rows at `rows`, in that order; repeats are allowed. Copies unless a single row is stored."""
        if self.stored_codes.shape[0] == 1:
            return replace(self, forks=rows.shape[0])
        stored = rows.to(self.stored_codes.device) // self.forks

        return replace(self.map(lambda tensor: tensor.index_select(0, stored)), forks=1)

    def map(self, function: Callable[[Tensor], Tensor]) -> "ContextFeatures":
        """The same with a function applied to every tensor."""
        return ContextFeatures(
            stored_codes=function(self.stored_codes),
            encoder=None if self.encoder is None else tuple(each.map(function) for each in self.encoder),
            decoder=tuple(each.map(function) for each in self.decoder),
            background=None if self.background is None else function(self.background),
            forks=self.forks,
        )

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor, in the order in which `map` comes to them."""
        found: list[Tensor] = []

        def note(tensor: Tensor) -> Tensor:
            found.append(tensor)
            return tensor

        self.map(note)
        return tuple(found)

    @staticmethod
    def together(contexts: "Sequence[ContextFeatures]") -> "ContextFeatures":
        """The rows of several contexts of one tokenizer, one after the other, each stored once for every row."""
        each = [one.select(torch.arange(one.batch)) if one.stored_codes.shape[0] > 1 else one for one in contexts]

        def cat(parts: Sequence[Tensor]) -> Tensor:
            return torch.cat([part.expand(one.batch, *part.shape[1:]) for part, one in zip(parts, each, strict=True)])

        def pairs(parts: Sequence[tuple[KeysValues, ...]]) -> tuple[KeysValues, ...]:
            return tuple(
                KeysValues(keys=cat([one.keys for one in level]), values=cat([one.values for one in level]))
                for level in zip(*parts, strict=True)
            )

        encoders = [one.encoder for one in each if one.encoder is not None]
        backgrounds = [one.background for one in each if one.background is not None]
        return ContextFeatures(
            stored_codes=cat([one.stored_codes for one in each]),
            encoder=pairs(encoders) if len(encoders) == len(each) else None,
            decoder=pairs([one.decoder for one in each]),
            background=cat(backgrounds) if len(backgrounds) == len(each) else None,
        )
