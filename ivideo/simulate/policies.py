"""Scripted ways to behave on the pushing table, to record training data with and to compare planners against.

They read the true state from `info["state"]`, which a learner must not: they are demonstrators. All their randomness
comes from the generator they are given, and a policy forgets everything when an episode begins (step 0), so one
policy and one seed give one behaviour. Actions are float32 `[2]` in [-1, 1].
"""

import math
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from ivideo.simulate.motion import (
    DISC_RADIUS,
    MAX_STEP,
    PUSHER_RADIUS,
    SQUARE_HALF,
    TABLE,
    WALL,
    Point,
    TableState,
)

_ROUND_DISC = DISC_RADIUS + PUSHER_RADIUS
_ROUND_SQUARE = 1.25 * SQUARE_HALF + PUSHER_RADIUS  # between the reach at a side and at a corner


@runtime_checkable
class Policy(Protocol):
    """Anything that answers a frame with an action."""

    def __call__(
        self, observation: UInt8[np.ndarray, "h w 3"], info: dict[str, Any], rng: np.random.Generator
    ) -> Float32[np.ndarray, "2"]: ...


class RandomWalk:
    """Wanders: the velocity changes smoothly and turns back from the walls; objects are touched by chance only."""

    def __init__(self, speed: float = 0.6, memory: float = 0.85) -> None:
        """Wander.

        Args:
            speed: standard deviation of either action component, as a share of the largest step.
            memory: correlation of one step's velocity with the step before, in [0, 1).
        """
        self.speed = speed
        self.memory = memory
        self._velocity = np.zeros(2)

    def __call__(
        self, observation: UInt8[np.ndarray, "h w 3"], info: dict[str, Any], rng: np.random.Generator
    ) -> Float32[np.ndarray, "2"]:
        state: TableState = info["state"]
        fresh = self.speed * rng.standard_normal(2)
        if state.step == 0:
            self._velocity = fresh
        else:
            self._velocity = self.memory * self._velocity + math.sqrt(1.0 - self.memory**2) * fresh
        low, high = WALL + PUSHER_RADIUS + MAX_STEP, TABLE - WALL - PUSHER_RADIUS - MAX_STEP
        for axis, place in enumerate(state.pusher):
            if place < low:
                self._velocity[axis] = abs(self._velocity[axis])
            elif place > high:
                self._velocity[axis] = -abs(self._velocity[axis])
        return np.clip(self._velocity, -1.0, 1.0).astype(np.float32)


class Pusher:
    """Goes behind an object, pushes it towards some place on the table, then does something else; its hand is unsteady.

    What it does next, pushing the disc, pushing the square or wandering, is drawn when the object has arrived or
    patience has run out.
    """

    def __init__(self, noise: float = 0.25, patience: tuple[int, int] = (10, 24), wandering: float = 0.3) -> None:
        """Push.

        Args:
            noise: standard deviation of what is added to either action component.
            patience: the fewest and the most steps spent on one thing.
            wandering: probability that the next thing is to wander.
        """
        self.noise = noise
        self.patience = patience
        self.wandering = wandering
        self._wander = RandomWalk()
        self._left = 0
        self._pushed: Literal["disc", "square"] | None = None
        self._place: Point = (TABLE / 2, TABLE / 2)

    def __call__(
        self, observation: UInt8[np.ndarray, "h w 3"], info: dict[str, Any], rng: np.random.Generator
    ) -> Float32[np.ndarray, "2"]:
        state: TableState = info["state"]
        if state.step == 0 or self._left == 0 or self._arrived(state):
            self._choose(rng)
        self._left -= 1
        if self._pushed is None:
            return self._wander(observation, info, rng)
        return unsteady(press(state, self._pushed, self._place), self.noise, rng)

    def _arrived(self, state: TableState) -> bool:
        if self._pushed is None:
            return False
        return math.dist(state.disc if self._pushed == "disc" else state.square, self._place) < MAX_STEP

    def _choose(self, rng: np.random.Generator) -> None:
        self._left = int(rng.integers(*self.patience, endpoint=True))
        if rng.random() < self.wandering:
            self._pushed = None
        else:
            self._pushed = "disc" if rng.random() < 0.5 else "square"
        edge = WALL + 2 * PUSHER_RADIUS + DISC_RADIUS  # leaves room to come behind the object again
        self._place = (float(rng.uniform(edge, TABLE - edge)), float(rng.uniform(edge, TABLE - edge)))


class GoalPusher:
    """Pushes the disc into the goal."""

    def __init__(self, noise: float = 0.1) -> None:
        """Push the disc to the goal, with noise of the given standard deviation on either action component."""
        self.noise = noise

    def __call__(
        self, observation: UInt8[np.ndarray, "h w 3"], info: dict[str, Any], rng: np.random.Generator
    ) -> Float32[np.ndarray, "2"]:
        state: TableState = info["state"]
        return unsteady(press(state, "disc", state.goal), self.noise, rng)


