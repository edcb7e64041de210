"""Short things to do on the pushing table, asked for in words, and a demonstrator who does several in a row.

Like the policies beside them they read the true state, which a learner must not.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from ivideo.simulate.motion import DISC_RADIUS, PUSHER_RADIUS, SQUARE_HALF, Point, TableState, inside
from ivideo.simulate.policies import press, unsteady

SKILL_STEPS = 14
"""Steps that one of them is given: about what it takes to go behind an object and push it."""
_WAY = 12.0
"""Table units by which an object is to be pushed."""
_DIRECTIONS: dict[str, Point] = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
_OBJECTS: tuple[Literal["disc", "square"], ...] = ("disc", "square")

SKILLS = tuple(f"push the {thing} {direction}" for thing in _OBJECTS for direction in _DIRECTIONS)
"""What can be asked for."""


class Skill:
    """Carries out one sentence from the state in which it was asked; its hand is unsteady."""

    def __init__(self, sentence: str, state: TableState, noise: float = 0.1) -> None:
        """Prepare; ValueError for a sentence that is not in `SKILLS`.

        Args:
            sentence: what to do.
            state: where everything is.
            noise: standard deviation of what is added to either action component.
        """
        if sentence not in SKILLS:
            raise ValueError(f"{sentence!r} is nothing that can be asked here; expected one of: {', '.join(SKILLS)}")
        self._thing = next(thing for thing in _OBJECTS if f" {thing} " in sentence)
        way = _DIRECTIONS[sentence.rpartition(" ")[2]]
        x, y = self._where(state)
        # Room is left for the pusher to come behind the object again.
        edge = 2 * PUSHER_RADIUS + (DISC_RADIUS if self._thing == "disc" else SQUARE_HALF)
        self._place = inside((x + way[0] * _WAY, y + way[1] * _WAY), edge)
        self._way, self._noise = way, noise

    def __call__(self, state: TableState, rng: np.random.Generator) -> Float32[np.ndarray, "2"]:
        """The next action; once the object is there, nothing but unsteadiness."""
        x, y = self._where(state)
        left = (self._place[0] - x) * self._way[0] + (self._place[1] - y) * self._way[1]
        action = press(state, self._thing, self._place) if left > 1.0 else (0.0, 0.0)
        return unsteady(action, self._noise, rng)

    def _where(self, state: TableState) -> Point:
        return state.disc if self._thing == "disc" else state.square


class Instructed:
    """Does what it is told, one sentence after the other, `SKILL_STEPS` steps each; nothing behind the last one."""

    def __init__(self, sentences: Sequence[str], noise: float = 0.1) -> None:
        if not sentences:
            raise ValueError("there are no sentences to carry out; give at least one")
        self.sentences, self.noise = tuple(sentences), noise
        self._skill: Skill | None = None
        self._done = 0

    def __call__(
        self, observation: UInt8[np.ndarray, "h w 3"] | None, info: dict[str, Any], rng: np.random.Generator
    ) -> Float32[np.ndarray, "2"]:
        state: TableState = info["state"]
        if state.step == 0:
            self._done = 0
        number, into = divmod(self._done, SKILL_STEPS)
        self._done += 1
        if number >= len(self.sentences):
            return np.zeros(2, np.float32)
        if into == 0:
            self._skill = Skill(self.sentences[number], state, self.noise)
        assert self._skill is not None
        return self._skill(state, rng)
