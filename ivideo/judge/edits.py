"""Changes to the pushing table's first frame: what policy and model have not seen, in a world that can be asked.

An edit changes what the table looks like or where things are, never how they move, so that the true environment can be
put in the edited state::

    recolour            the disc becomes purple         recolour:square=#e0a000
    add                 a spot is painted somewhere     add:mark=#101010
    move                the goal lies elsewhere         move:disc      move:goal=20x44
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np

from ivideo.simulate.drawing import MARK_RADIUS, Colour, Look
from ivideo.simulate.motion import (
    DISC_RADIUS,
    GOAL_RADIUS,
    PUSHER_RADIUS,
    SQUARE_HALF,
    TABLE,
    TOLERANCE,
    WALL,
    Point,
    TableState,
    inside,
    penetration,
)

T = TypeVar("T")
Kind: TypeAlias = Literal["none", "recolour", "add", "move"]
Placed: TypeAlias = tuple[TableState, Look]
"""Where everything is, and what it looks like."""
COLOURS: dict[str, Colour] = {
    "purple": (140, 40, 170),
    "yellow": (235, 200, 40),
    "green": (20, 140, 60),
    "red": (200, 20, 40),
    "black": (16, 16, 16),
    "white": (250, 250, 250),
}
"""Colours that have a name; others are written #rrggbb."""
_THINGS: dict[Kind, tuple[str, ...]] = {
    "recolour": ("disc", "square", "pusher", "goal"),
    "add": ("mark",),
    "move": ("goal", "disc", "square", "pusher"),
}
"""What each kind of edit may be of; the first is meant where nothing is said."""
_RADII = {"disc": DISC_RADIUS, "square": SQUARE_HALF, "pusher": PUSHER_RADIUS, "goal": GOAL_RADIUS}
_FAR = 16.0
"""Table units that a thing is moved by at least, where no place is given."""
_TRIES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change; kind "none" changes nothing."""

    kind: Kind = "none"
    what: str = ""
    colour: Colour = COLOURS["purple"]
    """Of what is recoloured or added."""
    place: Point | None = None
    """Where to move it, in table units; None draws a place for every scene."""
    text: str = "none"
    """How it was asked for."""

    @staticmethod
    def parse(text: str) -> "Edit":
        """The edit that a text asks for; ValueError, with what is known, for one that makes no sense."""
        kind, _, rest = text.partition(":")
        what, _, value = rest.partition("=")
        if kind == "none" and not rest:
            return Edit()
        if kind not in _THINGS:
            near = get_close_matches(kind, ["none", *_THINGS], n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "expected none, recolour, add or move"
            raise ValueError(f"edit {text!r} is unknown; {hint}")
        things = _THINGS[kind]
        if what and what not in things:
            raise ValueError(f"edit {text!r}: {what!r} cannot be changed so; expected {kind}:{'|'.join(things)}")
        made = Edit(kind=kind, what=what or things[0], text=text)
        if not value:
            return replace(made, colour=COLOURS["yellow"]) if kind == "add" else made
        return replace(made, place=_place(text, value)) if kind == "move" else replace(made, colour=_read(text, value))

    def __call__(self, state: TableState, look: Look, rng: np.random.Generator) -> Placed:
        """The edited state and look; ValueError where a thing does not fit the place it is to be moved to."""
        if self.kind == "none":
            return state, look
        if self.kind == "recolour":
            return state, _painted(look, self.what, self.colour)
        if self.kind == "add":
            return state, replace(look, marks=(*look.marks, (_free(state, rng), self.colour)))
        if self.place is not None:
            return self._moved_to(state, self.place), look
        return _elsewhere(state, self.what, rng), look

    def _moved_to(self, state: TableState, place: Point) -> TableState:
        moved = _put(state, self.what, place)
        if not _fits(moved, self.what):
            raise ValueError(
                f"edit {self.text!r}: in one of the scenes the {self.what} does not fit there; choose another place, "
                f"or move:{self.what} for one that does"
            )
        return moved


def _painted(look: Look, what: str, colour: Colour) -> Look:
    changed: dict[str, Any] = {what: colour}
    return replace(look, **changed)


def _put(state: TableState, what: str, place: Point) -> TableState:
    changed: dict[str, Any] = {what: place}
    return replace(state, **changed)


def _elsewhere(state: TableState, what: str, rng: np.random.Generator) -> TableState:
    """The state with one thing moved away, to a place where it fits."""
    before: Point = getattr(state, what)

    def there(place: Point) -> TableState | None:
        moved = _put(state, what, place)
        return moved if math.dist(place, before) >= _FAR and _fits(moved, what) else None

    return _drawn(rng, there, f"no place for the {what} was found in a scene")


def _fits(state: TableState, what: str) -> bool:
    """Whether nothing overlaps, and the disc is not in the goal."""
    place: Point = getattr(state, what)
    apart = math.dist(state.disc, state.goal) > GOAL_RADIUS + 3.0 or what in ("square", "pusher")
    return apart and inside(place, _RADII[what]) == place and penetration(state) <= TOLERANCE


def _free(state: TableState, rng: np.random.Generator) -> Point:
    """A place for a mark that covers neither an object nor the goal."""

    def there(place: Point) -> Point | None:
        gaps = (math.dist(place, getattr(state, name)) - radius * 1.5 - MARK_RADIUS for name, radius in _RADII.items())
        return place if min(gaps) > 0 else None

    return _drawn(rng, there, "no free place for a mark was found in a scene")


def _drawn(rng: np.random.Generator, accept: Callable[[Point], T | None], problem: str) -> T:
    edge = WALL + PUSHER_RADIUS + 2.0
    for _ in range(_TRIES):
        x, y = rng.uniform(edge, TABLE - edge, size=2)
        found = accept((float(x), float(y)))
        if found is not None:
            return found
    raise ValueError(f"{problem}; give it yourself, or take other scenes")


def _place(text: str, value: str) -> Point:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)", value)
    if found is None:
        raise ValueError(f"edit {text!r}: {value!r} is no place; expected x and y in table units (0 to 64), as 20x44")
    return float(found[1]), float(found[2])


def _read(text: str, value: str) -> Colour:
    found = re.fullmatch(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", value)
    if found is not None:
        return int(found[1], 16), int(found[2], 16), int(found[3], 16)
    if value not in COLOURS:
        raise ValueError(f"edit {text!r}: {value!r} is no colour; expected one of {', '.join(COLOURS)}, or #rrggbb")
    return COLOURS[value]
