"""Scripted ways to do RoboDesk's tasks, to record training data with and to make planning problems from.

They read places from `info["state"]`, which a learner must not. All their randomness comes from the generator they are
given, and they forget everything when an episode begins (step 0). What they reach is in docs/planning_tasks.md.
"""

from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from ivideo.simulate.robodesk import TASKS

_GAIN = 5.0
"""Action per metre that is left to go: what the hand covers of it in one action leaves it about there."""
_LEAST = 0.1
_ABOVE = 0.15
"""Metres over a button, or the place beside a block, from which the hand comes down."""
_LOWEST = 0.81
"""Metres: the hand just over the table."""


class Demonstrator:
    """Does one task, disturbed by Gaussian noise of another strength in every episode."""

    def __init__(self, task: str, noise: float = 0.0) -> None:
        """`noise` is the largest standard deviation; an episode's is drawn evenly between 0 and that."""
        if task not in TASKS:
            raise ValueError(f"no RoboDesk task {task!r}; expected one of {', '.join(TASKS)}")
        if noise < 0:
            raise ValueError(f"noise is {noise}; expected 0 (none) or a standard deviation")
        self.task = task
        self._largest, self._noise = noise, 0.0
        self._phase, self._shift = 0, np.zeros(3)

    def __call__(
        self, observation: UInt8[np.ndarray, "h w 3"], info: dict[str, Any], rng: np.random.Generator
    ) -> Float32[np.ndarray, "5"]:
        if info["step"] == 0:
            self._noise = float(rng.uniform(0.0, self._largest)) if self._largest else 0.0
            self._phase, self._shift = 0, rng.uniform(-1.0, 1.0, 3)
        state = info["state"]
        action = np.zeros(5)
        if self.task.startswith("push_"):
            action[:3] = self._press(state["hand"], state[f"{self.task.removeprefix('push_')}_button"])
        elif self.task == "open_slide":
            action[:3] = self._slide(state)
        elif self.task == "open_drawer":
            action[:3] = self._drawer(state)
            action[3] = 0.5 * (np.pi - state["wrist"]) if self._phase == 0 else 0.0
        else:
            action[:3] = self._off(state, self.task.removesuffix("_off_table"))
        disturbed = action + self._noise * rng.standard_normal(5)
        return np.asarray(np.clip(disturbed, -1.0, 1.0), np.float32)

    def _press(self, hand: Float64[np.ndarray, "3"], button: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3"]:
        """Above the button, clear of what stands on the desk, then down on it."""
        aside = np.linalg.norm((button - hand)[:2])
        if self._phase == 0 and aside < 0.02:
            self._phase = 1
        elif self._phase == 1 and aside > 0.05:
            self._phase = 0
        if self._phase == 0:
            high = button + np.array([0.0, 0.0, _ABOVE])
            return _towards(hand, high if aside < 0.1 or hand[2] > high[2] - 0.05 else np.array([*hand[:2], high[2]]))
        return _towards(hand, button - np.array([0.0, 0.0, 0.03]), least=0.5)

    def _slide(self, state: dict[str, Any]) -> Float64[np.ndarray, "3"]:
        """In front of the shelf to the handle's left, in beside it, and away with it."""
        hand, handle = state["hand"], state["slide_handle"]
        beside = handle + np.array([-0.12, 0.0, -0.02]) + np.array([0.02, 0.0, 0.03]) * self._shift
        outside = np.array([beside[0], handle[1] - 0.14, beside[2]])
        if self._phase == 0 and hand[0] < handle[0] - 0.06:
            self._phase = 1
        if self._phase == 1 and abs(beside[1] - hand[1]) < 0.04:
            self._phase = 2
        if self._phase == 0:
            return _towards(hand, outside)
        if self._phase == 1:
            return _towards(hand, beside, least=0.3)
        return np.array([2.0 * (1.0 - state["slide"]), 0.1, 0.0])

    def _drawer(self, state: dict[str, Any]) -> Float64[np.ndarray, "3"]:
        """Over the gap behind the drawer's front, down into it, and out with it; it has to stand open a little."""
        hand = state["hand"]
        gap = state["drawer_handle"] + np.array([0.05, 0.5 * abs(state["drawer"]), 0.0])
        over = np.array([gap[0], gap[1], gap[2] + 0.14])
        if self._phase == 0 and np.linalg.norm((over - hand)[:2]) < 0.02:
            self._phase = 1
        if self._phase == 1 and hand[2] < gap[2] + 0.04:
            self._phase = 2
        if self._phase == 0:
            return _towards(hand, over)
        if self._phase == 1:
            return _towards(hand, gap - np.array([0.0, 0.0, 0.02]), least=0.4)
        return np.array([0.0, -0.3, -0.06])

    def _off(self, state: dict[str, Any], block: str) -> Float64[np.ndarray, "3"]:
        """To its left, then through it to the right, over the table's edge; lying or standing."""
        hand, place = state["hand"], state[block]
        level = max(_LOWEST, float(place[2]) - (0.0 if block == "flat_block" else 0.05))
        beside = np.array([place[0] - 0.13, place[1], level])
        gap = beside - hand
        if self._phase == 0 and np.linalg.norm(gap[:2]) < 0.04 and abs(gap[2]) < 0.03:
            self._phase = 1
        elif self._phase == 1 and place[0] < hand[0] - 0.02 and place[2] > 0.7:
            self._phase = 0  # It was passed by.
        if self._phase == 0:
            clear = np.array([*beside[:2], level + _ABOVE])
            low = np.linalg.norm(gap[:2]) < 0.06
            return _towards(hand, beside if low else clear, least=0.3 if low else _LEAST)
        return _towards(hand, np.array([place[0] + 0.3, place[1], level]), gain=3.0)


def _towards(
    hand: Float64[np.ndarray, "3"], place: Float64[np.ndarray, "3"], *, gain: float = _GAIN, least: float = _LEAST
) -> Float64[np.ndarray, "3"]:
    """The action that goes there, of a length that still arrives."""
    way = np.asarray(gain * (place - hand), np.float64)
    length = float(np.linalg.norm(way))
    return way if length >= least else np.asarray(way * (least / max(length, 1e-6)))
