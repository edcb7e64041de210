"""What belongs to the VP2 benchmark (Tian et al. 2023, arXiv 2304.13723): its planners' settings, its model's call."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor

from ivideo.planning.cem import CEM
from ivideo.planning.dynamics import cut
from ivideo.planning.model_dynamics import ModelDynamics
from ivideo.planning.mppi import MPPI
from ivideo.planning.plan import PerAction
from ivideo.world_model import WorldModel

Suite: TypeAlias = Literal["robosuite", "robodesk"]
STD: dict[Suite, PerAction] = {"robosuite": (0.5, 0.5, 0.5, 0.0), "robodesk": (0.5, 0.5, 0.5, 0.1, 0.1)}
"""Spread of the actions that are tried."""
HORIZON = 10
STEPS = 15
"""Of a trajectory; the first action is all zeros, planned is before every other."""


def mppi(suite: Suite, *, hard: bool = False) -> MPPI:
    """VP2's default: one iteration of 200 candidates, of 800 for the `hard` tasks, open slide and open drawer."""
    return MPPI(horizon=HORIZON, samples=800 if hard else 200, gamma=0.05, std=STD[suite], correlation=0.5)


def cem(suite: Suite) -> CEM:
    """VP2's CEM: three iterations of 200 candidates, the best 5% of them, spread bounded by the distance to bounds."""
    return CEM(
        horizon=HORIZON, samples=200, elites=10, iterations=3, std=STD[suite], correlation=0.5, narrow=True, keep="best"
    )


class Predictor:
    """A world model as VP2's planners call one.

    ::

        batch  video    [b 2 h w 3]       two context frames, floats in [0, 1], channels last
               actions  [b 1 + f a]       one that lies between them, then those to try
        gives  rgb      [b 1 + f h w 3]   the second context frame, then what is predicted

    Rows that begin with the same frames, as a planner's do, share them: they are encoded and read once. A model that
    starts from one frame takes the second alone.
    """

    num_context = 2
    base_prediction_modality = "rgb"

    def __init__(
        self,
        checkpoint: str | Path | WorldModel,
        *,
        device: str = "cuda",
        max_batch_size: int | None = None,
        planning_modalities: Sequence[str] = ("rgb",),
        seed: int = 0,
    ) -> None:
        """Load a model.

        Args:
            checkpoint: a folder, a packaged model, a Hub id, or a model itself.
            device: where to compute.
            max_batch_size: rows that are imagined together; None takes as many as memory has room for.
            planning_modalities: what the planner looks at; a model of videos has "rgb" alone.
            seed: of the tokens that are drawn; every call draws others.
        """
        if list(planning_modalities) != ["rgb"]:
            raise ValueError(f"planning_modalities is {list(planning_modalities)}; this model predicts rgb alone")
        model = (
            checkpoint if isinstance(checkpoint, WorldModel) else WorldModel.from_pretrained(checkpoint, device=device)
        )
        if model.config.goal_conditioned or model.context_frames > self.num_context:
            goal = ", a goal among them" if model.config.goal_conditioned else ""
            raise ValueError(
                f"this model starts from {model.context_frames} frames{goal}; VP2 gives it the last "
                f"{self.num_context}: take one that starts from these"
            )
        self.dynamics = ModelDynamics(model=model, at_once=max_batch_size)
        self._seed, self._calls = seed, 0

    def __call__(
        self, batch: Mapping[str, Any], grad_enabled: bool = False
    ) -> dict[str, Float32[np.ndarray, "b t h w 3"]]:
        """Predictions under "rgb"; ValueError for a batch of other shapes."""
        if grad_enabled:
            raise ValueError(
                "grad_enabled is set, but tokens are drawn, through which no gradients flow; use MPPI or CEM"
            )
        video, actions = self._checked(np.asarray(batch["video"]), np.asarray(batch["actions"]))
        seed = self._seed + 1_000_003 * self._calls
        self._calls += 1
        shared = bool((video == video[:1]).all())
        groups = [slice(0, len(video))] if shared else list(cut(len(video), 1))
        future = torch.cat([self._future(video[rows.start], actions[rows, 1:], seed + rows.start) for rows in groups])
        frames = torch.cat([video[:, 1:], future], dim=1)
        return {"rgb": np.ascontiguousarray(frames.permute(0, 1, 3, 4, 2).numpy().astype(np.float32) / 255)}

    def close(self) -> None:
        """Nothing to clean up."""

    def _future(self, context: Tensor, actions: Tensor, seed: int) -> Tensor:
        model = self.dynamics.model
        state = model.start(context[-model.context_frames :])
        parts = self.dynamics.imagine(state, actions, frozenset({"frames"}), seed=seed)
        return torch.cat([part.frames.cpu() for part in parts if part.frames is not None])

    def _checked(self, video: NDArray[Any], actions: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """Frames as uint8 [b 2 3 h w], and actions [b 1 + f a]."""
        size, takes = self.dynamics.resolution, self.dynamics.model.action_dim
        wanted = (self.num_context, size, size, 3)
        if video.ndim != 5 or video.shape[1:] != wanted:
            raise ValueError(f"video has shape {list(video.shape)}; expected [b, {', '.join(map(str, wanted))}]")
        if actions.ndim != 3 or len(actions) != len(video) or actions.shape[1] < 2 or actions.shape[2] != takes:
            raise ValueError(
                f"actions have shape {list(actions.shape)}; expected [{len(video)}, 1 + horizon, {takes}]: one between "
                "the context frames, then those to try"
            )
        if not (np.isfinite(video).all() and 0 <= video.min() <= video.max() <= 1):
            raise ValueError(f"video holds values from {video.min():g} to {video.max():g}; expected floats in [0, 1]")
        frames = torch.from_numpy(np.round(video * 255).astype(np.uint8)).permute(0, 1, 4, 2, 3).contiguous()
        return frames, torch.from_numpy(actions.astype(np.float32))
