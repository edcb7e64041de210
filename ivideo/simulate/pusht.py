"""PushT as an environment that shows pictures (extra `pusht`): a round pusher has to bring a T to its painted place.

The simulator is gym-pusht's (Chi et al. 2023, arXiv 2303.04137); what it is told and how it is seen are ours:

* an action is a displacement of the pusher, each component in [-1, 1] and worth up to `REACH` units of the 512 that the
  board is wide, carried out in `TICKS` of the simulator's ten steps a second, after which the pusher stands almost
  still. So what a frame shows is nearly all there is to know. The simulator's own action is a place on the board.
* frames are drawn at 512 pixels and averaged, not sampled, down to their size: places are seen to a part of a pixel.
* every action begins with the simulator built anew from seven numbers, so that a state which was saved and comes back
  has exactly the future that it had.
"""

import math
import os
import warnings
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from ivideo.simulate.simulator_env import SimulatorEnv

BOARD = 512.0
"""Units that the board is wide; x runs to the right and y down."""
REACH = 48.0
"""Units that an action component of 1 asks for."""
TICKS = 4
"""Steps of the simulator an action lasts."""
SUCCESS = 0.95
"""Share of the painted place that the T has to cover (gym-pusht)."""
NUMBERS = 7
"""Of a state: the pusher's x and y, its velocity's, the T's, and the angle of the T in radians."""
MIDDLE = 45.0
"""Units from the T's own point, halfway along the edge of its bar, to the middle of its mass, along its stem."""
_EDGE = 15.0 + 7.0
"""How near to the board's side a place for the pusher may be: its radius, and the wall."""


