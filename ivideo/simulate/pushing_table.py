"""A table seen from above on which a round pusher moves a disc and a square: a world small enough to learn in minutes.

Lengths are in *table units*: the table, walls included, is 64 units wide, so at the default frame size one unit is one
pixel. x runs to the right and y down, as in an image.

    +--------------------------+
    | walls, 3 units           |     pusher   round, moved by the action
    |   +------------------+   |     disc     round, has to reach the goal
    |   |   o    ( )       |   |     square   in the way; never turns
    |   |       []    (goal)   |     goal     a painted circle, no obstacle
    |   +------------------+   |
    +--------------------------+

Motion is quasi-static: an object moves only while it is pushed, by the pusher or by the other object, and stops at once.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import gymnasium
import numpy as np
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray

Point = tuple[float, float]
Colour = tuple[int, int, int]

TABLE = 64.0
WALL = 3.0
PUSHER_RADIUS = 4.0
DISC_RADIUS = 5.5
SQUARE_HALF = 5.0
GOAL_RADIUS = 9.0
GOAL_TOLERANCE = GOAL_RADIUS - DISC_RADIUS
MAX_STEP = 3.0
DEFAULT_GOAL: Point = (46.0, 18.0)

# Told apart by hue and by lightness under the common colour blindnesses.
TABLE_COLOUR: Colour = (214, 210, 200)
WALL_COLOUR: Colour = (116, 112, 106)
GOAL_COLOUR: Colour = (158, 200, 172)
PUSHER_COLOUR: Colour = (58, 60, 68)
DISC_COLOUR: Colour = (213, 94, 0)
SQUARE_COLOUR: Colour = (0, 114, 178)

_SUBSTEPS = 3
_PASSES = 8
_SLACK = 1e-9
_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class TableState:
    """All that decides what the table looks like and does next; centres in table units."""

    pusher: Point
    disc: Point
    square: Point
    goal: Point = DEFAULT_GOAL
    step: int = 0


class PushingTable(gymnasium.Env[UInt8[np.ndarray, "h w 3"], Float32[np.ndarray, "2"]]):
    """Pushing the disc into the painted goal ends the episode; until then every step costs up to 1.

    Observation: the frame, uint8 RGB `[size size 3]`. Action: the pusher's displacement along x and y, each in [-1, 1]
    and worth up to 3 table units (walls and jammed objects stop the pusher).

    Reward, in [-1, 0], belongs to the state arrived in: `-(0.75 * distance(disc, goal) + 0.25 * gap) / diagonal`, where
    the gap is the clear space between pusher and disc and the diagonal is that of the area inside the walls. It grows
    as the disc nears the goal and as the pusher nears the disc.

    Terminated once the disc lies wholly inside the goal, truncated after `horizon` steps. `info` holds `state`,
    `success` and `distance` (disc to goal, table units).

    `reset(options={"state": state})` restores a `TableState` exactly; `state()` returns the current one. The motion has
    no randomness: equal states and actions give equal futures.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  (gymnasium's spelling)
    action_size: ClassVar[int] = 2

    def __init__(
        self,
        size: int = 64,
        horizon: int = 60,
        goal: Point | None = DEFAULT_GOAL,
        render_mode: str | None = None,
    ) -> None:
        """Prepare a table.

        Args:
            size: side of the frames in pixels, 32 to 256.
            horizon: steps after which an episode is truncated.
            goal: centre of the goal in table units; None draws another one for every episode.
            render_mode: None or "rgb_array".
        """
        if not 32 <= size <= 256:
            raise ValueError(f"size is {size}; the table is drawn at 32 to 256 pixels a side: choose one of those")
        if horizon < 1:
            raise ValueError(f"horizon is {horizon}; an episode needs at least one step: give a positive number")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f'render_mode is {render_mode!r}; the table knows None and "rgb_array"')
        self.size = size
        self.horizon = horizon
        self.goal = goal
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._state: TableState | None = None

    def state(self) -> TableState:
        """Return the current state; passing it to `reset(options={"state": ...})` comes back to it."""
        if self._state is None:
            raise ValueError("the table has no state yet: call reset() first")
        return self._state

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[UInt8[np.ndarray, "h w 3"], dict[str, Any]]:
        """Start an episode from a random state, or from `options["state"]`."""
        super().reset(seed=seed)
        unknown = set(options or {}) - {"state"}
        if unknown:
            raise ValueError(f'reset got options {sorted(unknown)}; the table knows "state" alone: drop the others')
        state = (options or {}).get("state")
        if state is None:
            state = random_state(self.np_random, self.goal)
        elif not isinstance(state, TableState):
            raise ValueError(f'options["state"] is a {type(state).__name__}; expected a TableState, as state() returns')
        else:
            _check(state)
        self._state = state
        return render(state, self.size), _info(state)

    def step(
        self, action: Float32[np.ndarray, "2"]
    ) -> tuple[UInt8[np.ndarray, "h w 3"], float, bool, bool, dict[str, Any]]:
        """Move the pusher and return the frame, reward, terminated, truncated and info of the state arrived in."""
        x, y = float(action[0]), float(action[1])
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError(f"action is ({x}, {y}); expected two finite numbers in [-1, 1]")
        state = advance(self.state(), (x, y))
        self._state = state
        terminated = in_goal(state)
        return render(state, self.size), reward(state), terminated, state.step >= self.horizon, _info(state)

    def render(self) -> UInt8[np.ndarray, "h w 3"] | None:  # type: ignore[override]
        """Return the current frame when the render mode is "rgb_array", else None."""
        return render(self.state(), self.size) if self.render_mode == "rgb_array" else None


