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

An object moves only while it is pushed, by the pusher or by the other object, and stops at once.
"""

import math
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float32, UInt8

from ivideo.simulate.drawing import render
from ivideo.simulate.motion import (
    DEFAULT_GOAL,
    DISC_RADIUS,
    GOAL_RADIUS,
    PUSHER_RADIUS,
    SQUARE_HALF,
    TABLE,
    TOLERANCE,
    WALL,
    Point,
    TableState,
    advance,
    inside,
    penetration,
)

__all__ = ["GOAL_TOLERANCE", "PushingTable", "TableState", "in_goal", "random_state", "render", "reward"]

GOAL_TOLERANCE = GOAL_RADIUS - DISC_RADIUS
TOUCH = 0.5
"""Clear space, in table units, below which the pusher touches the disc."""

AIMS = ("push", "touch")
_DIAGONAL = math.sqrt(2.0) * (TABLE - 2 * WALL)


class PushingTable(gymnasium.Env[UInt8[np.ndarray, "h w 3"], Float32[np.ndarray, "2"]]):
    """Pushing the disc into the painted goal ends the episode; until then every step costs up to 1.

    With aim "touch", touching the disc is enough: a first thing to learn.

    Observation: the frame, uint8 RGB `[size size 3]`. Action: the pusher's displacement along x and y, each in [-1, 1]
    and worth up to 3 table units (walls and jammed objects stop the pusher).

    Reward, in [-1, 0], belongs to the state arrived in: `-(0.75 * distance(disc, goal) + 0.25 * gap) / diagonal`, where
    the gap is the clear space between pusher and disc and the diagonal is that of the area inside the walls. It grows
    as the disc nears the goal and as the pusher nears the disc. With aim "touch" it is `-gap / diagonal`.

    Terminated once the disc lies wholly inside the goal, or the pusher touches it, truncated after `horizon` steps.
    `info` holds `state`, `success` and `distance` (disc to goal, table units).

    `reset(options={"state": state})` restores a `TableState` exactly; `state()` returns the current one. The motion has
    no randomness: equal states and actions give equal futures.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  (gymnasium's spelling)

    def __init__(
        self,
        size: int = 64,
        horizon: int = 60,
        goal: Point | None = DEFAULT_GOAL,
        render_mode: str | None = None,
        aim: str = "push",
    ) -> None:
        """Prepare a table.

        Args:
            size: side of the frames in pixels, 32 to 256.
            horizon: steps after which an episode is truncated.
            goal: centre of the goal in table units; None draws another one for every episode.
            render_mode: None or "rgb_array".
            aim: "push" the disc into the goal, or "touch" it.
        """
        if not 32 <= size <= 256:
            raise ValueError(f"size is {size}; the table is drawn at 32 to 256 pixels a side: choose one of those")
        if horizon < 1:
            raise ValueError(f"horizon is {horizon}; an episode needs at least one step: give a positive number")
        if goal is not None and inside(goal, GOAL_RADIUS) != goal:
            raise ValueError(f"goal is {goal}; x and y have to be {WALL + GOAL_RADIUS} to {TABLE - WALL - GOAL_RADIUS}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f'render_mode is {render_mode!r}; the table knows None and "rgb_array"')
        if aim not in AIMS:
            raise ValueError(f"aim is {aim!r}; expected one of {', '.join(AIMS)}")
        self.size = size
        self.aim = aim
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
        return render(state, self.size), self._info(state)

    def step(
        self, action: Float32[np.ndarray, "2"]
    ) -> tuple[UInt8[np.ndarray, "h w 3"], float, bool, bool, dict[str, Any]]:
        """Move the pusher and return the frame, reward, terminated, truncated and info of the state arrived in."""
        if np.shape(action) != (2,):
            raise ValueError(f"action has shape {list(np.shape(action))}; the table takes two numbers, for x and y")
        x, y = float(action[0]), float(action[1])
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError(f"action is ({x}, {y}); expected two finite numbers in [-1, 1]")
        state = advance(self.state(), (x, y))
        self._state = state
        earned, info = reward(state, self.aim), self._info(state)
        return render(state, self.size), earned, info["success"], state.step >= self.horizon, info

    def render(self) -> UInt8[np.ndarray, "h w 3"] | None:
        """Return the current frame when the render mode is "rgb_array", else None."""
        return render(self.state(), self.size) if self.render_mode == "rgb_array" else None

    def _info(self, state: TableState) -> dict[str, Any]:
        success = in_goal(state) if self.aim == "push" else _gap(state) < TOUCH
        return {"state": state, "success": success, "distance": math.dist(state.disc, state.goal)}


def reward(state: TableState, aim: str = "push") -> float:
    """Return what arriving in this state pays, in [-1, 0]; see `PushingTable`."""
    if aim == "touch":
        return -_gap(state) / _DIAGONAL
    return -(0.75 * math.dist(state.disc, state.goal) + 0.25 * _gap(state)) / _DIAGONAL


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


def _uniform(rng: np.random.Generator, edge: float) -> Point:
    x, y = rng.uniform(edge, TABLE - edge, size=2)
    return float(x), float(y)


def _gap(state: TableState) -> float:
    """Clear space between pusher and disc, in table units."""
    return max(0.0, math.dist(state.pusher, state.disc) - PUSHER_RADIUS - DISC_RADIUS)


def _check(state: TableState) -> None:
    numbers = (*state.pusher, *state.disc, *state.square, *state.goal)
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{state} holds a number that is not finite; expected centres in table units (0 to 64)")
    depth = penetration(state)
    if depth > 2 * TOLERANCE:
        raise ValueError(
            f"in {state} shapes overlap each other or the walls by {depth:.2f} units; move them apart, or take a state "
            "from state()"
        )
