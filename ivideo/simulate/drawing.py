"""Pictures of the pushing table, drawn in NumPy with soft edges, so that motion of a part of a pixel shows."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from ivideo.simulate.motion import (
    DISC_RADIUS,
    GOAL_RADIUS,
    PUSHER_RADIUS,
    SQUARE_HALF,
    TABLE,
    WALL,
    Point,
    TableState,
)

Colour = tuple[int, int, int]

# Vermilion and blue stay apart under every common colour blindness; the rest differs in lightness.
TABLE_COLOUR: Colour = (214, 210, 200)
WALL_COLOUR: Colour = (116, 112, 106)
GOAL_COLOUR: Colour = (158, 200, 172)
PUSHER_COLOUR: Colour = (58, 60, 68)
DISC_COLOUR: Colour = (213, 94, 0)
SQUARE_COLOUR: Colour = (0, 114, 178)
MARK_RADIUS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a table looks like where it is not as usual; nothing of it changes how anything moves."""

    pusher: Colour = PUSHER_COLOUR
    disc: Colour = DISC_COLOUR
    square: Colour = SQUARE_COLOUR
    goal: Colour = GOAL_COLOUR
    marks: tuple[tuple[Point, Colour], ...] = ()
    """Round spots painted on the table, no obstacles."""


USUAL = Look()


def render(state: TableState, size: int = 64, look: Look = USUAL) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a state as an RGB frame `[size size 3]`, edges anti-aliased so that sub-pixel motion shows."""
    frame = background(size, state.goal, look).copy()
    scale = size / TABLE
    _paint_disc(frame, state.disc, DISC_RADIUS, look.disc, scale)
    _paint_square(frame, state.square, SQUARE_HALF, look.square, scale)
    _paint_disc(frame, state.pusher, PUSHER_RADIUS, look.pusher, scale)
    return frame


@lru_cache(maxsize=64)
def background(size: int, goal: Point, look: Look = USUAL) -> UInt8[np.ndarray, "h w 3"]:
    """Draw what does not move: the table, its walls, the goal and marks. Cached and therefore read-only."""
    scale = size / TABLE
    inside = _span(TABLE / 2, TABLE / 2 - WALL, np.arange(size), scale)
    frame = np.empty((size, size, 3), np.uint8)
    frame[:] = WALL_COLOUR
    _blend(frame, np.outer(inside, inside), TABLE_COLOUR)
    _paint_disc(frame, goal, GOAL_RADIUS, look.goal, scale)
    for place, colour in look.marks:
        _paint_disc(frame, place, MARK_RADIUS, colour, scale)
    frame.flags.writeable = False
    return frame


def _paint_disc(frame: UInt8[np.ndarray, "h w 3"], centre: Point, radius: float, colour: Colour, scale: float) -> None:
    columns, rows = (_box(value, radius, scale, len(frame)) for value in centre)
    x = np.arange(columns.start, columns.stop) + (0.5 - centre[0] * scale)
    y = np.arange(rows.start, rows.stop) + (0.5 - centre[1] * scale)
    distance = np.sqrt((x * x)[None, :] + (y * y)[:, None])
    _blend(frame[rows, columns], np.clip(radius * scale + 0.5 - distance, 0.0, 1.0), colour)


def _paint_square(frame: UInt8[np.ndarray, "h w 3"], centre: Point, half: float, colour: Colour, scale: float) -> None:
    columns, rows = (_box(value, half, scale, len(frame)) for value in centre)
    x = _span(centre[0], half, np.arange(columns.start, columns.stop), scale)
    y = _span(centre[1], half, np.arange(rows.start, rows.stop), scale)
    _blend(frame[rows, columns], np.outer(y, x), colour)


def _box(centre: float, half: float, scale: float, size: int) -> slice:
    """Return the pixels that a shape can touch along one axis, its soft edge included."""
    low = math.floor((centre - half) * scale - 0.5)
    high = math.ceil((centre + half) * scale + 0.5)
    return slice(max(low, 0), min(high, size))


def _span(centre: float, half: float, pixels: NDArray[np.int64], scale: float) -> NDArray[np.float64]:
    """Return the share of each pixel that an interval covers along one axis."""
    distance = np.abs(pixels + (0.5 - centre * scale))
    share: NDArray[np.float64] = np.clip(half * scale + 0.5 - distance, 0.0, 1.0)
    return share


def _blend(frame: UInt8[np.ndarray, "h w 3"], share: NDArray[np.float64], colour: Colour) -> None:
    """Paint a colour over a frame in place, each pixel by the given share."""
    weight = share[:, :, None]
    frame[:] = (frame + weight * (np.asarray(colour) - frame) + 0.5).astype(np.uint8)