class PushT(SimulatorEnv):
    """Covering 95% of the painted place with the T ends the episode.

    Observation: the frame, uint8 RGB `[size size 3]`. Action: see above. Reward: the share that is covered over 0.95,
    at most 1. Truncated after `horizon` actions. `info` holds `state` (seven numbers), `coverage`, `success` and
    `step`; `reset(options={"state": state})` comes back to a state exactly.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10 / TICKS}  # noqa: RUF012  (gymnasium's)
    action_dim = 2
    success_ends = True

    def __init__(self, size: int = 64, horizon: int = 60, render_mode: str | None = "rgb_array") -> None:
        """Prepare a board; ImportError, in a line with what to install, where gym-pusht is missing.

        Args:
            size: side of the frames in pixels, 16 to 512.
            horizon: actions after which an episode is truncated.
            render_mode: only "rgb_array".
        """
        if not 16 <= size <= BOARD:
            raise ValueError(f"size is {size}; PushT is drawn at 16 to 512 pixels a side: choose one of those")
        if horizon < 1:
            raise ValueError(f"horizon is {horizon}; an episode needs at least one step: give a positive number")
        super().__init__(size, horizon, render_mode)
        self._board = _installed()(obs_type="state", render_mode="rgb_array")
        self.restore(np.array([256.0, 400.0, 0.0, 0.0, 256.0, 300.0, 0.0]))

    def _begin(self, seed: int | None, options: dict[str, Any]) -> None:
        """Start from a random state, in which the pusher is clear of the T, or from `options["state"]`."""
        unknown = set(options) - {"state"}
        if unknown:
            raise ValueError(f'reset got options {sorted(unknown)}; PushT knows "state" alone: drop the others')
        state = options.get("state")
        self.restore(random_state(self.np_random) if state is None else state)

    def save(self) -> Float64[np.ndarray, "7"]:
        """The state: all that there is to know of what will come."""
        agent, block = self._board.agent, self._board.block
        return np.array([*agent.position, *agent.velocity, *block.position, block.angle], np.float64)

    def restore(self, state: Float64[np.ndarray, "7"]) -> None:
        """Come back to a state."""
        numbers = np.asarray(state, np.float64)
        if numbers.shape != (NUMBERS,) or not np.isfinite(numbers).all():
            raise ValueError(f"the state is {numbers.tolist()}; expected {NUMBERS} finite numbers, as save() returns")
        board = self._board
        board._setup()
        board.agent.position, board.agent.velocity = numbers[:2].tolist(), numbers[2:4].tolist()
        # The angle first: turning moves the T's own point unless that is the middle of its mass.
        board.block.angle = float(numbers[6])
        board.block.position = numbers[4:6].tolist()
        for body in (board.agent, board.block):
            board.space.reindex_shapes_for_body(body)  # Shapes are drawn where they were indexed.

    def advance(self, action: Float32[np.ndarray, "2"]) -> float:
        if np.shape(action) != (2,) or not np.isfinite(action).all():
            raise ValueError(f"the action is {np.asarray(action).tolist()}; PushT takes two finite numbers in [-1, 1]")
        self.restore(self.save())
        board = self._board
        wanted = np.asarray(board.agent.position) + REACH * np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        x, y = np.clip(wanted, _EDGE, BOARD - _EDGE).tolist()
        agent, stiffness, damping, span = board.agent, board.k_p, board.k_v, board.dt
        for _ in range(TICKS * round(1 / (span * board.control_hz))):
            (px, py), (vx, vy) = agent.position, agent.velocity
            agent.velocity = (
                vx + (stiffness * (x - px) - damping * vx) * span,
                vy + (stiffness * (y - py) - damping * vy) * span,
            )
            board.space.step(span)
        return min(1.0, self.coverage() / SUCCESS)

    def coverage(self) -> float:
        """Share of the painted place that the T covers, 0 to 1."""
        return float(self._board._get_coverage())

    def draw(self) -> UInt8[np.ndarray, "h w 3"]:
        import cv2
        import pygame

        pixels = pygame.surfarray.pixels3d(self._board._draw())
        small = cv2.resize(pixels, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(small.transpose(1, 0, 2))

    def close(self) -> None:
        self._board.close()

    def _told(self) -> dict[str, Any]:
        coverage = self.coverage()
        return {"state": self.save(), "coverage": coverage, "success": coverage > SUCCESS}


def random_state(rng: np.random.Generator) -> Float64[np.ndarray, "7"]:
    """A first state: gym-pusht's ranges, drawn again until the pusher is clear of the T."""
    while True:
        agent, block = rng.uniform(50.0, 450.0, 2), rng.uniform(100.0, 400.0, 2)
        state = np.array([*agent, 0.0, 0.0, *block, rng.uniform(-math.pi, math.pi)])
        middle = centre(state)
        if math.dist(agent, middle) > 100.0 and bool(((middle > 80.0) & (middle < BOARD - 80.0)).all()):
            return state


def centre(state: Float64[np.ndarray, "7"]) -> Float64[np.ndarray, "2"]:
    """Middle of the T's mass."""
    x, y, angle = state[4], state[5], state[6]
    return np.array([x - MIDDLE * math.sin(angle), y + MIDDLE * math.cos(angle)])


def corners(state: Float64[np.ndarray, "7"]) -> Float64[np.ndarray, "8 2"]:
    """The T's eight corners."""
    cos, sin = math.cos(state[6]), math.sin(state[6])
    return np.asarray(_CORNERS @ np.array([[cos, sin], [-sin, cos]]) + state[4:6])


_CORNERS = np.array([(-60, 0), (60, 0), (60, 30), (15, 30), (15, 120), (-15, 120), (-15, 30), (-60, 30)], np.float64)
"""Where its own point is (0, 0) and its stem points along y."""


def _installed() -> Any:
    """gym-pusht's environment; ImportError that says what to install."""
    # Neither a greeting on standard output nor a window.
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pygame's, of how it finds its own files
            from gym_pusht.envs.pusht import PushTEnv
    except ImportError as error:
        raise ImportError(f"PushT is not installed ({error}); pip install 'ivideo[pusht]'") from error
    return PushTEnv
