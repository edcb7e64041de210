"""What a policy is to whoever rolls it out: it is told where it begins, then answers frames with actions."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

Answer: TypeAlias = Callable[[np.ndarray, dict[str, Any], np.random.Generator], Any]
"""A plain callable that answers one frame, uint8 RGB `[h w 3]`, with one action; its second argument holds "step" and
"instruction"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Briefing:
    """What a policy knows before it acts, in several worlds at once."""

    frames: UInt8[Tensor, "b c 3 h w"]
    """What there was to see; the last is the first that it is asked about."""
    seeds: tuple[tuple[int, ...], ...]
    """Of each world: all that the policy draws there comes from it, so that a world is the same in any batch."""
    instructions: tuple[str, ...]


@runtime_checkable
class Actor(Protocol):
    """A policy while it acts: remembers what it likes of what it saw."""

    def __call__(self, frames: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b a"]: ...


@runtime_checkable
class Policy(Protocol):
    """Anything that can begin to act. It sees frames and nothing else, whether they are true or imagined."""

    def begin(self, briefing: Briefing) -> Actor: ...


@dataclass(frozen=True, slots=True)
class OneByOne:
    """A plain callable as a policy: every world has a copy of it to itself, asked frame by frame."""

    answer: Answer

    def begin(self, briefing: Briefing) -> Actor:
        """Copy it for every world."""
        answers = [copy.deepcopy(self.answer) for _ in briefing.seeds]
        generators = [np.random.default_rng([2, *seed]) for seed in briefing.seeds]
        steps = 0

        def act(frames: Tensor) -> Tensor:
            nonlocal steps
            pictures = frames.permute(0, 2, 3, 1).contiguous().numpy()
            given = [
                answer(picture, {"step": steps, "instruction": told}, generator)
                for answer, picture, told, generator in zip(
                    answers, pictures, briefing.instructions, generators, strict=True
                )
            ]
            steps += 1
            return torch.from_numpy(np.stack([np.asarray(each, dtype=np.float32).ravel() for each in given]))

        return act
