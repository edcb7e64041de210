"""Scripted ways to behave on PushT's board, to record training data with: nobody publishes one.

They read the true state from `info["state"]`, which a learner must not. All their randomness comes from the generator
they are given, and they forget everything when an episode begins (step 0).
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from ivideo.simulate.pusht import BOARD, REACH, centre

_ROUND = 100.0
"""Units from the T's middle at which the pusher is clear of it, whichever way it is turned."""
_SIDE = 30.0
"""Nearest that the pusher goes to the board's side by itself."""


class RandomWalk:
    """Wanders: the velocity changes smoothly and turns back from the walls; the T is touched by chance."""

    def __init__(self, speed: float = 0.6, memory: float = 0.8) -> None:
        """`speed`: standard deviation of either action component; `memory`: correlation of one step's with the last."""
        self.speed, self.memory = speed, memory
        self._velocity = np.zeros(2)

    def __call__(
        self, observation: UInt8[np.ndarray, "h w 3"], info: dict[str, Any], rng: np.random.Generator
    ) -> Float32[np.ndarray, "2"]:
        fresh = self.speed * rng.standard_normal(2)
        kept = 0.0 if info["step"] == 0 else self.memory
        self._velocity = kept * self._velocity + math.sqrt(1.0 - kept**2) * fresh
        for axis, place in enumerate(info["state"][:2]):
            if place < _SIDE + REACH:
                self._velocity[axis] = abs(self._velocity[axis])
            elif place > BOARD - _SIDE - REACH:
                self._velocity[axis] = -abs(self._velocity[axis])
        return np.clip(self._velocity, -1.0, 1.0).astype(np.float32)


class Pusher:
    """Goes behind the T, presses along a line that passes its middle at some distance, then chooses another line.

    A line through the middle moves the T, one beside it turns it. Lines lead towards a place drawn in the board's
    middle part, so that the T keeps off the walls.
    """

    def __init__(self, noise: float = 0.15, patience: tuple[int, int] = (8, 20), aside: float = 50.0) -> None:
        """Push.

        Args:
            noise: standard deviation of what is added to either action component.
            patience: the fewest and the most actions spent on one line.
            aside: how far from the T's middle a line passes, at most, in units.
        """
        self.noise, self.patience, self.aside = noise, patience, aside
        self._left, self._pressing = 0, False
        self._way, self._beside = np.zeros(2), 0.0

    def __call__(
        self, observation: UInt8[np.ndarray, "h w 3"], info: dict[str, Any], rng: np.random.Generator
    ) -> Float32[np.ndarray, "2"]:
        state = np.asarray(info["state"], np.float64)
        middle, agent = centre(state), state[:2]
        if info["step"] == 0 or self._left == 0:
            self._choose(middle, rng)
        self._left -= 1
        line = middle + self._beside * np.array([-self._way[1], self._way[0]])
        stand = np.clip(line - _ROUND * self._way, _SIDE, BOARD - _SIDE)
        if not self._pressing and math.dist(agent, stand) < 0.4 * REACH:
            self._pressing = True
        wanted = agent + self._way * REACH if self._pressing else around(agent, stand, middle)
        if self._pressing and float((agent - line) @ self._way) > 0:
            self._left = 0  # It has slipped past.
        unsteady = (wanted - agent) / REACH + self.noise * rng.standard_normal(2)
        return np.asarray(np.clip(unsteady, -1.0, 1.0), np.float32)

    def _choose(self, middle: Float64[np.ndarray, "2"], rng: np.random.Generator) -> None:
        self._left, self._pressing = int(rng.integers(*self.patience, endpoint=True)), False
        towards = rng.uniform(0.3 * BOARD, 0.7 * BOARD, 2) - middle
        self._way = towards / max(1e-6, float(np.hypot(*towards)))
        self._beside = float(rng.uniform(-self.aside, self.aside))


class Mixed:
    """Wanders in one episode of six, and pushes in the others."""

    def __init__(self) -> None:
        self._policies = (RandomWalk(), Pusher())
        self._chosen: RandomWalk | Pusher = self._policies[1]

    def __call__(
        self, observation: UInt8[np.ndarray, "h w 3"], info: dict[str, Any], rng: np.random.Generator
    ) -> Float32[np.ndarray, "2"]:
        if info["step"] == 0:
            self._chosen = self._policies[int(rng.random() > 1 / 6)]
        return self._chosen(observation, info, rng)


def around(
    agent: Float64[np.ndarray, "2"], stand: Float64[np.ndarray, "2"], middle: Float64[np.ndarray, "2"]
) -> Float64[np.ndarray, "2"]:
    """Where to go next on a way to `stand` that keeps clear of the T."""
    way = stand - agent
    length = float(np.hypot(*way))
    if length < 1e-6:
        return stand
    way = way / length
    to = middle - agent
    ahead, beside = float(to @ way), float(to[0] * way[1] - to[1] * way[0])
    if ahead <= 0 or ahead > length or abs(beside) >= _ROUND - 10.0:
        return stand
    # On the side on which the straight way passes; further out where it is too near.
    out = agent - middle
    near = float(np.hypot(*out))
    out = out / max(1e-6, near)
    tangent = np.array([-out[1], out[0]])
    tangent = tangent if float(tangent @ way) > 0 else -tangent
    step = tangent + out * max(0.0, (_ROUND - near) / REACH)
    ahead_of = agent + REACH * step / max(1e-6, float(np.hypot(*step)))
    return np.asarray(np.clip(ahead_of, _SIDE, BOARD - _SIDE), np.float64)
