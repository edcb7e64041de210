"""How the pushing table moves: quasi-statically and without randomness.

Lengths are in *table units*: the table, walls included, is 64 units wide, so that in a 64 pixel frame one unit is one
pixel. x runs to the right and y down, as in an image. An object moves only while it is pushed, by the pusher or by the
other object, and stops at once. Nothing turns.
"""

import math
from dataclasses import dataclass, replace

Point = tuple[float, float]

TABLE = 64.0
WALL = 3.0
PUSHER_RADIUS = 4.0
DISC_RADIUS = 5.5
SQUARE_HALF = 5.0
GOAL_RADIUS = 9.0
MAX_STEP = 3.0
DEFAULT_GOAL: Point = (46.0, 18.0)

_SUBSTEPS = 3
_PASSES = 8
_SLACK = 1e-9
TOLERANCE = 0.02  # shapes may overlap by this much where the table is jammed


@dataclass(frozen=True, slots=True, kw_only=True)
class TableState:
    """All that decides what the table looks like and does next; centres in table units."""

    pusher: Point
    disc: Point
    square: Point
    goal: Point = DEFAULT_GOAL
    step: int = 0


def advance(state: TableState, action: Point) -> TableState:
    """Return the state one step later; components of the action beyond [-1, 1] count as the nearest end."""
    dx = min(max(action[0], -1.0), 1.0) * MAX_STEP / _SUBSTEPS
    dy = min(max(action[1], -1.0), 1.0) * MAX_STEP / _SUBSTEPS
    pusher, disc, square = state.pusher, state.disc, state.square
    for _ in range(_SUBSTEPS):
        moved = _settle(inside((pusher[0] + dx, pusher[1] + dy), PUSHER_RADIUS), disc, square)
        if moved is None:  # jammed: the pusher stays where it was
            break
        pusher, disc, square = moved
    return replace(state, pusher=pusher, disc=disc, square=square, step=state.step + 1)


def penetration(state: TableState) -> float:
    """Return by how many table units shapes overlap each other or the walls, at worst; 0 when they do not."""
    depth = max(
        _overlap(state.pusher, state.disc, state.square),
        *(
            max(WALL + radius - min(centre), max(centre) - (TABLE - WALL - radius))
            for centre, radius in (
                (state.pusher, PUSHER_RADIUS),
                (state.disc, DISC_RADIUS),
                (state.square, SQUARE_HALF),
            )
        ),
    )
    return max(0.0, depth)


def _settle(pusher: Point, disc: Point, square: Point) -> tuple[Point, Point, Point] | None:
    """Push the objects out of the pusher's way and each other's; None when there is no room."""
    reach = PUSHER_RADIUS + DISC_RADIUS
    for _ in range(_PASSES):
        before = disc, square
        by_pusher = _away_from_disc(pusher, disc, reach)
        disc = (disc[0] - by_pusher[0], disc[1] - by_pusher[1])
        on_square = _away_from_square(pusher, square, PUSHER_RADIUS)
        square = (square[0] - on_square[0], square[1] - on_square[1])
        x, y = _away_from_square(disc, square, DISC_RADIUS)
        if not any((*by_pusher, *on_square, x, y)):
            return pusher, disc, square
        disc = inside((disc[0] + 0.5 * x, disc[1] + 0.5 * y), DISC_RADIUS)
        square = inside((square[0] - 0.5 * x, square[1] - 0.5 * y), SQUARE_HALF)
        if (disc, square) == before:  # the walls undid every move
            break
    # The objects ran out of room: now the pusher gives way, sliding along what it cannot move.
    x, y = _away_from_disc(pusher, disc, reach)
    pusher = (pusher[0] + x, pusher[1] + y)
    x, y = _away_from_square(pusher, square, PUSHER_RADIUS)
    pusher = inside((pusher[0] + x, pusher[1] + y), PUSHER_RADIUS)
    return (pusher, disc, square) if _overlap(pusher, disc, square) <= TOLERANCE else None


def _overlap(pusher: Point, disc: Point, square: Point) -> float:
    return max(
        math.hypot(*_away_from_disc(pusher, disc, PUSHER_RADIUS + DISC_RADIUS)),
        math.hypot(*_away_from_square(pusher, square, PUSHER_RADIUS)),
        math.hypot(*_away_from_square(disc, square, DISC_RADIUS)),
    )


def _away_from_disc(point: Point, disc: Point, reach: float) -> Point:
    """Return the shortest way that takes `point` to `reach` from the disc's centre, (0, 0) when it is there already."""
    x, y = point[0] - disc[0], point[1] - disc[1]
    squared = x * x + y * y
    if squared >= (reach - _SLACK) ** 2:
        return 0.0, 0.0
    distance = math.sqrt(squared)
    if distance < _SLACK:
        return reach, 0.0
    factor = (reach - distance) / distance
    return x * factor, y * factor


def _away_from_square(point: Point, square: Point, reach: float) -> Point:
    """Return the shortest way that takes `point` to `reach` from the square's edge, (0, 0) when it is there already."""
    x, y = point[0] - square[0], point[1] - square[1]
    if abs(x) >= SQUARE_HALF + reach or abs(y) >= SQUARE_HALF + reach:
        return 0.0, 0.0
    out_x = x - min(max(x, -SQUARE_HALF), SQUARE_HALF)
    out_y = y - min(max(y, -SQUARE_HALF), SQUARE_HALF)
    if out_x or out_y:
        distance = math.sqrt(out_x * out_x + out_y * out_y)
        if distance >= reach - _SLACK:
            return 0.0, 0.0
        factor = (reach - distance) / distance
        return out_x * factor, out_y * factor
    if abs(x) > abs(y):  # the point is inside: leave through the nearest side
        return math.copysign(SQUARE_HALF + reach - abs(x), x), 0.0
    return 0.0, math.copysign(SQUARE_HALF + reach - abs(y), y)


def inside(point: Point, radius: float) -> Point:
    """Return the nearest point at which something of this radius is inside the walls."""
    low, high = WALL + radius, TABLE - WALL - radius
    return min(max(point[0], low), high), min(max(point[1], low), high)