def reward(state: TableState) -> float:
    """Return what arriving in this state pays, in [-1, 0]; see `PushingTable`."""
    gap = max(0.0, math.dist(state.pusher, state.disc) - PUSHER_RADIUS - DISC_RADIUS)
    diagonal = math.sqrt(2.0) * (TABLE - 2 * WALL)
    return -(0.75 * math.dist(state.disc, state.goal) + 0.25 * gap) / diagonal


def in_goal(state: TableState) -> bool:
    """Say whether the disc lies wholly inside the goal."""
    return math.dist(state.disc, state.goal) <= GOAL_TOLERANCE


def random_state(rng: np.random.Generator, goal: Point | None = DEFAULT_GOAL) -> TableState:
    """Draw a first state: nothing touches, the objects can be reached from every side, the disc is not in the goal."""
    if goal is None:
        edge = WALL + GOAL_RADIUS + 1.0
        goal = _uniform(rng, edge)
    edge = WALL + 2 * PUSHER_RADIUS + 1.0 + DISC_RADIUS
    while True:
        disc, square = _uniform(rng, edge), _uniform(rng, edge)
        pusher = _uniform(rng, WALL + PUSHER_RADIUS)
        if (
            math.dist(disc, square) > DISC_RADIUS + 1.5 * SQUARE_HALF + 2.0
            and math.dist(disc, pusher) > DISC_RADIUS + PUSHER_RADIUS + 1.0
            and math.dist(square, pusher) > 1.5 * SQUARE_HALF + PUSHER_RADIUS + 1.0
            and math.dist(disc, goal) > GOAL_RADIUS + 3.0
        ):
            return TableState(pusher=pusher, disc=disc, square=square, goal=goal)


def advance(state: TableState, action: Point) -> TableState:
    """Return the state one step later; components of the action beyond [-1, 1] count as the nearest end."""
    dx = min(max(action[0], -1.0), 1.0) * MAX_STEP / _SUBSTEPS
    dy = min(max(action[1], -1.0), 1.0) * MAX_STEP / _SUBSTEPS
    pusher, disc, square = state.pusher, state.disc, state.square
    for _ in range(_SUBSTEPS):
        moved = _settle(_inside((pusher[0] + dx, pusher[1] + dy), PUSHER_RADIUS), disc, square)
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


def render(state: TableState, size: int = 64) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a state as an RGB frame `[size size 3]`, edges anti-aliased so that sub-pixel motion shows."""
    frame = background(size, state.goal).copy()
    scale = size / TABLE
    _paint_disc(frame, state.disc, DISC_RADIUS, DISC_COLOUR, scale)
    _paint_square(frame, state.square, SQUARE_HALF, SQUARE_COLOUR, scale)
    _paint_disc(frame, state.pusher, PUSHER_RADIUS, PUSHER_COLOUR, scale)
    return frame


@lru_cache(maxsize=64)
def background(size: int, goal: Point) -> UInt8[np.ndarray, "h w 3"]:
    """Draw what does not move: the table, its walls and the goal. Cached and therefore read-only."""
    scale = size / TABLE
    inside = _span(TABLE / 2, TABLE / 2 - WALL, np.arange(size), scale)
    frame = np.empty((size, size, 3), np.uint8)
    frame[:] = WALL_COLOUR
    _blend(frame, np.outer(inside, inside), TABLE_COLOUR)
    _paint_disc(frame, goal, GOAL_RADIUS, GOAL_COLOUR, scale)
    frame.flags.writeable = False
    return frame


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
        disc = _inside((disc[0] + 0.5 * x, disc[1] + 0.5 * y), DISC_RADIUS)
        square = _inside((square[0] - 0.5 * x, square[1] - 0.5 * y), SQUARE_HALF)
        if (disc, square) == before:  # the walls undid every move
            break
    # The objects ran out of room: now the pusher gives way, sliding along what it cannot move.
    x, y = _away_from_disc(pusher, disc, reach)
    pusher = (pusher[0] + x, pusher[1] + y)
    x, y = _away_from_square(pusher, square, PUSHER_RADIUS)
    pusher = _inside((pusher[0] + x, pusher[1] + y), PUSHER_RADIUS)
    return (pusher, disc, square) if _overlap(pusher, disc, square) <= _TOLERANCE else None


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


def _inside(point: Point, radius: float) -> Point:
    low, high = WALL + radius, TABLE - WALL - radius
    return min(max(point[0], low), high), min(max(point[1], low), high)


def _uniform(rng: np.random.Generator, edge: float) -> Point:
    x, y = rng.uniform(edge, TABLE - edge, size=2)
    return float(x), float(y)


def _info(state: TableState) -> dict[str, Any]:
    return {"state": state, "success": in_goal(state), "distance": math.dist(state.disc, state.goal)}


def _check(state: TableState) -> None:
    numbers = (*state.pusher, *state.disc, *state.square, *state.goal)
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{state} holds a number that is not finite; expected centres in table units (0 to 64)")
    depth = penetration(state)
    if depth > 2 * _TOLERANCE:
        raise ValueError(
            f"in {state} shapes overlap each other or the walls by {depth:.2f} units; move them apart, or take a state "
            "from state()"
        )


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
