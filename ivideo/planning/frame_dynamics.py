"""A world model whose states are the frames that were seen: for planners that think in videos."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.planning.dynamics import Futures, Need
from ivideo.planning.model_dynamics import ModelDynamics
from ivideo.planning.videos import latest
from ivideo.simulate.motion import TableState
from ivideo.state import RolloutState


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameDynamics:
    """The same as `ModelDynamics`, started from frames at every question."""

    dynamics: ModelDynamics

    @property
    def resolution(self) -> int:
        return self.dynamics.resolution

    @property
    def offers(self) -> frozenset[Need]:
        return self.dynamics.offers

    def action_size(self, state: UInt8[Tensor, "k 3 h w"]) -> int:
        return self.dynamics.model.action_dim

    def imagine(
        self, state: UInt8[Tensor, "k 3 h w"], actions: Float[Tensor, "n f a"], needs: frozenset[Need], *, seed: int = 0
    ) -> Iterator[Futures]:
        return self.dynamics.imagine(self._start(state), actions, needs, seed=seed)

    def features(self, state: UInt8[Tensor, "k 3 h w"], frames: UInt8[Tensor, "j 3 h w"]) -> Float[Tensor, "j m v"]:
        return self.dynamics.features(self._start(state), frames)

    def _start(self, seen: UInt8[Tensor, "k 3 h w"]) -> RolloutState:
        model = self.dynamics.model
        return model.start(latest(seen, model.context_frames))


@dataclass(slots=True, kw_only=True)
class FrameSight:
    """What a planner of videos knows of where the table stands: the latest frames; see `Sight`."""

    dynamics: FrameDynamics
    _frames: list[Tensor] = field(default_factory=list)

    def look(
        self, state: TableState, frame: UInt8[Tensor, "3 h w"], action: Float[Tensor, " a"] | None
    ) -> UInt8[Tensor, "k 3 h w"]:
        """The frames to plan from; None for the action begins anew."""
        kept = self.dynamics.dynamics.model.context_frames
        self._frames = [frame] if action is None else [*self._frames, frame][-kept:]
        return torch.stack(self._frames)
