"""The pushing table itself behind the planner's protocol: what a perfect model would make of the same planner."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.planning.dynamics import Futures, Need, cut
from ivideo.simulate.drawing import render
from ivideo.simulate.motion import TableState, advance
from ivideo.simulate.pushing_table import reward

_BYTES = 1 << 28
"""Pixels that are held together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDynamics:
    """The simulator as the model. States are `TableState`s; nothing is random, and it is always sure."""

    size: int = 64
    """Side of its frames in pixels."""

    @property
    def resolution(self) -> int:
        return self.size

    @property
    def offers(self) -> frozenset[Need]:
        return frozenset({"frames", "last_frame", "rewards", "likelihood"})

    def action_size(self, state: TableState) -> int:
        return 2

    def imagine(
        self, state: TableState, actions: Float[Tensor, "n f a"], needs: frozenset[Need], *, seed: int = 0
    ) -> Iterator[Futures]:
        frames = actions.shape[1] if "frames" in needs else 1
        drawn = not needs.isdisjoint({"frames", "last_frame"})
        most = _BYTES // (frames * 3 * self.size**2) if drawn else len(actions)
        for rows in cut(len(actions), most):
            paths = [walk(state, row) for row in actions[rows].tolist()]
            yield Futures(
                frames=torch.stack([self.draw(path[-frames:]) for path in paths]) if drawn else None,
                rewards=torch.tensor([[reward(each) for each in path] for path in paths])
                if "rewards" in needs
                else None,
                log_likelihood=torch.zeros(len(paths), actions.shape[1]) if "likelihood" in needs else None,
            )

    def features(self, state: TableState, frames: UInt8[Tensor, "k 3 h w"]) -> Float[Tensor, "k m v"]:
        raise ValueError("the simulator has no tokens to compare; take an objective on pixels or rewards")

    def draw(self, states: list[TableState]) -> UInt8[Tensor, "t 3 h w"]:
        """The states as frames."""
        pictures = np.stack([render(each, self.size) for each in states])
        return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def walk(state: TableState, actions: list[list[float]]) -> list[TableState]:
    """The states that actions lead to, one after the other."""
    path = []
    for x, y in actions:
        state = advance(state, (x, y))
        path.append(state)
    return path
