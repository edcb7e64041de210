"""A case as a model sees it: the true clips in codes, and a rollout that has been shown their context and no more."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ivideo.evaluation.case import Case
from ivideo.memory import decoded_at_once
from ivideo.state import RolloutState
from ivideo.world_model import WorldModel

TRUTH = "truth"
"""The source of what is measured of the true clips themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """True clips in codes. States are immutable, so one serves every measurement of its clips."""

    start: RolloutState
    """Has read the context frames; row i draws from the seed that was asked for, plus i."""
    codes: Int[Tensor, "n f m"]
    """Of the frames that are to be imagined."""
    before: Int[Tensor, "n m"]
    """Of the last context frame, encoded as later frames are: what a frame is that repeats it."""

    @property
    def frames(self) -> int:
        """Frames that are to be imagined of each clip."""
        return self.codes.shape[1]

    @property
    def previous(self) -> Int[Tensor, "n f m"]:
        """Of every frame that is to be imagined, the codes of the true frame before it."""
        earlier: Tensor = torch.cat([self.before[:, None], self.codes[:, :-1]], dim=1)
        return earlier


@torch.inference_mode()
def see(model: WorldModel, case: Case, *, seed: int = 0) -> Truth:
    """Encode the clips of a case, and read their context, once.

    A goal-conditioned model is shown the clip's last frame as the goal. The domain and the instructions are left out
    for a model that reads none.
    """
    shown, length = shown_frames(model), case.frames.shape[1]
    if length <= shown:
        raise ValueError(f"clips of {length} frames leave nothing to imagine after {shown}; give longer clips")
    start = model.start(
        case.frames[:, :shown],
        goal=case.frames[:, -1] if model.config.goal_conditioned else None,
        domain=case.domain if model.embodiments.domains else None,
        instruction=case.instructions if model.read_instructions is not None else None,
        seed=seed,
        room=length - shown,
    )
    codes = _encoded(model, start, case.frames[:, shown - 1 :])
    return Truth(start=start, codes=codes[:, 1:], before=codes[:, 0])


def shown_frames(model: WorldModel) -> int:
    """How many frames of a clip a model is shown; a goal, which is the clip's last frame, is none of them."""
    return model.context_frames - model.config.goal_conditioned


def steps(model: WorldModel, case: Case, actions: Float[Tensor, "n s a"] | None) -> list[Float[Tensor, "n a"] | None]:
    """The actions that lead to each imagined frame; None throughout for a model that takes none."""
    first, last = shown_frames(model) - 1, case.frames.shape[1] - 1
    if actions is None or not model.action_dim:
        return [None] * (last - first)
    return [actions[:, place] for place in range(first, last)]


def _encoded(model: WorldModel, start: RolloutState, frames: UInt8[Tensor, "n g 3 h w"]) -> Int[Tensor, "n g m"]:
    """Codes of later frames, about as many of them at once as are decoded at once."""
    rows = torch.arange(len(frames)).split(max(1, decoded_at_once(model.device) // frames.shape[1]))
    return torch.cat(
        [model.tokenizer.encode_frames(frames[part].to(model.device), start.context.select(part)) for part in rows]
    )
