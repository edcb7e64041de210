"""A simulator that can be put back, behind the planner's protocol and as the scene of an instance.

States are float64 vectors: whatever a simulator needs to come back to exactly the same future. So they can be stored.
One simulator serves both: a scene puts it where the scene stands before anything is done.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, UInt8
from torch import Tensor

from ivideo.planning.dynamics import Futures, Need, cut
from ivideo.planning.tasks.task import Outcome

Numbers: TypeAlias = Float64[np.ndarray, " s"]
_BYTES = 1 << 28
"""Pixels that are held together."""


@runtime_checkable
class Simulator(Protocol):
    """What can be saved, put back, moved and seen."""

    size: int
    """Side of its frames in pixels."""
    action_dim: int

    def save(self) -> Numbers:
        """All that there is to know of what will come."""
        ...

    def restore(self, state: Numbers) -> None:
        """Come back to a state."""
        ...

    def advance(self, action: Float32[np.ndarray, " a"]) -> float:
        """Carry out an action, components in [-1, 1]; the reward of the state arrived in."""
        ...

    def draw(self) -> UInt8[np.ndarray, "h w 3"]:
        """What its camera sees."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorDynamics:
    """A simulator as the model. Nothing is random, and it is always sure; the simulator stands anywhere afterwards."""

    simulator: Simulator

    @property
    def resolution(self) -> int:
        return self.simulator.size

    @property
    def offers(self) -> frozenset[Need]:
        return frozenset({"frames", "last_frame", "rewards", "likelihood"})

    def action_size(self, state: Numbers) -> int:
        return self.simulator.action_dim

    def imagine(
        self, state: Numbers, actions: Float[Tensor, "n f a"], needs: frozenset[Need], *, seed: int = 0
    ) -> Iterator[Futures]:
        drawn = not needs.isdisjoint({"frames", "last_frame"})
        kept = actions.shape[1] if "frames" in needs else 1
        most = _BYTES // (kept * 3 * self.resolution**2) if drawn else len(actions)
        for rows in cut(len(actions), most):
            frames, rewards = [], []
            for row in actions[rows].cpu().numpy().astype(np.float32):
                seen, paid = self._one(state, row, kept if drawn else 0)
                frames.append(seen)
                rewards.append(paid)
            yield Futures(
                frames=torch.stack([torch.stack(row) for row in frames]) if drawn else None,
                rewards=torch.tensor(rewards) if "rewards" in needs else None,
                log_likelihood=torch.zeros(len(rewards), actions.shape[1]) if "likelihood" in needs else None,
            )

    def features(self, state: Numbers, frames: UInt8[Tensor, "k 3 h w"]) -> Float[Tensor, "k m v"]:
        raise ValueError("the simulator has no tokens to compare; take an objective on pixels or rewards")

    def _one(self, state: Numbers, actions: Float32[np.ndarray, "f a"], kept: int) -> tuple[list[Tensor], list[float]]:
        """The last `kept` frames under some actions, and all rewards."""
        self.simulator.restore(state)
        frames, rewards = [], []
        for step, action in enumerate(actions):
            rewards.append(self.simulator.advance(action))
            if step >= len(actions) - kept:
                frames.append(picture(self.simulator.draw()))
        return frames, rewards


class SimulatorScene:
    """An instance carried out in a simulator that others use in between."""

    def __init__(
        self,
        simulator: Simulator,
        start: Numbers,
        goal: UInt8[Tensor, "3 h w"],
        judge: Callable[[], Outcome],
    ) -> None:
        """`judge` says how things stand where the simulator stands."""
        self._simulator, self._judge, self._goal = simulator, judge, goal
        simulator.restore(start)
        self._look()

    @property
    def goal(self) -> UInt8[Tensor, "3 h w"]:
        return self._goal

    def state(self) -> Numbers:
        return self._state

    def frame(self) -> UInt8[Tensor, "3 h w"]:
        return self._frame

    def outcome(self) -> Outcome:
        return self._outcome

    def act(self, action: Float[Tensor, " a"]) -> None:
        self._simulator.restore(self._state)
        self._simulator.advance(action.cpu().numpy().astype(np.float32))
        self._look()

    def _look(self) -> None:
        self._state = self._simulator.save()
        self._frame, self._outcome = picture(self._simulator.draw()), self._judge()


def picture(frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[Tensor, "3 h w"]:
    """The same for a model."""
    return torch.from_numpy(frame).permute(2, 0, 1).contiguous()