class Prober:
    """Pushes an object for a while, then tries things out beside it: the steps of a planner's candidates.

    What it tries is smoothed noise, of another strength and smoothness every time, that drifts towards the nearer
    object. A demonstrator hardly ever hits an object off its centre or slides along it; whoever plans by trying out
    actions mostly does, and a model that has not seen it is wrong just there.
    """

    def __init__(self, noise: float = 0.2, drift: float = 0.5) -> None:
        """Probe.

        Args:
            noise: standard deviation of what is added to either action component while it pushes.
            drift: how fast it nears the closer object while it tries things out, as a share of the largest step.
        """
        self.drift = drift
        self._push = Pusher(noise=noise, wandering=0.0)
        self._left = 0
        self._probing = False
        self._smoothness = 0.0
        self._strength = 0.0
        self._velocity = np.zeros(2)

    def __call__(
        self, observation: UInt8[np.ndarray, "h w 3"], info: dict[str, Any], rng: np.random.Generator
    ) -> Float32[np.ndarray, "2"]:
        state: TableState = info["state"]
        if state.step == 0 or self._left == 0:
            self._probing = state.step > 0 and not self._probing
            self._left = int(rng.integers(3, 6, endpoint=True) if self._probing else rng.integers(6, 13, endpoint=True))
            self._smoothness, self._strength = rng.uniform(0.0, 0.9), rng.uniform(0.4, 1.0)
            self._velocity = np.zeros(2)
        self._left -= 1
        pushing = self._push(observation, info, rng)
        if not self._probing:
            return pushing
        fresh = self._strength * rng.standard_normal(2)
        self._velocity = self._smoothness * self._velocity + math.sqrt(1.0 - self._smoothness**2) * fresh
        nearer = min((state.disc, state.square), key=lambda place: math.dist(place, state.pusher))
        drifting = self._velocity + self.drift * np.asarray(_unit(state.pusher, nearer))
        return np.clip(drifting, -1.0, 1.0).astype(np.float32)


class Mixed:
    """Behaves like one of several policies, drawn anew for every episode."""

    def __init__(self, policies: tuple[Policy, ...] | None = None, weights: tuple[float, ...] | None = None) -> None:
        """Mix.

        Args:
            policies: what to choose from; None stands for `RandomWalk`, `Pusher` and `GoalPusher`.
            weights: how often each is chosen, relatively; None stands for 1, 6 and 1, or for equal shares of the
                policies given.
        """
        self.policies = policies or (RandomWalk(), Pusher(), GoalPusher())
        weights = weights or ((1.0,) * len(self.policies) if policies else (1.0, 6.0, 1.0))
        if len(weights) != len(self.policies) or min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(
                f"weights are {weights} for {len(self.policies)} policies; give each policy one weight, none negative "
                "and not all 0"
            )
        self._shares = np.asarray(weights) / sum(weights)
        self._chosen = self.policies[0]

    def __call__(
        self, observation: UInt8[np.ndarray, "h w 3"], info: dict[str, Any], rng: np.random.Generator
    ) -> Float32[np.ndarray, "2"]:
        state: TableState = info["state"]
        if state.step == 0:
            self._chosen = self.policies[int(rng.choice(len(self.policies), p=self._shares))]
        return self._chosen(observation, info, rng)


def press(state: TableState, pushed: Literal["disc", "square"], place: Point) -> Point:
    """Return the action that pushes an object towards a place: go behind it, then press; may exceed 1."""
    target, reach = (state.disc, _ROUND_DISC) if pushed == "disc" else (state.square, _ROUND_SQUARE)
    way = _unit(target, place)
    from_target = (state.pusher[0] - target[0], state.pusher[1] - target[1])
    behind = -(from_target[0] * way[0] + from_target[1] * way[1])
    if behind > 0.8 * math.hypot(*from_target):  # in line, up to 37 degrees off: press, drifting into line
        return _towards(
            state.pusher, (target[0] - way[0] * (reach - MAX_STEP), target[1] - way[1] * (reach - MAX_STEP))
        )
    stand = (target[0] - way[0] * (reach + 1.5), target[1] - way[1] * (reach + 1.5))
    return _around(state.pusher, stand, target, reach)


def _around(pusher: Point, stand: Point, obstacle: Point, reach: float) -> Point:
    """Return the action that nears `stand` without touching an obstacle on the way."""
    way = _unit(pusher, stand)
    x, y = obstacle[0] - pusher[0], obstacle[1] - pusher[1]
    ahead = x * way[0] + y * way[1]
    aside = x * way[1] - y * way[0]
    if ahead <= 0 or ahead > math.dist(pusher, stand) + reach or abs(aside) >= reach:
        return _towards(pusher, stand)
    # Circle the obstacle on the side on which the straight way passes it.
    away = _unit(obstacle, pusher)
    sign = 1.0 if aside >= 0 else -1.0
    tangent = (-away[1] * sign, away[0] * sign)
    if tangent[0] * way[0] + tangent[1] * way[1] < 0:
        tangent = (-tangent[0], -tangent[1])
    outward = max(0.0, reach + 1.0 - math.dist(pusher, obstacle))
    return _largest((tangent[0] * MAX_STEP + away[0] * outward, tangent[1] * MAX_STEP + away[1] * outward))


def _towards(start: Point, end: Point) -> Point:
    return _largest((end[0] - start[0], end[1] - start[1]))


def _largest(way: Point) -> Point:
    """Return the action for a displacement in table units, shortened along its direction where it is too long."""
    scale = 1.0 / max(MAX_STEP, abs(way[0]), abs(way[1]))
    return way[0] * scale, way[1] * scale


def _unit(start: Point, end: Point) -> Point:
    distance = math.dist(start, end)
    return ((end[0] - start[0]) / distance, (end[1] - start[1]) / distance) if distance > 1e-6 else (1.0, 0.0)


def _along(start: Point, way: Point, distance: float) -> Point:
    return start[0] + way[0] * distance, start[1] + way[1] * distance


def unsteady(action: Point, noise: float, rng: np.random.Generator) -> Float32[np.ndarray, "2"]:
    noisy = np.asarray(action) + noise * rng.standard_normal(2)
    return np.clip(noisy, -1.0, 1.0).astype(np.float32)
