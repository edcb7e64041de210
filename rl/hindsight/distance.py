"""By how much the way to a goal was shortened: UniSim's reduction of the distance to the goal (RDG)."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ivideo.simulate import TableState

Thing: TypeAlias = Literal["pusher", "disc", "square"]
OBJECTS: tuple[Thing, ...] = ("disc", "square")
EVERYTHING: tuple[Thing, ...] = ("pusher", "disc", "square")
MOVED = 2.0
"""Table units beyond which an object counts as moved."""


def distance(state: TableState, goal: TableState, things: tuple[Thing, ...]) -> float:
    """How far things are from where they are in the goal, in table units, added up."""
    return sum(math.dist(getattr(state, thing), getattr(goal, thing)) for thing in things)


def reduction(start: TableState, end: TableState, goal: TableState, things: tuple[Thing, ...] = OBJECTS) -> float:
    """RDG, `(|s0 - g| - |sT - g|) / |s0 - g|`: 1 is there, 0 as far as before, below 0 further away.

    ValueError where the start is the goal already.
    """
    before = distance(start, goal, things)
    if before <= 0:
        raise ValueError(f"{', '.join(things) or 'nothing'}: already where the goal has them; give another goal")
    return (before - distance(end, goal, things)) / before


def moved(start: TableState, goal: TableState) -> tuple[Thing, ...]:
    """The objects that are elsewhere in the goal."""
    return tuple(thing for thing in OBJECTS if math.dist(getattr(start, thing), getattr(goal, thing)) > MOVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reductions:
    """RDG of one episode."""

    moved: float
    """Of the objects that the goal has moved."""
    objects: float
    """Of disc and square."""
    everything: float
    """Of the pusher as well."""

    @staticmethod
    def of(start: TableState, end: TableState, goal: TableState) -> "Reductions":
        """ValueError where nothing is moved."""
        return Reductions(
            moved=reduction(start, end, goal, moved(start, goal)),
            objects=reduction(start, end, goal, OBJECTS),
            everything=reduction(start, end, goal, EVERYTHING),
        )
