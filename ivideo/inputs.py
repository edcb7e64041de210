"""What a caller hands to a rollout, refused in words where it does not fit the model, and shaped as a batch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ivideo.state import RolloutState

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel


def context_frames(model: "WorldModel", frames: Tensor, goal: Tensor | None) -> UInt8[Tensor, "b c 3 h w"]:
    """The frames to start from as a batch, with the goal in front of them where the model has one."""
    size = model.tokenizer.config.resolution
    given = list(frames.shape)
    frames = frames[None] if frames.ndim == 4 else frames
    if frames.ndim != 5 or frames.dtype != torch.uint8 or frames.shape[2] != 3:
        raise ValueError(
            f"context frames are {frames.dtype} {given}; expected RGB uint8 [c 3 h w] or [b c 3 h w], from 0 to 255"
        )
    if frames.shape[-2:] != (size, size):
        raise ValueError(
            f"frames are {frames.shape[-1]}x{frames.shape[-2]} pixels; this model sees {size}x{size}: resize them, "
            f"for instance with read_video(path, size={size})"
        )
    if model.config.goal_conditioned != (goal is not None):
        needs = (
            "starts from a goal frame too: pass goal="
            if model.config.goal_conditioned
            else "takes no goal: leave it out"
        )
        raise ValueError(f"this model {needs}")
    wanted = model.context_frames - (goal is not None)
    if frames.shape[1] != wanted:
        remedy = f"pass the last {wanted}, clip[-{wanted}:]" if frames.shape[1] > wanted else "give a longer clip"
        raise ValueError(
            f"{frames.shape[1]} context frames were given; this model starts from exactly {wanted}: {remedy}"
        )
    if goal is None:
        return frames
    goal = goal[None] if goal.ndim == 3 else goal
    check_goal(model, goal)
    if len(goal) not in (1, len(frames)):
        raise ValueError(f"{len(goal)} goals are given for {len(frames)} rows; expected one for all, or one for each")
    return torch.cat([goal[:, None].expand(len(frames), -1, -1, -1, -1), frames], dim=1)


def check_goal(model: "WorldModel", goal: Tensor) -> None:
    """Refuse goals `[... 3 h w]` that are no pictures of the size that the model sees."""
    size = model.tokenizer.config.resolution
    if goal.shape[-3:] != (3, size, size) or goal.dtype != torch.uint8:
        raise ValueError(
            f"the goal is {goal.dtype} {list(goal.shape[-3:])}; expected uint8 [3, {size}, {size}], from 0 to 255"
        )


def instruction_vectors(
    model: "WorldModel", instruction: str | Sequence[str] | None, batch: int
) -> Float[Tensor, "b e"] | None:
    """A vector for the instruction of every row; None where none is given."""
    if instruction is None:
        return None
    if model.read_instructions is None:
        raise ValueError("this model reads no instructions; leave the instruction out, or load one that does")
    each = [instruction] if isinstance(instruction, str) else list(instruction)
    if len(each) not in (1, batch):
        raise ValueError(f"{len(each)} instructions are given for {batch} rows; expected one for all, or one for each")
    text = model.text_of(each)
    return None if text is None else text.expand(batch, -1)


def row_actions(model: "WorldModel", state: RolloutState, action: Tensor | None) -> Float[Tensor, "b 1 a"] | None:
    """One action for every row, padded to the widest domain's; None where none is given."""
    if action is None:
        return None
    model.embodiments.check(action, state.domains)
    if action.ndim > 2 or (action.ndim == 2 and len(action) != state.batch):
        raise ValueError(
            f"actions have shape {list(action.shape)}; expected [{action.shape[-1]}], one for all {state.batch} "
            f"branches, or [{state.batch}, {action.shape[-1]}], one for each"
        )
    padded = model.embodiments.pad(action.to(model.transformer.norm.weight))
    return padded.expand(state.batch, -1)[:, None]
