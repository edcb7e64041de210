"""What a reset or a step wants computed, told apart from the computing: so that many can be computed in one pass."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ivideo.simulate.worlds import Group, Seen, Worlds

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Worlds that go on, and worlds that begin."""

    going: tuple[Group, ...] = ()
    actions: Float[Tensor, "b a"] | None = None
    """A row for each world that goes on, group by group."""
    beginning: tuple[int, ...] = ()
    generators: tuple[np.random.Generator, ...] = ()
    """Of each world that begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Where they stand afterwards, and what they show."""

    gone: tuple[Group, Seen] | None
    """All that went on, as one group."""
    begun: tuple[Group, Seen] | None


Turn: TypeAlias = Generator[Ask, Answer, T]
"""A reset or step that is under way: it asks once, changes nothing before it is answered, and then returns."""


def alone(worlds: Worlds, turn: Turn[T]) -> T:
    """Take a turn by itself."""
    ask = next(turn)
    gone = None
    if ask.going:
        assert ask.actions is not None
        gone = worlds.advance(worlds.together(ask.going), ask.actions)
    begun = worlds.begin(ask.beginning, ask.generators) if ask.beginning else None
    return finish(turn, Answer(gone=gone, begun=begun))


def finish(turn: Turn[T], answer: Answer) -> T:
    """What the turn returns once it is answered."""
    try:
        turn.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("a turn asks once")
